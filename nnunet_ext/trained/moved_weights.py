"""Weights of one network for another one of the same topology that reads and segments something else."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nnunet_ext.architectures.method_network import BranchedNetwork
from nnunet_ext.trained.correspondence import ADVICE, Correspondence, Side, TransferError, part_of


class Moved(NamedTuple):
    """Weights of the target.

    Attributes:
        weights: By name.
        unfit_parts: Training-only parts of both networks whose sizes differ, an autoencoder branch for another patch
            for example; they are as drawn.
    """

    weights: dict[str, Tensor]
    unfit_parts: set[str]


class Origin(NamedTuple):
    """Where the kernel of a first layer comes from.

    Attributes:
        known: Input channel of the new kernel -> that of the old one whose part it takes.
        mean: Input channels of the old kernel, the mean of whose parts is the part of new modalities.
        images: Number of modalities that the new kernel reads.
        num_new: Number of those among them that are new.
    """

    known: dict[int, int]
    mean: list[int]
    images: int
    num_new: int

    @property
    def scale(self) -> float:
        """Factor of all modalities' parts, so that an image that is the same in all keeps its response."""
        return len(self.mean) / self.images if self.num_new else 1.0


def move_weights(
    weights: Mapping[str, Tensor], source: Side, target: Side, same: Correspondence, drawn: Mapping[str, Tensor]
) -> Moved:
    """Weights of the source for the target.

    Args:
        weights: Weights of the source by name; not changed.
        source: What they are of.
        target: What they are to be of.
        same: What of the target is what of the source.
        drawn: Weights of the target as its network draws them, for what the source does not have.

    Raises:
        TransferError: A weight that is for both has different sizes.
    """
    if isinstance(source.built, BranchedNetwork):
        weights = source.built.in_other_order(weights, same.branches)
    new: dict[str, Tensor] = {}
    unfit: set[str] = set()
    for name, draw in drawn.items():
        part = part_of(name)
        if part in same.new_parts:
            new[name] = draw
            continue
        moved = weights[name]
        if name in target.axes.kernels:
            origin = kernel_origin(source, target, same, name)
            moved = moved_kernel(moved, same.kernels[name], target.axes.kernels[name], origin)
        elif name in target.axes.heads:
            moved = moved_rows(moved, source.axes.heads[name], target.axes.heads[name], same.outputs, draw)
        elif name in target.axes.images:
            moved = moved_images(moved, source.axes.images[name], target.axes.images[name], same.channels)
        if moved.shape != draw.shape:
            if part not in target.training_only:
                raise TransferError(f"Weight {name} is {_size(moved)} there and {_size(draw)} here. {ADVICE}")
            unfit.add(part)
        new[name] = moved.clone()
    return Moved({name: drawn[name] if part_of(name) in unfit else new[name] for name in drawn}, unfit)


def kernel_origin(source: Side, target: Side, same: Correspondence, name: str) -> Origin:
    """Where the parts of a first layer's kernel come from.

    Args:
        source: Where weights come from.
        target: Where they go.
        same: What of the target is what of the source.
        name: Name of the weight.
    """
    there, here = same.kernels[name], target.axes.kernels[name]
    known = {channel: same.channels[channel] for channel in here if same.channels.get(channel) in there}
    images = [channel for channel in here if channel < len(target.modalities)]
    along = [known[channel] for channel in images if channel in known]
    all_modalities = [channel for channel in there if channel < len(source.modalities)]
    return Origin(known, along or all_modalities, images=len(images), num_new=len(images) - len(along))


def moved_kernel(kernel: Tensor, there: Sequence[int], here: Sequence[int], origin: Origin) -> Tensor:
    """Kernel of a first layer for other input channels.

    A known modality takes its part along. A new one begins with the mean of the ``k`` parts that come along (of all,
    where none does), and then all ``n`` modalities' parts are multiplied by ``k / n``: an image that is the same in all
    modalities has the response that it had without the new ones, ``(k m + (n - k) m) k / n = k m`` with the mean m.
    Where no modality is new nothing is multiplied, so that one that is dropped counts as a missing one, which is 0.
    New one-hot channels of a cascade begin with 0.

    Args:
        kernel: ``(features, channels, *size)``.
        there: Input channels that it reads.
        here: Input channels that the new one reads, the modalities before the one-hot channels.
        origin: Where its parts come from.

    Returns:
        ``(features, len(here), *size)``.
    """
    parts = dict(zip(there, kernel.unbind(1), strict=True))
    mean = torch.stack([parts[channel] for channel in origin.mean]).mean(0)
    modalities, one_hot = here[: origin.images], here[origin.images :]
    new = [parts[origin.known[channel]] if channel in origin.known else mean for channel in modalities]
    new = [part * origin.scale for part in new]
    new += [parts[origin.known[channel]] if channel in origin.known else torch.zeros_like(mean) for channel in one_hot]
    return torch.stack(new, 1)


def moved_rows(
    weight: Tensor, there: Sequence[int], here: Sequence[int], same: Mapping[int, int], drawn: Tensor
) -> Tensor:
    """Weight or bias of a segmentation head: rows whose label or region is known, the others as drawn.

    Args:
        weight: ``(rows, ...)``.
        there: Segmentation channel of each row.
        here: Segmentation channel of each new row.
        same: Segmentation channel of the target -> that of the source.
        drawn: What the network draws, ``(new rows, ...)``.
    """
    rows = dict(zip(there, weight.unbind(0), strict=True))
    new = [rows.get(same.get(channel, -1), draw) for channel, draw in zip(here, drawn.unbind(0), strict=True)]
    # features of another network: the weight as it is, whose size tells
    return torch.stack(new) if weight.shape[1:] == drawn.shape[1:] else weight


def moved_images(weight: Tensor, there: Sequence[int], here: Sequence[int], same: Mapping[int, int]) -> Tensor:
    """Weight or bias of the layer that reconstructs the modalities: rows of known ones, others the mean of these.

    Args:
        weight: ``(rows, ...)``.
        there: Modality channel of each row.
        here: Modality channel of each new row.
        same: Channel of the target -> that of the source.
    """
    rows = dict(zip(there, weight.unbind(0), strict=True))
    known = {channel: rows[same[channel]] for channel in here if channel in same}
    mean = torch.stack([*(known or rows).values()]).mean(0)
    return torch.stack([known.get(channel, mean) for channel in here])


def _size(weight: Tensor) -> str:
    return " x ".join(map(str, weight.shape)) or "one number"
