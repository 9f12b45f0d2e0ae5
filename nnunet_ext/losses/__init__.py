"""Losses of the four methods: formulas as functions, thin modules around them. They do not need nnU-Net."""

from nnunet_ext.losses.composite import CompositeLoss
from nnunet_ext.losses.focal import FocalLoss
from nnunet_ext.losses.modality_pairing import ModalityPairingLoss, pearson_correlation
from nnunet_ext.losses.slice_classification import FocalDiceLoss, SliceCrossEntropyLoss, SliceFocalLoss
from nnunet_ext.losses.squared_dice import SquaredDiceLoss

__all__ = [
    "CompositeLoss",
    "FocalDiceLoss",
    "FocalLoss",
    "ModalityPairingLoss",
    "SliceCrossEntropyLoss",
    "SliceFocalLoss",
    "SquaredDiceLoss",
    "pearson_correlation",
]
