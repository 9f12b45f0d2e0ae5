"""Losses of the four methods: formulas as functions, thin modules around them. They do not need nnU-Net."""

from nnunet_ext.losses.composite import CompositeLoss

__all__ = ["CompositeLoss"]
