"""Trainers of slice classification (Nguyen et al., BraTS 2020)."""

from typing import ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from nnunet_ext.architectures import BiFPNet, NestedUNet
from nnunet_ext.plans.settings import STRICT, TrainingSettings
from nnunet_ext.trainers.base import PublishedSize
from nnunet_ext.trainers.slice_classifier_trainer import SliceClassifierTrainer
from nnunet_ext.trainers.slice_trainer import SliceTrainer, SliceTrainingSettings


@dataclass(frozen=True, config=STRICT)
class NestedUNetSettings(SliceTrainingSettings):
    """Settings of NestedUNetTrainer."""

    schedule: Literal["cosine", "poly"] = Field("poly")  # Sec. 3.2


@dataclass(frozen=True, config=STRICT)
class BiFPNClassifierSettings(SliceTrainingSettings):
    """Settings of BiFPNClassifierTrainer."""

    lstm_layers: int = Field(2, ge=1)  # Table 2
    gate_slices: bool = Field(True)  # Sec. 3.3: slices called negative are emptied
    slice_axis: int = Field(0, ge=0, le=2)  # Sec. 2.3: axial; axis of the images as nnU-Net reads them


@dataclass(frozen=True, config=STRICT)
class NestedUNetClassifierSettings(BiFPNClassifierSettings):
    """Settings of NestedUNetClassifierTrainer."""

    schedule: Literal["cosine", "poly"] = Field("poly")  # Sec. 3.2
    lstm_layers: int = Field(3, ge=1)  # Table 3


class BiFPNTrainer(SliceTrainer):
    """Residual encoder, bidirectional feature pyramid and panoptic decoder, without slice classifier (ablation)."""

    adds = "BiFPN between a residual encoder and a panoptic decoder; focal and Dice loss"
    network_class = BiFPNet
    published_size = PublishedSize((96, 128, 128), 4)  # Sec. 3.2: 128x128x96, 96 axial slices
    settings_class: ClassVar[type[TrainingSettings]] = SliceTrainingSettings


class BiFPNClassifierTrainer(SliceClassifierTrainer, BiFPNTrainer):
    """BiFPN with a classifier of slices that empties those without a region."""

    adds = "BiFPN; a recurrent classifier of axial slices, whose negative slices empty the segmentation"
    settings_class = BiFPNClassifierSettings


class NestedUNetTrainer(SliceTrainer):
    """Nested U-Net (UNet++) with four full-resolution heads, without slice classifier (ablation)."""

    adds = "UNet++ with four averaged heads; focal and Dice loss"
    network_class = NestedUNet
    published_size = PublishedSize((128, 128, 128), 2)  # Sec. 3.2
    settings_class: ClassVar[type[TrainingSettings]] = NestedUNetSettings


class NestedUNetClassifierTrainer(SliceClassifierTrainer, NestedUNetTrainer):
    """Nested U-Net with a classifier of slices that empties those without a region."""

    adds = "UNet++; a recurrent classifier of axial slices, whose negative slices empty the segmentation"
    settings_class = NestedUNetClassifierSettings
