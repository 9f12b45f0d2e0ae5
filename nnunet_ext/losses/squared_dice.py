"""Soft Dice with squared denominators (V-Net), as autoencoder regularization and slice classification use it."""

from typing import Literal

import torch
from torch import Tensor, nn

from nnunet_ext.architectures.precision import at_least_float32
from nnunet_ext.losses.target import TargetFormat, zero_uncounted

EPSILON = 1e-5


def squared_dice(
    probabilities: Tensor, reference: Tensor, mask: Tensor | None = None, epsilon: float = EPSILON
) -> Tensor:
    """Soft Dice coefficient of each sample and class: ``2 Σ p g / (Σ p² + Σ g² + ε)``, sums over all voxels.

    Autoencoder regularization Eq. 2, slice classification Eq. 1. There is no ε above the fraction bar, so a class that
    is absent from the reference has coefficient 0 and gives no gradient.

    Args:
        probabilities: ``p``, ``(B, C, *spatial)``, in [0, 1].
        reference: ``g``, one-hot, of the same shape; bool or any number type.
        mask: ``(B, 1, *spatial)``, True where voxels count; None counts all.
        epsilon: ``ε``, against division by zero. 1e-5 in slice classification; autoencoder regularization does not say.

    Returns:
        ``(B, C)``, in float32, or float64 for float64 probabilities.
    """
    with torch.autocast(probabilities.device.type, enabled=False):
        p = zero_uncounted(at_least_float32(probabilities), mask)
        g = zero_uncounted(reference.to(p.dtype), mask)
        voxels = tuple(range(2, p.ndim))
        overlap = (p * g).sum(voxels)
        return 2 * overlap / (p.square().sum(voxels) + g.square().sum(voxels) + epsilon)


class SquaredDiceLoss(nn.Module):
    """``1 - squared_dice`` of logits, for plain labels (softmax) and regions (sigmoid).

    Args:
        regions: True for regions: sigmoid. False for labels: softmax over all classes, and the loss is that of the
            foreground classes 1, 2, ... See :class:`TargetFormat`.
        ignore_label: See :class:`TargetFormat`.
        reduction: ``"sum"`` or ``"mean"`` over the classes, then the mean over the samples, gives a scalar; ``"none"``
            gives ``(B, classes)``.
        epsilon: See :func:`squared_dice`.

    Raises:
        ValueError: Unknown reduction.
    """

    def __init__(
        self,
        regions: bool,
        ignore_label: int | None = None,
        reduction: Literal["sum", "mean", "none"] = "sum",
        epsilon: float = EPSILON,
    ):
        super().__init__()
        if reduction not in ("sum", "mean", "none"):
            raise ValueError(f"reduction is 'sum', 'mean' or 'none', not {reduction!r}.")
        self.format = TargetFormat(regions, ignore_label)
        self.reduction = reduction
        self.epsilon = epsilon

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of logits ``(B, C, *spatial)`` against nnU-Net's target."""
        # Half precision is left before the non-linearity: a saturated sigmoid has no gradient there.
        counted = self.format.counted(target)
        logits = at_least_float32(zero_uncounted(logits, counted))
        probabilities = logits.sigmoid() if self.format.regions else logits.softmax(1)[:, 1:]
        reference = self.format.reference(target, probabilities.shape[1])
        loss = 1 - squared_dice(probabilities, reference, counted, self.epsilon)
        if self.reduction == "none":
            return loss
        return (loss.sum(1) if self.reduction == "sum" else loss.mean(1)).mean()
