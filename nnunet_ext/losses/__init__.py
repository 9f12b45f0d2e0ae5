"""Losses of the four methods: formulas as functions, thin modules around them. They do not need nnU-Net."""

from nnunet_ext.losses.autoencoder import AutoencoderRegularizedLoss
from nnunet_ext.losses.composite import CompositeLoss
from nnunet_ext.losses.focal import FocalLoss
from nnunet_ext.losses.modality_pairing import ModalityPairingLoss, pearson_correlation
from nnunet_ext.losses.plain_dice_cross_entropy import PlainDiceCrossEntropyLoss
from nnunet_ext.losses.slice_classification import FocalDiceLoss, SliceCrossEntropyLoss, SliceFocalLoss
from nnunet_ext.losses.squared_dice import SquaredDiceLoss

__all__ = [
    "AutoencoderRegularizedLoss",
    "CompositeLoss",
    "FocalDiceLoss",
    "FocalLoss",
    "ModalityPairingLoss",
    "PlainDiceCrossEntropyLoss",
    "SliceCrossEntropyLoss",
    "SliceFocalLoss",
    "SquaredDiceLoss",
    "pearson_correlation",
]
