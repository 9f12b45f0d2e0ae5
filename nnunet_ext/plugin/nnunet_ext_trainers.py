"""Re-exports the trainers for nnU-Net, which imports every module in the folders that nnUNet_extTrainer names."""

from nnunet_ext.trainers import (
    AutoencoderRegularizedTrainer,
    AutoencoderRegularizedTrainerNNUNetDA,
    ModalityPairingTrainer,
)

__all__ = ["AutoencoderRegularizedTrainer", "AutoencoderRegularizedTrainerNNUNetDA", "ModalityPairingTrainer"]
