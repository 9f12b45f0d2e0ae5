"""Trainer that puts the scores of its slice classifier on validation patches into the training log."""

import math
from typing import Any

import numpy as np
import torch
from torch import distributed as dist
from torch import nn

from nnunet_ext.architectures.slice_classifier import slices_with_content
from nnunet_ext.losses.slice_classification import slice_labels
from nnunet_ext.trainers.base import MethodTrainer
from nnunet_ext.trainers.slice_scores import SliceScores, count_slices, slice_scores

SCORE_PREFIX = "slice_"


def gate_kwargs(settings: Any, plans: dict[str, Any], dimension: int) -> dict[str, Any]:
    """Constructor arguments of a :class:`SliceNetwork` with classifier that say where slices are and what is gated.

    Args:
        settings: With ``slice_axis`` and ``gate_slices``.
        plans: Content of a plans file.
        dimension: 2 or 3.
    """
    # nnU-Net's arrays have the axes of the images in the order of transpose_forward; in 2d it has cut the image along
    # the first of them, and what is left is one slice.
    axis = list(plans["transpose_forward"]).index(settings.slice_axis)
    return {
        "slice_axis": axis if dimension == 3 else None,
        "gate_slices": settings.gate_slices,
        "mirror_axes": list(range(dimension)),  # Sec. 3.3: passes are averaged before both thresholds
    }


class SliceClassifierTrainer(MethodTrainer):
    """Adds the scores of the slice classifier on validation patches to the training log."""

    @property
    def classifies_slices(self) -> bool:
        """Whether the network has a classifier."""
        return True

    @property
    def inference_allowed_mirroring_axes(self) -> Any:
        """None, whatever nnU-Net sets: the network mirrors its input itself, so that the gate comes behind the mean.

        Without a classifier the axes that nnU-Net sets.
        """
        return None if self.classifies_slices else self._mirroring_axes

    @inference_allowed_mirroring_axes.setter
    def inference_allowed_mirroring_axes(self, axes: Any) -> None:
        self._mirroring_axes = axes

    def initialize(self) -> None:
        """Build everything as the base does, then listen to the classifier and open its log entries."""
        super().initialize()
        if not self.classifies_slices:
            return
        self._slice_logits: torch.Tensor | None = None
        self.unwrapped_network.classifier.register_forward_hook(self._remember_slice_logits)
        for name in SliceScores._fields:
            self.log_curves.setdefault(SCORE_PREFIX + name, [])

    @torch.compiler.disable
    def _remember_slice_logits(self, module: nn.Module, inputs: Any, slice_logits: torch.Tensor) -> None:
        self._slice_logits = slice_logits.detach()

    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """nnU-Net's validation step; its result also has the counts of slices, ``(4, R)``."""
        if not self.classifies_slices:
            return super().validation_step(batch)
        axis, labels = self.configuration_manager.network_arch_init_kwargs["slice_axis"], self.label_manager
        target = batch["target"][0] if isinstance(batch["target"], list) else batch["target"]
        # before nnU-Net's step, which overwrites ignored voxels of the target
        truth = slice_labels(
            target.to(self.device, non_blocking=True),
            slices_with_content(batch["data"].to(self.device, non_blocking=True), axis),
            num_classes=len(labels.foreground_regions if labels.has_regions else labels.foreground_labels),
            slice_axis=axis,
            regions=labels.has_regions,
            ignore_label=labels.ignore_label,
        )
        with self.unwrapped_network.one_classified_pass():
            result = super().validation_step(batch)
        assert self._slice_logits is not None
        return {**result, "slice_counts": count_slices(self._slice_logits, truth)}

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        """Log what nnU-Net logs, and accuracy, sensitivity and specificity of slices per region."""
        super().on_validation_epoch_end([{k: v for k, v in out.items() if k != "slice_counts"} for out in val_outputs])
        if not self.classifies_slices:
            return
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
        if not self.classifies_slices:
            return
        regions = self.label_manager.num_segmentation_heads - (0 if self.label_manager.has_regions else 1)
        for name in SliceScores._fields:
            self.log_curves.setdefault(SCORE_PREFIX + name, [[math.nan] * regions] * self.current_epoch)
