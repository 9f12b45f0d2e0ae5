"""nnU-Net plans for the networks of this package: made, changed and written."""
