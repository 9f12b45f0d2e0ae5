"""Soft Dice with squared denominators (V-Net), as autoencoder regularization and slice classification use it."""

from typing import Literal

import torch
from torch import Tensor, nn

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
        p = probabilities if probabilities.dtype == torch.float64 else probabilities.float()
        g = reference.to(p.dtype)
        if mask is not None:
            p, g = p * mask, g * mask
        voxels = tuple(range(2, p.ndim))
        overlap = (p * g).sum(voxels)
        return 2 * overlap / (p.square().sum(voxels) + g.square().sum(voxels) + epsilon)


class SquaredDiceLoss(nn.Module):
    """``1 - squared_dice`` of logits, for plain labels (softmax) and regions (sigmoid).

    Args:
        regions: True for region labels: sigmoid, and a target ``(B, R, *spatial)``. False: softmax over all classes, a
            target ``(B, 1, *spatial)`` of integers, and the loss is that of the foreground classes 1, 2, ...
        ignore_label: With plain labels, voxels of this label do not count. With regions any number says that the
            target has one more channel at the end, which is 1 where voxels do not count (nnU-Net's convention).
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
        self.regions = regions
        self.ignore_label = ignore_label
        self.reduction = reduction
        self.epsilon = epsilon

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of logits ``(B, C, *spatial)`` against nnU-Net's target."""
        # Half precision is left before the non-linearity: a saturated sigmoid has no gradient there.
        logits = logits if logits.dtype == torch.float64 else logits.float()
        if self.regions:
            probabilities, reference, mask = self._regions(logits, target)
        else:
            probabilities, reference, mask = self._labels(logits, target)
        loss = 1 - squared_dice(probabilities, reference, mask, self.epsilon)
        if self.reduction == "none":
            return loss
        return (loss.sum(1) if self.reduction == "sum" else loss.mean(1)).mean()

    def _regions(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        if self.ignore_label is None:
            return logits.sigmoid(), target, None
        return logits.sigmoid(), target[:, :-1], ~target[:, -1:].bool()

    def _labels(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        mask = None
        if self.ignore_label is not None:
            mask = target != self.ignore_label
            target = torch.where(mask, target, 0)
        classes = torch.arange(1, logits.shape[1], device=target.device).view(1, -1, *[1] * (logits.ndim - 2))
        return logits.softmax(1)[:, 1:], target == classes, mask
