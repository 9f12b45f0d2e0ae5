"""Modality dropout: a training sample loses modalities, so that the network learns to predict from those that stay."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from nnunet_ext.plans.modalities import ModalityError, channel_index
from nnunet_ext.plans.settings import SettingsType, TrainingSettings

# A set of channels is drawn as the bits of one 64-bit integer.
MOST_CHANNELS = 62


class ModalityDropout:
    """Drops modalities of training batches on the device they are on, with randomness of its own.

    The randomness depends on PyTorch's seed, the epoch and the process alone: processes that train together draw
    differently, a training that continues from a checkpoint draws what it would have drawn, and nothing else in a
    training draws other numbers because of it.

    Args:
        n_channels: Number of image channels, which come first in a batch.
        required: Channels that are never dropped.
        probability: Probability that a sample loses at least one channel, 0 to 1.
        device: Device of the batches.
    """

    def __init__(self, n_channels: int, required: Sequence[int], probability: float, device: torch.device):
        self.n_channels, self.required, self.probability = n_channels, list(required), probability
        self.generator = torch.Generator(device)

    @classmethod
    def of_settings(cls, settings: TrainingSettings, names: Sequence[str], device: torch.device) -> "ModalityDropout":
        """From resolved settings and the names of the channels."""
        required = [list(names).index(name) for name in settings.required_modalities or ()]
        return cls(len(names), required, float(settings.modality_dropout), device)

    def start_epoch(self, epoch: int, rank: int) -> None:
        """Draw anew for an epoch.

        Args:
            epoch: Number of the epoch.
            rank: Number of the process among those that train together.
        """
        sequence = np.random.SeedSequence([torch.initial_seed() % 2**63, rank, epoch])
        self.generator.manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))

    def __call__(self, images: Tensor) -> Tensor:
        """Images ``(B, C, *spatial)`` whose dropped channels are 0; the same object where nothing is to be dropped."""
        if self.probability == 0:
            return images
        present = draw_present(
            len(images), self.n_channels, required=self.required, probability=self.probability, generator=self.generator
        )
        return keep_present(images, present)


def resolve_modality_dropout(settings: SettingsType, names: Sequence[str], notes: list[str]) -> SettingsType:
    """Settings with dropout's probability as a number, and required modalities as the dataset spells them.

    Args:
        settings: Settings as the plans give them.
        names: Channel names of the dataset, in channel order.
        notes: A line for the training log is appended where modalities are dropped.

    Raises:
        ModalityError: A required channel does not exist, or there is nothing that could be dropped.
    """
    required = list(dict.fromkeys(names[channel_index(name, names)] for name in settings.required_modalities or ()))
    probability = settings.modality_dropout
    if probability == 0:
        return replace(settings, required_modalities=required or None)
    if not _number_of_proper_sets(len(names) - len(required), len(required)):
        raise ModalityError(
            f"modality_dropout has nothing to drop: the dataset has the channels {', '.join(names)}, and "
            f"{', '.join(required) or 'one'} must stay. Set modality_dropout=0 or fewer required_modalities."
        )
    if len(names) > MOST_CHANNELS:
        raise ModalityError(f"modality_dropout works on at most {MOST_CHANNELS} channels, not {len(names)}.")
    if probability == "uniform":
        probability = uniform_probability(len(names), len(required))
    notes.append(
        f"Modality dropout: a sample loses modalities with probability {probability:.4f}"
        + (f"; never dropped: {', '.join(required)}" if required else "")
    )
    return replace(settings, modality_dropout=probability, required_modalities=required or None)


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
