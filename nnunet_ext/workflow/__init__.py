"""A Snakemake workflow from raw images to scored ensembles, and the steps of it that nnU-Net has no command for."""
