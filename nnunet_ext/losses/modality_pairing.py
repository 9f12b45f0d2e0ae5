"""Modality-pairing loss: minus the correlation of two branches' feature maps (Wang et al., BraTS 2020, Eq. 4)."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from nnunet_ext.architectures.precision import at_least_float32

# Elements of one sample handled at a time: 16 MiB in float32. The feature maps of a published patch hold 67 million
# elements a sample, and a float32 copy of them at the moment of highest memory use would raise the peak of training.
_CHUNK = 2**22


def pearson_correlation(a: Tensor, b: Tensor) -> Tensor:
    r"""Pearson correlation of two tensors over all elements of each sample (Eq. 4 without its minus sign).

    .. math:: r_i = \frac{\sum_j (a_{ij} - \bar a_i)(b_{ij} - \bar b_i)}
                         {\sqrt{\sum_j (a_{ij} - \bar a_i)^2 \sum_j (b_{ij} - \bar b_i)^2}}

    Computed in float32 (float64 for float64 input), whatever autocast says, of values scaled to 1 at most, so that no
    square or sum leaves the range of numbers. A sample in which either tensor is constant up to rounding has no
    correlation: its value and its gradients are 0.

    Args:
        a: ``(B, C, *spatial)``.
        b: Same shape.

    Returns:
        ``(B,)``, in the range -1 to 1.
    """
    return _PearsonCorrelation.apply(a, b)


class _PearsonCorrelation(torch.autograd.Function):
    """Forward and backward in chunks; keeps only its inputs and a few numbers a sample for the backward pass."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        scale_a, scale_b = _scale(a), _scale(b)
        mean_a, mean_b = _mean(a, scale_a), _mean(b, scale_b)
        square_a, square_b, product = (torch.zeros_like(mean_a) for _ in range(3))
        for part_a, part_b in zip(_chunks(a, scale_a), _chunks(b, scale_b), strict=True):
            centred_a, centred_b = part_a - mean_a, part_b - mean_b
            square_a += centred_a.square().sum(1, keepdim=True)
            square_b += centred_b.square().sum(1, keepdim=True)
            product += (centred_a * centred_b).sum(1, keepdim=True)
        varies = _varies(a, mean_a, square_a) & _varies(b, mean_b, square_b)
        norm_a, norm_b = (torch.where(varies, square, 1).sqrt() for square in (square_a, square_b))
        # rounding alone can carry it past 1
        correlation = torch.where(varies, product / norm_a / norm_b, 0).clamp(-1, 1)
        ctx.save_for_backward(a, b, scale_a, scale_b, mean_a, mean_b, norm_a, norm_b, correlation, varies)
        return correlation.squeeze(1)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:
        """With z = centred / norm: dr/da = (z_b - r z_a) / norm_a, and the same with a and b exchanged."""
        a, b, scale_a, scale_b, mean_a, mean_b, norm_a, norm_b, correlation, varies = ctx.saved_tensors
        grad = torch.where(varies, grad_outputs[0].to(mean_a.dtype).unsqueeze(1), 0)
        grads_a, grads_b = [], []
        for part_a, part_b in zip(_chunks(a, scale_a), _chunks(b, scale_b), strict=True):
            z_a, z_b = (part_a - mean_a) / norm_a, (part_b - mean_b) / norm_b
            # norm and scale one after the other: their product can leave the range
            grads_a.append(((z_b - correlation * z_a) * (grad / norm_a) / scale_a).to(a.dtype))
            grads_b.append(((z_a - correlation * z_b) * (grad / norm_b) / scale_b).to(b.dtype))
        return torch.cat(grads_a, 1).view(a.shape), torch.cat(grads_b, 1).view(b.shape)


def _scale(x: Tensor) -> Tensor:
    """Largest absolute value of each sample, ``(B, 1)`` in float32 or float64.

    1 where it is 0, or so small that the gradient, which grows as it shrinks, would leave the range of numbers.
    """
    low, high = x.flatten(1).aminmax(dim=1, keepdim=True)
    largest = at_least_float32(torch.maximum(-low, high))
    return torch.where(largest < torch.finfo(largest.dtype).tiny, 1, largest)


def _chunks(x: Tensor, scale: Tensor) -> Iterator[Tensor]:
    """Scaled parts of a tensor, ``(B, _CHUNK)``."""
    return (part.to(scale.dtype) / scale for part in x.flatten(1).split(_CHUNK, 1))


def _mean(x: Tensor, scale: Tensor) -> Tensor:
    """Mean of the scaled values of each sample, ``(B, 1)``."""
    total = torch.zeros_like(scale)
    for part in _chunks(x, scale):
        total += part.sum(1, keepdim=True)
    return total / x[0].numel()


def _varies(x: Tensor, mean: Tensor, sum_of_squares: Tensor) -> Tensor:
    """Whether the standard deviation is more than rounding makes of a constant: 10 machine epsilons of the mean."""
    elements = x[0].numel()
    noise = 10 * torch.finfo(mean.dtype).eps * mean.abs()
    # not `>`: nan features must give a nan loss, not pass for constant ones
    return ~(sum_of_squares <= elements * noise.square())


class ModalityPairingLoss(nn.Module):
    """Minus the Pearson correlation of the branches' feature maps, averaged over the batch (Eq. 4); from -1 to 1.

    With more than two branches it is averaged over all pairs (not stated in the paper, which has two branches: our
    choice, because it keeps the range).
    """

    def forward(self, *features: Tensor, included: Tensor | None = None) -> Tensor:
        """Loss of two or more feature maps.

        Args:
            features: One ``(B, C, *spatial)`` tensor a branch, all of one shape.
            included: Boolean ``(B,)``: samples to average over, 0 where there is none; None takes all.

        Returns:
            Scalar in float32 (float64 for float64 input).

        Raises:
            ValueError: Fewer than two feature maps, or different shapes.
        """
        if len(features) < 2 or any(x.shape != features[0].shape for x in features):
            raise ValueError(
                f"Two or more feature maps of one shape are needed, got {[tuple(x.shape) for x in features]}."
            )
        correlations = torch.stack([pearson_correlation(a, b) for a, b in combinations(features, 2)]).mean(0)
        if included is None:
            return -correlations.mean()
        return -torch.where(included, correlations, 0).sum() / included.sum().clamp(min=1)
