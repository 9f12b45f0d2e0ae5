"""Focal loss for regions (sigmoid) and plain labels (softmax)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnunet_ext.architectures.precision import at_least_float32
from nnunet_ext.losses.target import TargetFormat, mean_of_counted, zero_uncounted


def binary_focal(logits: Tensor, labels: Tensor, alpha: float, gamma: float) -> Tensor:
    """``-α_t (1 - p_t)^γ log(p_t)`` of each logit (slice classification Eq. 2; Lin et al., Eq. 5).

    ``p_t`` is the probability of the true answer; ``α_t`` is α for positives and 1 - α for negatives.

    Args:
        logits: Of any shape.
        labels: Of the same shape, 0 or 1.
        alpha: Weight of positives, in [0, 1].
        gamma: Exponent, 0 or more.

    Returns:
        Of the shape of ``logits``, in float32, or float64 for float64 logits.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = at_least_float32(logits)
        labels = labels.to(logits.dtype)
        log_p_true = -F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        # log(1 - p_t): as an exponent it has a finite gradient for every gamma, where a power of 1 - p_t has none at 0.
        log_p_false = F.logsigmoid(logits * (1 - 2 * labels))
        alpha_true = alpha * labels + (1 - alpha) * (1 - labels)
        return -alpha_true * torch.exp(gamma * log_p_false) * log_p_true


def softmax_focal(logits: Tensor, labels: Tensor, alpha: float, gamma: float) -> Tensor:
    """``-α_t (1 - p_t)^γ log(p_t)`` of each voxel, with the softmax probability ``p_t`` of its class.

    The paper has regions only. For classes α weighs every foreground class and 1 - α the background, which with two
    classes is the binary loss.

    Args:
        logits: ``(B, C, *spatial)``, the background first.
        labels: ``(B, *spatial)``, integers in 0..C-1.
        alpha: Weight of foreground classes, in [0, 1].
        gamma: Exponent, 0 or more.

    Returns:
        ``(B, *spatial)``, in float32, or float64 for float64 logits.
    """
    with torch.autocast(logits.device.type, enabled=False):
        log_p = at_least_float32(logits).log_softmax(1)
        index = labels.long().unsqueeze(1)
        log_p_true = log_p.gather(1, index).squeeze(1)
        log_p_false = log_p.scatter(1, index, float("-inf")).logsumexp(1)
        foreground = (labels > 0).to(log_p.dtype)
        alpha_true = alpha * foreground + (1 - alpha) * (1 - foreground)
        return -alpha_true * torch.exp(gamma * log_p_false) * log_p_true


class FocalLoss(nn.Module):
    """Focal loss of segmentation logits, averaged over the voxels that count, and over regions.

    Args:
        regions: True for regions (sigmoid), False for labels (softmax); see :class:`TargetFormat`.
        ignore_label: See :class:`TargetFormat`.
        alpha: Weight of positives; not stated by Nguyen et al.: 0.25 as Lin et al., Sec. 5.1.
        gamma: Exponent; not stated by Nguyen et al.: 2 as Lin et al., Sec. 5.1.

    Raises:
        ValueError: ``alpha`` is not in [0, 1], or ``gamma`` is negative.
    """

    def __init__(self, regions: bool, ignore_label: int | None = None, alpha: float = 0.25, gamma: float = 2.0):
        super().__init__()
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha is in [0, 1], got {alpha}.")
        if gamma < 0:
            raise ValueError(f"gamma is 0 or more, got {gamma}.")
        self.format = TargetFormat(regions, ignore_label)
        self.alpha = alpha
        self.gamma = gamma

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of logits ``(B, C, *spatial)`` against nnU-Net's target."""
        counted = self.format.counted(target)
        logits = zero_uncounted(logits, counted)
        if self.format.regions:
            reference = self.format.reference(target, logits.shape[1])
            each = binary_focal(logits, reference, self.alpha, self.gamma)
        else:
            each = softmax_focal(logits, self.format.labels(target), self.alpha, self.gamma).unsqueeze(1)
        return mean_of_counted(each, counted)
