"""Trainers of autoencoder regularization (Myronenko, BraTS 2018)."""

from typing import Any, Literal

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from nnunet_ext.architectures import SegResNetVAE
from nnunet_ext.augmentation.autoencoder import shift_scale_and_mirror
from nnunet_ext.host.torch_internals import Convolution
from nnunet_ext.losses import AutoencoderRegularizedLoss
from nnunet_ext.plans.modalities import channel_names
from nnunet_ext.plans.network_entry import resolved_configuration
from nnunet_ext.plans.settings import STRICT, TrainingSettings
from nnunet_ext.trainers.base import MethodTrainer, PublishedSize
from nnunet_ext.trainers.paper_augmentation import PaperAugmentationTrainer
from nnunet_ext.trainers.reconstructing_trainer import ReconstructingTrainer
from nnunet_ext.trainers.schedules import EpochScheduler, poly


@dataclass(frozen=True, config=STRICT)
class AutoencoderRegularizedSettings(TrainingSettings):
    """Settings of AutoencoderRegularizedTrainer."""

    changeable = TrainingSettings.changeable | {"poly_exponent", "intensity_shift", "intensity_scale"}
    num_epochs: int = Field(300, ge=1)  # Sec. 3.5
    initial_lr: float = Field(1e-4, gt=0)  # Sec. 3.5
    poly_exponent: float = Field(0.9, gt=0)  # Eq. 5
    weight_decay: float = Field(1e-5, ge=0)  # Sec. 3.6; of convolution kernels only
    dropout: float = Field(0.2, ge=0, lt=1)  # Sec. 3.6; spatial, after the first convolution
    # Eq. 1; not 0, which would leave the branch's decoder without gradient
    reconstruction_weight: float = Field(0.1, gt=0)
    kl_weight: float = Field(0.1, ge=0)  # Eq. 1
    # Eq. 3 is a sum; not stated whether it was averaged: our choice is the mean, because the sum over the 15.7 million
    # values of the published patch would leave nothing of the Dice loss
    reconstruction_reduction: Literal["mean", "sum"] = "mean"
    # With modality_dropout the branch reconstructs the image before modalities were dropped, the idea of U-HVED and of
    # M3AE on this branch. false: the input as it is, with empty modalities
    restore_missing: bool = Field(default=True)
    intensity_shift: float = Field(default=0.1, ge=0)  # Sec. 3.7; standard deviations of the channel in the patch
    intensity_scale: float = Field(default=0.1, ge=0, lt=1)  # Sec. 3.7


class AutoencoderRegularizedTrainer(ReconstructingTrainer, PaperAugmentationTrainer):
    """Residual encoder-decoder whose encoder must also reconstruct the image through a variational autoencoder."""

    paper = "Myronenko, BraTS 2018 (1st place)"
    adds = "autoencoder branch that reconstructs the image in training and regularizes the encoder"
    network_class = SegResNetVAE
    settings_class = AutoencoderRegularizedSettings
    published_size = PublishedSize((128, 192, 160), 1)  # crop 160x192x128, x first: Sec. 4; batch: Sec. 3.5

    @classmethod
    def method_kwargs(
        cls,
        settings: AutoencoderRegularizedSettings,
        plans: dict[str, Any],
        configuration: str,
        dataset_json: dict[str, Any],
    ) -> dict[str, Any]:
        """Patch size, for the branch's dense layers, and what is image among the input channels."""
        return {
            "patch_size": list(resolved_configuration(plans, configuration)["patch_size"]),
            "image_channels": len(channel_names(dataset_json)),
            "dropout_op_kwargs": {"p": settings.dropout},
            "inference_only": False,
        }

    def _build_loss(self) -> nn.Module:
        """Dice, squared reconstruction error and divergence (Eq. 1)."""
        return AutoencoderRegularizedLoss(
            self.label_manager.has_regions,
            self.label_manager.ignore_label,
            reconstruction_weight=self.settings.reconstruction_weight,
            kl_weight=self.settings.kl_weight,
            reconstruction_reduction=self.settings.reconstruction_reduction,
        )

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, EpochScheduler]:
        """Adam with weight decay of convolution kernels only (Sec. 3.5, 3.6), and polynomial decay (Eq. 5)."""
        kernels = [module.weight for module in self.network.modules() if isinstance(module, Convolution)]
        decayed = {id(kernel) for kernel in kernels}
        others = [parameter for parameter in self.network.parameters() if id(parameter) not in decayed]
        groups = [{"params": kernels, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        # L2 regularization is in the gradient, as in the paper: Adam, not AdamW
        optimizer = torch.optim.Adam(groups, lr=self.initial_lr)
        exponent = self.settings.poly_exponent
        return optimizer, EpochScheduler(
            optimizer, lambda epoch: poly(epoch, self.initial_lr, self.num_epochs, exponent)
        )

    def augmentation(self, mirror_axes: Any, masked_channels: list[int]) -> list[BasicTransform]:
        """Intensity shift and scale of each channel, mirror flips (Sec. 3.7)."""
        settings = self.settings
        return shift_scale_and_mirror(settings.intensity_shift, settings.intensity_scale, mirror_axes, masked_channels)


class AutoencoderRegularizedTrainerNNUNetDA(AutoencoderRegularizedTrainer):
    """AutoencoderRegularizedTrainer with nnU-Net's own augmentation in place of the paper's."""

    adds = "as AutoencoderRegularizedTrainer, with nnU-Net's own augmentation"
    patch_cutting = MethodTrainer.patch_cutting
    own_training_transforms = MethodTrainer.own_training_transforms
