"""Losses of Nguyen et al.: labels of slices, focal and cross entropy of slice logits, focal plus Dice of voxels."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnunet_ext.losses.focal import FocalLoss, binary_focal, masked_mean
from nnunet_ext.losses.squared_dice import SquaredDiceLoss


class SliceLabels(NamedTuple):
    """What the slices of a patch hold.

    Attributes:
        positive: ``(B, R, slices)``, True where a slice has at least one voxel of the region.
        counted: ``(B, 1, slices)``, False where every voxel of a slice is ignored.
    """

    positive: Tensor
    counted: Tensor


def slice_labels(
    target: Tensor, num_classes: int, slice_axis: int | None, regions: bool, ignore_label: int | None = None
) -> SliceLabels:
    """Labels of slices from nnU-Net's target, that is, from the patch after augmentation.

    Args:
        target: Regions ``(B, R, *spatial)``, with an ignore label one channel more, or labels ``(B, 1, *spatial)``.
        num_classes: R: the number of regions, or of foreground classes.
        slice_axis: Spatial axis of the slices; None: everything is one slice.
        regions: Whether the target has regions.
        ignore_label: The label that does not count; with regions any number says that there is an ignore channel.
    """
    if regions:
        ignored = target[:, num_classes : num_classes + 1].bool() if ignore_label is not None else None
        present = target[:, :num_classes].bool()
    else:
        ignored = target == ignore_label if ignore_label is not None else None
        classes = torch.arange(1, num_classes + 1, device=target.device)
        present = target == classes.view(1, -1, *[1] * (target.ndim - 2))
    if ignored is None:
        positive = _any_in_plane(present, slice_axis)
        return SliceLabels(positive, torch.ones_like(positive[:, :1]))
    return SliceLabels(_any_in_plane(present & ~ignored, slice_axis), _any_in_plane(~ignored, slice_axis))


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

    def forward(self, slice_logits: Tensor, target: Tensor) -> Tensor:
        """Loss of slice logits ``(B, R, slices)`` against nnU-Net's target."""
        positive, counted = slice_labels(
            target, slice_logits.shape[1], self.slice_axis, self.regions, self.ignore_label
        )
        return masked_mean(self.each(slice_logits, positive), counted.expand_as(positive))

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
            logits = slice_logits if slice_logits.dtype == torch.float64 else slice_logits.float()
            return F.binary_cross_entropy_with_logits(logits, positive.to(logits.dtype), reduction="none")


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
