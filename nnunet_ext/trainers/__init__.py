"""The trainers. A trainer's name is what ``nnUNetv2_train -tr`` takes and the folder its models are in."""

from nnunet_ext.trainers.attention_fusion import (
    AttentionFusionTrainer,
    AttentionFusionTrainerNoDA,
    AttentionUNetTrainer,
    EarlyFuseUNetTrainer,
    FuseNetConcatTrainer,
    FuseNetTrainer,
    FuseOriginUNetTrainer,
    FuseUNetAttentionTrainer,
    FuseUNetTrainer,
    LateFuseUNetTrainer,
    SingleModalityUNetTrainer,
)
from nnunet_ext.trainers.autoencoder import AutoencoderRegularizedTrainer, AutoencoderRegularizedTrainerNNUNetDA
from nnunet_ext.trainers.base import MethodTrainer
from nnunet_ext.trainers.host_networks import HostAutoencoderTrainer, HostClassifierTrainer
from nnunet_ext.trainers.modality_dropout import ModalityDropoutTrainer
from nnunet_ext.trainers.modality_pairing import ModalityPairingTrainer
from nnunet_ext.trainers.slice_classification import (
    BiFPNClassifierTrainer,
    BiFPNTrainer,
    NestedUNetClassifierTrainer,
    NestedUNetTrainer,
)

TRAINERS: tuple[type[MethodTrainer], ...] = (
    ModalityPairingTrainer,
    AutoencoderRegularizedTrainer,
    AutoencoderRegularizedTrainerNNUNetDA,
    AttentionFusionTrainer,
    AttentionFusionTrainerNoDA,
    SingleModalityUNetTrainer,
    AttentionUNetTrainer,
    FuseNetTrainer,
    FuseNetConcatTrainer,
    FuseOriginUNetTrainer,
    EarlyFuseUNetTrainer,
    LateFuseUNetTrainer,
    FuseUNetTrainer,
    FuseUNetAttentionTrainer,
    BiFPNClassifierTrainer,
    BiFPNTrainer,
    NestedUNetClassifierTrainer,
    NestedUNetTrainer,
    ModalityDropoutTrainer,
    HostAutoencoderTrainer,
    HostClassifierTrainer,
)

__all__ = [
    "TRAINERS",
    "AttentionFusionTrainer",
    "AttentionFusionTrainerNoDA",
    "AttentionUNetTrainer",
    "AutoencoderRegularizedTrainer",
    "AutoencoderRegularizedTrainerNNUNetDA",
    "BiFPNClassifierTrainer",
    "BiFPNTrainer",
    "EarlyFuseUNetTrainer",
    "FuseNetConcatTrainer",
    "FuseNetTrainer",
    "FuseOriginUNetTrainer",
    "FuseUNetAttentionTrainer",
    "FuseUNetTrainer",
    "HostAutoencoderTrainer",
    "HostClassifierTrainer",
    "LateFuseUNetTrainer",
    "MethodTrainer",
    "ModalityDropoutTrainer",
    "ModalityPairingTrainer",
    "NestedUNetClassifierTrainer",
    "NestedUNetTrainer",
    "SingleModalityUNetTrainer",
]
