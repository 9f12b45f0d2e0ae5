"""Losses of Nguyen et al.: labels of slices, focal and cross entropy of slice logits, focal plus Dice of voxels."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnunet_ext.architectures.precision import at_least_float32
from nnunet_ext.architectures.slice_classifier import SliceOutput
from nnunet_ext.losses.composite import AuxiliaryLoss
from nnunet_ext.losses.focal import FocalLoss, binary_focal
from nnunet_ext.losses.squared_dice import SquaredDiceLoss
from nnunet_ext.losses.target import TargetFormat, mean_of_counted, zero_uncounted


class SliceLabels(NamedTuple):
    """What the slices of a patch hold.

    Attributes:
        positive: ``(B, R, slices)``, True where a slice has at least one voxel of the region.
        counted: ``(B, 1, slices)``, False where every voxel of a slice is ignored, and where a slice is padding.
    """

    positive: Tensor
    counted: Tensor


def slice_labels(
    target: Tensor,
    content: Tensor,
    num_classes: int,
    slice_axis: int | None,
    regions: bool,
    ignore_label: int | None = None,
) -> SliceLabels:
    """Labels of slices from nnU-Net's target, that is, from the patch after augmentation.

    Args:
        target: nnU-Net's, see :class:`TargetFormat`.
        content: ``(B, 1, slices)``, False for slices of padding, which do not count (``slices_with_content``). A slice
            that holds a region counts in any case.
        num_classes: R: the number of regions, or of foreground classes.
        slice_axis: Spatial axis of the slices; None: everything is one slice.
        regions: See :class:`TargetFormat`.
        ignore_label: See :class:`TargetFormat`.
    """
    target_format = TargetFormat(regions, ignore_label)
    positive = _any_in_plane(target_format.reference(target, num_classes), slice_axis)
    counted = content | positive.any(1, keepdim=True)
    if (not_ignored := target_format.counted(target)) is not None:
        counted = counted & _any_in_plane(not_ignored, slice_axis)
    return SliceLabels(positive, counted)


def _any_in_plane(mask: Tensor, slice_axis: int | None) -> Tensor:
    along = mask.unsqueeze(-1) if slice_axis is None else mask.movedim(2 + slice_axis, -1)
    return along.flatten(2, -2).any(2)


class SliceLoss(nn.Module):
    """Base of the two losses of slice logits (Eq. 3): the mean over slices that count and over regions.

    Args:
        slice_axis: Spatial axis of the slices; None: everything is one slice.
        regions: Whether the target has regions.
        ignore_label: See :func:`slice_labels`.
    """

    def __init__(self, slice_axis: int | None, regions: bool, ignore_label: int | None = None):
        super().__init__()
        self.slice_axis = slice_axis
        self.regions = regions
        self.ignore_label = ignore_label

    def forward(self, output: SliceOutput, target: Tensor) -> Tensor:
        """Loss of the slice logits ``(B, R, slices)`` against nnU-Net's target; nan where any of them is nan."""
        positive, counted = slice_labels(
            target,
            output.content,
            num_classes=output.logits.shape[1],
            slice_axis=self.slice_axis,
            regions=self.regions,
            ignore_label=self.ignore_label,
        )
        loss = mean_of_counted(self.each(zero_uncounted(output.logits, counted), positive), counted)
        # The LSTM joins all slices: one that is nan and does not count is a warning all the same.
        return torch.where(output.logits.isnan().any(), torch.nan, loss)

    def each(self, slice_logits: Tensor, positive: Tensor) -> Tensor:
        """Loss of each slice and region, of the shape of both arguments."""
        raise NotImplementedError


class SliceFocalLoss(SliceLoss):
    """Focal loss of slice logits: ``L_focal_cls`` of Eq. 3.

    Args:
        slice_axis: See :class:`SliceLoss`.
        regions: See :class:`SliceLoss`.
        ignore_label: See :class:`SliceLoss`.
        alpha: See :class:`FocalLoss`.
        gamma: See :class:`FocalLoss`.
    """

    def __init__(
        self,
        slice_axis: int | None,
        regions: bool,
        ignore_label: int | None = None,
        alpha: float = 0.25,
        gamma: float = 2.0,
    ):
        super().__init__(slice_axis, regions, ignore_label)
        self.alpha = alpha
        self.gamma = gamma

    def each(self, slice_logits: Tensor, positive: Tensor) -> Tensor:
        """Loss of each slice and region."""
        return binary_focal(slice_logits, positive, self.alpha, self.gamma)


class SliceCrossEntropyLoss(SliceLoss):
    """Binary cross entropy of slice logits: ``L_BCE`` of Eq. 3."""

    def each(self, slice_logits: Tensor, positive: Tensor) -> Tensor:
        """Loss of each slice and region."""
        with torch.autocast(slice_logits.device.type, enabled=False):
            logits = at_least_float32(slice_logits)
            return F.binary_cross_entropy_with_logits(logits, positive.to(logits.dtype), reduction="none")


def slice_components(
    slice_axis: int | None, regions: bool, ignore_label: int | None, alpha: float, gamma: float
) -> dict[str, tuple[float, AuxiliaryLoss]]:
    """``L_focal_cls + L_BCE`` of Eq. 3 as components of a ``CompositeLoss`` that are called with a SliceOutput.

    Args:
        slice_axis: See :class:`SliceLoss`.
        regions: See :class:`SliceLoss`.
        ignore_label: See :class:`SliceLoss`.
        alpha: See :class:`FocalLoss`.
        gamma: See :class:`FocalLoss`.
    """
    return {
        "slice_focal": (1.0, SliceFocalLoss(slice_axis, regions, ignore_label, alpha, gamma)),
        "slice_cross_entropy": (1.0, SliceCrossEntropyLoss(slice_axis, regions, ignore_label)),
    }


class FocalDiceLoss(nn.Module):
    """``L_focal_seg + L_dice`` of Eq. 3, of one map or averaged over the maps of several heads.

    Args:
        regions: See :class:`FocalLoss`.
        ignore_label: See :class:`FocalLoss`.
        alpha: See :class:`FocalLoss`.
        gamma: See :class:`FocalLoss`.
    """

    def __init__(self, regions: bool, ignore_label: int | None = None, alpha: float = 0.25, gamma: float = 2.0):
        super().__init__()
        self.focal = FocalLoss(regions, ignore_label, alpha, gamma)
        # Eq. 1 is of one region. The mean over regions is our choice: the focal loss is a mean over them as well.
        self.dice = SquaredDiceLoss(regions, ignore_label, reduction="mean")

    def forward(self, logits: Tensor | list[Tensor], target: Tensor) -> Tensor:
        """Loss of logits ``(B, C, *spatial)``, or of a list of them, against nnU-Net's target."""
        heads = logits if isinstance(logits, list) else [logits]
        losses = [self.focal(head, target) + self.dice(head, target) for head in heads]
        return torch.stack(losses).mean()
