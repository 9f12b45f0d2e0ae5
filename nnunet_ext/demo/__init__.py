"""nnU-Net's own commands from raw files to scored ensembles, at a size for a laptop: `python -m nnunet_ext.demo`."""
