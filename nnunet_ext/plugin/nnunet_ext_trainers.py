"""Re-exports the trainers for nnU-Net, which imports every module in the folders that nnUNet_extTrainer names."""

from nnunet_ext.trainers import (
    BiFPNClassifierTrainer,
    BiFPNTrainer,
    ModalityPairingTrainer,
    NestedUNetClassifierTrainer,
    NestedUNetTrainer,
)

__all__ = [
    "BiFPNClassifierTrainer",
    "BiFPNTrainer",
    "ModalityPairingTrainer",
    "NestedUNetClassifierTrainer",
    "NestedUNetTrainer",
]
