"""The trainers. A trainer's name is what ``nnUNetv2_train -tr`` takes and the folder its models are in."""

from nnunet_ext.trainers.autoencoder import AutoencoderRegularizedTrainer, AutoencoderRegularizedTrainerNNUNetDA
from nnunet_ext.trainers.base import MethodTrainer
from nnunet_ext.trainers.modality_pairing import ModalityPairingTrainer

TRAINERS: tuple[type[MethodTrainer], ...] = (
    ModalityPairingTrainer,
    AutoencoderRegularizedTrainer,
    AutoencoderRegularizedTrainerNNUNetDA,
)

__all__ = [
    "TRAINERS",
    "AutoencoderRegularizedTrainer",
    "AutoencoderRegularizedTrainerNNUNetDA",
    "MethodTrainer",
    "ModalityPairingTrainer",
]
