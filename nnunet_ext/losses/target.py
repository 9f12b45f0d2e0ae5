"""nnU-Net's target, decoded: what each voxel is, and whether it counts."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TargetFormat:
    """How nnU-Net's data loader writes the target of a patch.

    Args:
        regions: True for regions: a target ``(B, R, *spatial)`` of 0 and 1. False for labels: ``(B, 1, *spatial)`` of
            integers, 0 for the background.
        ignore_label: With labels, voxels of this label do not count. With regions any number says that the target has
            one more channel at the end, which is 1 where voxels do not count. None: every voxel counts.
    """

    regions: bool
    ignore_label: int | None = None

    def counted(self, target: Tensor) -> Tensor | None:
        """``(B, 1, *spatial)``, False where voxels are ignored; None where the dataset has no ignore label."""
        if self.ignore_label is None:
            return None
        return ~target[:, -1:].bool() if self.regions else target != self.ignore_label

    def labels(self, target: Tensor) -> Tensor:
        """Class of each voxel, ``(B, *spatial)``, 0 where it is ignored; of a target of labels only."""
        return zero_uncounted(target, self.counted(target))[:, 0].long()

    def reference(self, target: Tensor, classes: int) -> Tensor:
        """Whether a voxel is in a region, or of a foreground class: ``(B, classes, *spatial)``, False where ignored.

        Args:
            target: nnU-Net's target.
            classes: Number of regions, or of foreground classes.
        """
        if self.regions:
            reference = target[:, :classes].bool()
        else:
            numbers = torch.arange(1, classes + 1, device=target.device)
            reference = target == numbers.view(1, -1, *[1] * (target.ndim - 2))
        counted = self.counted(target)
        return reference if counted is None else reference & counted


def zero_uncounted(values: Tensor, counted: Tensor | None) -> Tensor:
    """Values, and 0 where they do not count; nan and infinity there leave no trace, in the gradient neither.

    Args:
        values: ``(B, C, *spatial)``.
        counted: Bool, of a shape that broadcasts; None counts all.
    """
    # not a product: 0 times nan is nan
    return values if counted is None else torch.where(counted, values, 0)


def mean_of_counted(values: Tensor, counted: Tensor | None) -> Tensor:
    """Mean of the values that count; 0, with a gradient of 0, where none does.

    Args:
        values: ``(B, C, *spatial)``.
        counted: See :func:`zero_uncounted`.
    """
    if counted is None:
        return values.mean()
    return zero_uncounted(values, counted).sum() / counted.expand_as(values).sum().clamp(min=1)
