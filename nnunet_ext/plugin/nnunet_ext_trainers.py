"""Re-exports the trainers for nnU-Net, which imports every module in the folders that nnUNet_extTrainer names."""

from nnunet_ext.trainers import (
    AttentionFusionNoDATrainer,
    AttentionFusionTrainer,
    AttentionUNetTrainer,
    EarlyFuseUNetTrainer,
    FuseNetConcatTrainer,
    FuseNetTrainer,
    FuseOriginUNetTrainer,
    FuseUNetAttentionTrainer,
    FuseUNetTrainer,
    LateFuseUNetTrainer,
    ModalityPairingTrainer,
    SingleModalityUNetTrainer,
)

__all__ = [
    "AttentionFusionNoDATrainer",
    "AttentionFusionTrainer",
    "AttentionUNetTrainer",
    "EarlyFuseUNetTrainer",
    "FuseNetConcatTrainer",
    "FuseNetTrainer",
    "FuseOriginUNetTrainer",
    "FuseUNetAttentionTrainer",
    "FuseUNetTrainer",
    "LateFuseUNetTrainer",
    "ModalityPairingTrainer",
    "SingleModalityUNetTrainer",
]
