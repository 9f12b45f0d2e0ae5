"""nnU-Net plans for the networks of this package."""
