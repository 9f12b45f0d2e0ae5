"""What the trainers of slice classification share, with and without classifier (Nguyen et al., BraTS 2020)."""

from typing import Any, Literal

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from nnunet_ext.augmentation.slice_classification import mirror_scale_and_shift
from nnunet_ext.host.plans import labels_of
from nnunet_ext.losses import CompositeLoss, FocalDiceLoss
from nnunet_ext.losses.slice_classification import slice_components
from nnunet_ext.plans.network_entry import resolved_configuration
from nnunet_ext.plans.settings import STRICT, TrainingSettings
from nnunet_ext.trainers.paper_augmentation import PaperAugmentationTrainer
from nnunet_ext.trainers.schedules import EpochScheduler, cosine, poly, with_warmup
from nnunet_ext.trainers.slice_classifier_trainer import SliceClassifierTrainer, gate_kwargs


@dataclass(frozen=True, config=STRICT)
class SliceTrainingSettings(TrainingSettings):
    """Settings of the networks without classifier; the base of all others."""

    changeable = TrainingSettings.changeable | {
        "warmup_epochs",
        "schedule",
        "poly_exponent",
        "intensity_scale",
        "intensity_shift",
        "intensity_probability",
    }
    num_epochs: int = Field(200, ge=1)  # Sec. 3.2
    initial_lr: float = Field(1e-3, gt=0)  # Sec. 3.2
    weight_decay: float = Field(0.0, ge=0)  # not stated: our choice, because it is Adam's default
    warmup_epochs: int = Field(10, ge=0)  # Sec. 3.2
    schedule: Literal["cosine", "poly"] = Field("cosine")  # Sec. 3.2: Eq. 4 for BiFPN, Eq. 5 for nested U-Net
    poly_exponent: float = Field(0.9, gt=0)  # Eq. 5
    focal_alpha: float = Field(0.25, ge=0, le=1)  # Eq. 2; not stated: the focal loss paper's, Sec. 5.1
    focal_gamma: float = Field(2.0, ge=0)  # Eq. 2; not stated: the focal loss paper's, Sec. 5.1
    # Tables 1 to 3 have dropout in BiFPN's encoder and between LSTM layers; rate not stated: our choice, because it is
    # that of the winner two years before (Myronenko, Sec. 3.6)
    dropout: float = Field(0.2, ge=0, lt=1)
    intensity_scale: float = Field(0.1, ge=0, lt=1)  # Sec. 3.1: scales in [0.9, 1.1]
    intensity_shift: float = Field(0.1, ge=0)  # Sec. 3.1: offsets in [-0.1, 0.1]
    intensity_probability: float = Field(0.8, ge=0, le=1)  # Sec. 3.1


class SliceTrainer(PaperAugmentationTrainer):
    """What the four trainers share; subclasses choose the network and whether it classifies slices."""

    paper = "Nguyen et al., BraTS 2020"

    @classmethod
    def method_kwargs(
        cls, settings: Any, plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any]
    ) -> dict[str, Any]:
        """Whether labels are regions, dropout, and what the classifier needs."""
        dimension = len(resolved_configuration(plans, configuration)["patch_size"])
        labels = labels_of(plans, dataset_json)
        kwargs = {
            "regions": labels.has_regions,
            "slice_axis": None,
            "slice_classifier": issubclass(cls, SliceClassifierTrainer),
            "dropout_op_kwargs": {"p": settings.dropout},
        }
        if kwargs["slice_classifier"]:
            kwargs.update(gate_kwargs(settings, plans, dimension))
            kwargs["lstm_layers"] = settings.lstm_layers
            kwargs["lstm_dropout"] = settings.dropout
        return kwargs

    def _build_loss(self) -> nn.Module:
        """Focal and Dice loss of voxels; with the classifier also focal loss and cross entropy of slices (Eq. 3)."""
        regions, ignore_label = self.label_manager.has_regions, self.label_manager.ignore_label
        focal = {"alpha": self.settings.focal_alpha, "gamma": self.settings.focal_gamma}
        segmentation = FocalDiceLoss(regions, ignore_label, **focal)
        if not isinstance(self, SliceClassifierTrainer):
            return segmentation
        axis = self.configuration_manager.network_arch_init_kwargs["slice_axis"]
        return CompositeLoss(segmentation, slice_components(axis, regions, ignore_label, **focal))

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, EpochScheduler]:
        """Adam; linear warm-up, then the schedule over the epochs that are left (Eq. 4 and 5 leave the warm-up out)."""
        settings = self.settings
        optimizer = torch.optim.Adam(self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay)
        left = max(self.num_epochs - settings.warmup_epochs, 1)

        def learning_rate(epoch: int) -> float:
            passed = max(epoch - settings.warmup_epochs, 0)
            if settings.schedule == "cosine":
                decayed = cosine(passed, self.initial_lr, left)
            else:
                decayed = poly(passed, self.initial_lr, left, settings.poly_exponent)
            return with_warmup(epoch, self.initial_lr, settings.warmup_epochs, decayed)

        return optimizer, EpochScheduler(optimizer, learning_rate)

    def augmentation(self, mirror_axes: Any, masked_channels: list[int]) -> list[BasicTransform]:
        """Mirror flips, intensity scale and shift of each channel (Sec. 3.1)."""
        settings = self.settings
        return mirror_scale_and_shift(
            settings.intensity_scale,
            settings.intensity_shift,
            probability=settings.intensity_probability,
            mirror_axes=mirror_axes,
            masked_channels=masked_channels,
        )
