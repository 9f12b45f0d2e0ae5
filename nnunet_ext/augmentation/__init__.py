"""Augmentations of the papers, from batchgeneratorsv2's transforms and in its terms."""
