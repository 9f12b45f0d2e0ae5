"""The trainers. A trainer's name is what ``nnUNetv2_train -tr`` takes and the folder its models are in."""

from nnunet_ext.trainers.base import MethodTrainer
from nnunet_ext.trainers.modality_pairing import ModalityPairingTrainer
from nnunet_ext.trainers.slice_classification import (
    BiFPNClassifierTrainer,
    BiFPNTrainer,
    NestedUNetClassifierTrainer,
    NestedUNetTrainer,
)

TRAINERS: tuple[type[MethodTrainer], ...] = (
    ModalityPairingTrainer,
    BiFPNClassifierTrainer,
    BiFPNTrainer,
    NestedUNetClassifierTrainer,
    NestedUNetTrainer,
)

__all__ = [
    "TRAINERS",
    "BiFPNClassifierTrainer",
    "BiFPNTrainer",
    "MethodTrainer",
    "ModalityPairingTrainer",
    "NestedUNetClassifierTrainer",
    "NestedUNetTrainer",
]
