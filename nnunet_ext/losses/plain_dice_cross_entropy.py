"""Dice with plain denominators plus cross entropy: the loss of attention fusion.

Written from the paper: Li et al., Learning Cross-Modal Deep Representations for Multi-Modal MR Image Segmentation,
MICCAI 2019, Eq. 1.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnunet_ext.losses.process_sum import sum_over_processes


def plain_dice_loss(
    probabilities: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    epsilon: float = 1.0,
    batch_dice: bool = False,
) -> Tensor:
    r"""Mean over images and classes of one minus Dice, each sum over all pixels of an image (Eq. 1).

    .. math:: L_{Dice} = 1 - \frac{2 \sum_i p_i y_i + \varepsilon}{\sum_i p_i + \sum_i y_i + \varepsilon}

    The paper has one class; the mean over several is our choice, as in nnU-Net.

    Args:
        probabilities: p, ``(B, C, *spatial)``, the classes or regions that count (no background).
        target: y, one-hot, ``(B, C, *spatial)``.
        mask: 1 where a voxel counts, 0 where it is ignored, ``(B, 1, *spatial)``; None counts all.
        epsilon: Constant for numerical stability (Eq. 1: 1.0).
        batch_dice: Whether sums are over all pixels of the batch, in distributed training of that of all processes,
            and not over those of an image.
    """
    if mask is not None:
        probabilities, target = probabilities * mask, target * mask
    axes = [0, *range(2, probabilities.ndim)] if batch_dice else list(range(2, probabilities.ndim))
    sums = torch.stack([(probabilities * target).sum(axes), probabilities.sum(axes), target.sum(axes)])
    intersection, predicted, reference = sum_over_processes(sums) if batch_dice else sums
    return (1 - (2 * intersection + epsilon) / (predicted + reference + epsilon)).mean()


class PlainDiceCrossEntropyLoss(nn.Module):
    r"""``L_Dice + alpha * L_CE`` (Eq. 1) for labels or regions, in float32.

    Eq. 1 prints the cross entropy without logarithms and with the sum out of place; this is the standard one: softmax
    for labels, sigmoid for regions, mean over the voxels that count.

    Args:
        regions: Whether targets are regions (sigmoid) or labels (softmax, label 0 is background).
        ignore_label: For labels, the label to ignore; for regions, anything but None says that the target's last
            channel is 1 where a voxel is ignored. None: every voxel counts.
        cross_entropy_weight: alpha (Eq. 1: 1.0).
        epsilon: Constant of the Dice loss (Eq. 1: 1.0).
        batch_dice: See :func:`plain_dice_loss`; Eq. 1 sums over "the total number of pixels in the image".
    """

    def __init__(
        self,
        regions: bool = False,
        ignore_label: int | None = None,
        cross_entropy_weight: float = 1.0,
        epsilon: float = 1.0,
        batch_dice: bool = False,
    ):
        super().__init__()
        self.regions = regions
        self.ignore_label = ignore_label
        self.cross_entropy_weight = cross_entropy_weight
        self.epsilon = epsilon
        self.batch_dice = batch_dice

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of a batch.

        Args:
            logits: ``(B, C, *spatial)``.
            target: Labels ``(B, 1, *spatial)``, or regions ``(B, C, *spatial)`` one-hot, with an ignore label one more
                channel.
        """
        with torch.autocast(logits.device.type, enabled=False):
            # float64 stays, so that gradcheck can check this loss.
            logits = logits if logits.dtype == torch.float64 else logits.float()
            return self._region_loss(logits, target) if self.regions else self._label_loss(logits, target)

    def _label_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        labels = target[:, 0].long()
        mask = None if self.ignore_label is None else labels != self.ignore_label
        if mask is not None:
            labels = torch.where(mask, labels, 0)
        one_hot = torch.zeros_like(logits).scatter_(1, labels[:, None], 1)
        cross_entropy = _mean(F.cross_entropy(logits, labels, reduction="none"), mask)
        dice_mask = None if mask is None else mask[:, None]
        dice = plain_dice_loss(
            logits.softmax(1)[:, 1:], one_hot[:, 1:], dice_mask, epsilon=self.epsilon, batch_dice=self.batch_dice
        )
        return dice + self.cross_entropy_weight * cross_entropy

    def _region_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        mask = None if self.ignore_label is None else ~target[:, -1:].bool()
        regions = target[:, : logits.shape[1]].to(logits.dtype)
        cross_entropy = F.binary_cross_entropy_with_logits(logits, regions, reduction="none").mean(1, keepdim=True)
        dice = plain_dice_loss(logits.sigmoid(), regions, mask, epsilon=self.epsilon, batch_dice=self.batch_dice)
        return dice + self.cross_entropy_weight * _mean(cross_entropy, mask)


def _mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the voxels that count; 0 where none does."""
    return values.mean() if mask is None else (values * mask).sum() / mask.sum().clamp(min=1)
