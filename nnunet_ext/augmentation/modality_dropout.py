"""Modality dropout: a training sample loses modalities, so that the network learns to predict from those that stay."""

from collections.abc import Sequence

import torch
from torch import Tensor

# A set of channels is drawn as the bits of one 64-bit integer.
MOST_CHANNELS = 62


def uniform_probability(n_channels: int, n_required: int = 0) -> float:
    """Probability of losing modalities that makes every non-empty set of modalities as likely as any other.

    14/15 with four modalities of which none is required: the protocol of RFNet, mmFormer and DeMoSeg.

    Args:
        n_channels: Number of image channels.
        n_required: Number of channels that are never dropped.
    """
    sets = _number_of_proper_sets(n_channels - n_required, n_required)
    return sets / (sets + 1)


def draw_present(
    n_samples: int,
    n_channels: int,
    required: Sequence[int],
    probability: float,
    generator: torch.Generator,
) -> Tensor:
    """Channels that each sample keeps: all of them, or with ``probability`` a proper non-empty subset.

    The subset is drawn uniformly from the proper non-empty subsets that hold all required channels.

    Args:
        n_samples: Samples of the batch, each with a draw of its own.
        n_channels: Number of image channels.
        required: Channels that are never dropped.
        probability: Probability that a sample loses at least one channel, 0 to 1.
        generator: Source of randomness; the result is on its device.

    Returns:
        Boolean ``(n_samples, n_channels)``; every row holds a True.
    """
    device = generator.device
    optional = [channel for channel in range(n_channels) if channel not in required]
    present = torch.ones(n_samples, n_channels, dtype=torch.bool, device=device)
    n_sets = _number_of_proper_sets(len(optional), len(required))
    if not n_sets:
        return present
    # The empty set of optional channels is a choice only where required ones stay; the full set never is.
    first = 0 if required else 1
    sets = torch.randint(first, first + n_sets, (n_samples, 1), generator=generator, device=device)
    bits = (sets >> torch.arange(len(optional), device=device)) & 1
    loses = torch.rand(n_samples, 1, generator=generator, device=device) < probability
    present[:, optional] = bits.bool() | ~loses
    return present


def keep_present(images: Tensor, present: Tensor) -> Tensor:
    """Images whose dropped channels are 0, the value of a missing modality; further channels stay as they are.

    Args:
        images: Normalized batch ``(B, C, *spatial)``; the image channels come first (a cascade's one-hot channels
            follow them).
        present: Boolean ``(B, image channels)``.
    """
    n_channels = present.shape[1]
    shape = (*present.shape, *[1] * (images.ndim - 2))
    # not multiplied: 0 times an infinite intensity would be nan
    kept = torch.where(present.view(shape), images[:, :n_channels], images.new_zeros(()))
    return torch.cat([kept, images[:, n_channels:]], 1) if images.shape[1] > n_channels else kept


def _number_of_proper_sets(n_optional: int, n_required: int) -> int:
    """Subsets that lack at least one optional channel and are not empty."""
    return max(2**n_optional - (1 if n_required else 2), 0)
