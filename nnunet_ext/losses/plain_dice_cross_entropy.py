"""Dice with plain denominators plus cross entropy: the loss of attention fusion.

Written from the paper: Li et al., Learning Cross-Modal Deep Representations for Multi-Modal MR Image Segmentation,
MICCAI 2019, Eq. 1.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnunet_ext.architectures.precision import at_least_float32
from nnunet_ext.losses.process_sum import sum_over_processes
from nnunet_ext.losses.target import TargetFormat, mean_of_counted, zero_uncounted


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
        mask: True where a voxel counts, ``(B, 1, *spatial)``; None counts all.
        epsilon: Constant for numerical stability (Eq. 1: 1.0).
        batch_dice: Whether sums are over all pixels of the batch, in distributed training of that of all processes,
            and not over those of an image.
    """
    probabilities, target = zero_uncounted(probabilities, mask), zero_uncounted(target, mask)
    axes = [0, *range(2, probabilities.ndim)] if batch_dice else list(range(2, probabilities.ndim))
    sums = torch.stack([(probabilities * target).sum(axes), probabilities.sum(axes), target.sum(axes)])
    intersection, predicted, reference = sum_over_processes(sums) if batch_dice else sums
    return (1 - (2 * intersection + epsilon) / (predicted + reference + epsilon)).mean()


class PlainDiceCrossEntropyLoss(nn.Module):
    r"""``L_Dice + alpha * L_CE`` (Eq. 1) for labels or regions, in float32.

    Eq. 1 prints the cross entropy without logarithms and with the sum out of place; this is the standard one: softmax
    for labels, sigmoid for regions, mean over the voxels that count.

    Args:
        regions: True for regions (sigmoid), False for labels (softmax); see :class:`TargetFormat`.
        ignore_label: See :class:`TargetFormat`.
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
        self.format = TargetFormat(regions, ignore_label)
        self.cross_entropy_weight = cross_entropy_weight
        self.epsilon = epsilon
        self.batch_dice = batch_dice

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of a batch.

        Args:
            logits: ``(B, C, *spatial)``.
            target: nnU-Net's, see :class:`TargetFormat`.
        """
        with torch.autocast(logits.device.type, enabled=False):
            counted = self.format.counted(target)
            logits = at_least_float32(zero_uncounted(logits, counted))
            if self.format.regions:
                probabilities = logits.sigmoid()
                reference = self.format.reference(target, logits.shape[1]).to(logits.dtype)
                cross_entropy = F.binary_cross_entropy_with_logits(logits, reference, reduction="none").mean(
                    1, keepdim=True
                )
            else:
                probabilities = logits.softmax(1)[:, 1:]
                reference = self.format.reference(target, logits.shape[1] - 1).to(logits.dtype)
                cross_entropy = F.cross_entropy(logits, self.format.labels(target), reduction="none").unsqueeze(1)
            dice = plain_dice_loss(probabilities, reference, counted, epsilon=self.epsilon, batch_dice=self.batch_dice)
            return dice + self.cross_entropy_weight * mean_of_counted(cross_entropy, counted)
