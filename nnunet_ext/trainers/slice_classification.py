"""Trainers of slice classification (Nguyen et al., BraTS 2020)."""

import math
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import distributed as dist
from torch import nn
from torch._dynamo import OptimizedModule

from nnunet_ext.architectures import BiFPNet, NestedUNet
from nnunet_ext.augmentation.slice_classification import mirror_scale_and_shift
from nnunet_ext.losses import CompositeLoss, FocalDiceLoss, SliceCrossEntropyLoss, SliceFocalLoss
from nnunet_ext.losses.slice_classification import slice_labels
from nnunet_ext.planning.architecture import PlansError, resolved_configuration
from nnunet_ext.schedules import EpochScheduler, cosine, poly, with_warmup
from nnunet_ext.settings import STRICT, TrainingSettings
from nnunet_ext.trainers.base import MethodTrainer
from nnunet_ext.trainers.slice_scores import SliceScores, count_slices, slice_scores

BIFPN_SCALES = 4  # Table 1
NESTED_LEVELS = 5  # Fig. 3; UNet++
SCORE_PREFIX = "slice_"


@dataclass(frozen=True, config=STRICT)
class SliceTrainingSettings(TrainingSettings):
    """Settings of the networks without classifier; the base of all others."""

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


class SliceTrainer(MethodTrainer):
    """What the four trainers share; subclasses choose the network and whether it classifies slices."""

    paper = "Nguyen et al., BraTS 2020"
    slice_classifier: ClassVar[bool] = False

    @classmethod
    def method_kwargs(
        cls, settings: Any, plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any]
    ) -> dict[str, Any]:
        """Whether labels are regions, dropout, and what the classifier needs."""
        dimension = len(resolved_configuration(plans, configuration)["patch_size"])
        labels = PlansManager(plans).get_label_manager(dataset_json)
        kwargs = {
            "regions": labels.has_regions,
            "slice_axis": None,
            "slice_classifier": cls.slice_classifier,
            "dropout_op_kwargs": {"p": settings.dropout},
        }
        if cls.slice_classifier:
            # nnU-Net's arrays have the axes of the images in the order of transpose_forward; in 2d it has cut the image
            # along the first of them, and what is left is one slice.
            axis = list(plans["transpose_forward"]).index(settings.slice_axis)
            kwargs["slice_axis"] = axis if dimension == 3 else None
            kwargs["gate_slices"] = settings.gate_slices
            kwargs["lstm_layers"] = settings.lstm_layers
            kwargs["lstm_dropout"] = settings.dropout
        return kwargs

    def _build_loss(self) -> nn.Module:
        """Focal and Dice loss of voxels; with the classifier also focal loss and cross entropy of slices (Eq. 3)."""
        regions, ignore_label = self.label_manager.has_regions, self.label_manager.ignore_label
        focal = {"alpha": self.settings.focal_alpha, "gamma": self.settings.focal_gamma}
        segmentation = FocalDiceLoss(regions, ignore_label, **focal)
        if not self.slice_classifier:
            return segmentation
        axis = self._network_kwargs["slice_axis"]
        components = {
            "slice_focal": (1.0, SliceFocalLoss(axis, regions, ignore_label, **focal)),
            "slice_cross_entropy": (1.0, SliceCrossEntropyLoss(axis, regions, ignore_label)),
        }
        return CompositeLoss(segmentation, components)

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

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, ...]:  # noqa: N802
        """No rotation, so that patches are cut at their final size; mirroring of all axes."""
        rotation, _, _, mirror_axes = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        return rotation, False, self.configuration_manager.patch_size, mirror_axes

    def get_training_transforms(
        self,
        patch_size: Any,
        rotation_for_DA: Any,  # noqa: N803 - nnU-Net passes some by name
        deep_supervision_scales: Any,
        mirror_axes: Any,
        do_dummy_2d_data_aug: bool,
        use_mask_for_norm: Any = None,
        **labels: Any,
    ) -> ComposeTransforms:
        """The paper's augmentation (Sec. 3.1), then what nnU-Net does to labels in validation as well."""
        masked = [channel for channel, used in enumerate(use_mask_for_norm or []) if used]
        settings = self.settings
        augmentation = mirror_scale_and_shift(
            settings.intensity_scale, settings.intensity_shift, settings.intensity_probability, mirror_axes, masked
        )
        return ComposeTransforms([*augmentation, self.get_validation_transforms(deep_supervision_scales, **labels)])

    @property
    def _network_kwargs(self) -> dict[str, Any]:
        return self.configuration_manager.network_arch_init_kwargs


class SliceClassifierTrainer(SliceTrainer):
    """Adds the scores of the slice classifier on validation patches to the training log."""

    slice_classifier = True

    def initialize(self) -> None:
        """Build everything as the base does, then listen to the classifier and open its log entries."""
        super().initialize()
        self._slice_logits: torch.Tensor | None = None
        self._plain_network().classifier.register_forward_hook(self._remember_slice_logits)
        for name in SliceScores._fields:
            self.logger.local_logger.my_fantastic_logging.setdefault(SCORE_PREFIX + name, [])

    @torch.compiler.disable
    def _remember_slice_logits(self, module: nn.Module, inputs: Any, slice_logits: torch.Tensor) -> None:
        self._slice_logits = slice_logits.detach()

    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """nnU-Net's validation step; its result also has the counts of slices, ``(4, R)``."""
        kwargs, labels = self._network_kwargs, self.label_manager
        # before nnU-Net's step, which overwrites ignored voxels of the target
        truth = slice_labels(
            batch["target"].to(self.device, non_blocking=True),
            len(labels.foreground_regions if labels.has_regions else labels.foreground_labels),
            kwargs["slice_axis"],
            labels.has_regions,
            labels.ignore_label,
        )
        network = self._plain_network()
        network.classify_in_eval = True
        result = super().validation_step(batch)
        network.classify_in_eval = False
        assert self._slice_logits is not None
        return {**result, "slice_counts": count_slices(self._slice_logits, truth)}

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        """Log what nnU-Net logs, and accuracy, sensitivity and specificity of slices per region."""
        super().on_validation_epoch_end([{k: v for k, v in out.items() if k != "slice_counts"} for out in val_outputs])
        counts = np.sum([output["slice_counts"] for output in val_outputs], axis=0)
        if self.is_ddp:
            of_all_ranks: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(of_all_ranks, counts)
            counts = np.sum(of_all_ranks, axis=0)
        for name, values in slice_scores(counts)._asdict().items():
            self.logger.log(SCORE_PREFIX + name, values, self.current_epoch)
            self.print_to_log_file(f"slice {name}", [round(value, 4) for value in values])

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        """Load a checkpoint as the base does; scores that it has no history of get nan for the epochs before."""
        super().load_checkpoint(filename_or_checkpoint)
        log = self.logger.local_logger.my_fantastic_logging
        regions = self.label_manager.num_segmentation_heads - (0 if self.label_manager.has_regions else 1)
        for name in SliceScores._fields:
            log.setdefault(SCORE_PREFIX + name, [[math.nan] * regions] * self.current_epoch)

    def _plain_network(self) -> Any:
        network = self.network.module if self.is_ddp else self.network
        return network._orig_mod if isinstance(network, OptimizedModule) else network


class BiFPNTrainer(SliceTrainer):
    """Residual encoder, bidirectional feature pyramid and panoptic decoder, without slice classifier (ablation)."""

    adds = "BiFPN between a residual encoder and a panoptic decoder; focal and Dice loss"
    network_class = BiFPNet
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
