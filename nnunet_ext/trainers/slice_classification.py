"""Trainers of slice classification (Nguyen et al., BraTS 2020)."""

from typing import Any, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from nnunet_ext.architectures import BiFPNet, NestedUNet
from nnunet_ext.plans.network_entry import PlansError
from nnunet_ext.plans.settings import STRICT, TrainingSettings
from nnunet_ext.trainers.base import PublishedSize
from nnunet_ext.trainers.slice_classifier_trainer import SliceClassifierTrainer
from nnunet_ext.trainers.slice_trainer import SliceTrainer, SliceTrainingSettings

BIFPN_SCALES = 4  # Table 1
NESTED_LEVELS = 5  # Fig. 3; UNet++


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

    @classmethod
    def topology(cls, arch_kwargs: dict[str, Any]) -> dict[str, Any]:
        """The plans' scales below full resolution, at most four, with widths that double from half of the plans'."""
        scales = min(BIFPN_SCALES, arch_kwargs["n_stages"] - 1)
        if scales < 1:
            raise PlansError("BiFPN works below full resolution and needs plans with at least two stages.")
        # nothing is computed at the plans' first stage, so its stride, 1 in nnU-Net's plans, goes into the next
        strides = [list(stride) for stride in arch_kwargs["strides"][1 : scales + 1]]
        strides[0] = [a * b for a, b in zip(arch_kwargs["strides"][0], strides[0], strict=True)]
        narrowest = max(arch_kwargs["features_per_stage"][0] // 2, 1)
        return {
            "n_stages": scales,
            "features_per_stage": [narrowest * 2**scale for scale in range(scales)],
            "conv_op": arch_kwargs["conv_op"],
            "kernel_sizes": arch_kwargs["kernel_sizes"][1 : scales + 1],
            "strides": strides,
            **_common_kwargs("torch.nn.Dropout"),
        }


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

    @classmethod
    def topology(cls, arch_kwargs: dict[str, Any]) -> dict[str, Any]:
        """The plans' first stages, at most five, with widths that double from the plans' first without a limit."""
        levels = min(NESTED_LEVELS, arch_kwargs["n_stages"])
        if levels < 2:
            raise PlansError("Nested U-Net needs plans with at least two stages.")
        return {
            "n_stages": levels,
            "features_per_stage": [arch_kwargs["features_per_stage"][0] * 2**level for level in range(levels)],
            "conv_op": arch_kwargs["conv_op"],
            "kernel_sizes": arch_kwargs["kernel_sizes"][:levels],
            "strides": arch_kwargs["strides"][:levels],
            **_common_kwargs(None),
        }


class NestedUNetClassifierTrainer(SliceClassifierTrainer, NestedUNetTrainer):
    """Nested U-Net with a classifier of slices that empties those without a region."""

    adds = "UNet++; a recurrent classifier of axial slices, whose negative slices empty the segmentation"
    settings_class = NestedUNetClassifierSettings


def _common_kwargs(dropout_op: str | None) -> dict[str, Any]:
    return {
        "conv_bias": True,  # not stated: our choice, because nnU-Net's plans have it
        "norm_op": "nnunet_ext.architectures.GroupNorm",
        "norm_op_kwargs": {"num_groups": 8},  # Sec. 2
        "dropout_op": dropout_op,
        "nonlin": "torch.nn.ReLU",
        "nonlin_kwargs": {"inplace": True},
    }
