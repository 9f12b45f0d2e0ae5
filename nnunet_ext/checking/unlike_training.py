"""Whether a case looks like the training data: its spacing, its intensities, the order of its channels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from nnunet_ext.images.case_check import CaseCheck, Finding

# All numbers are our choice; docs/checking.md says what they find and miss.
SPACING_FACTOR = 1.5  # beyond the training data's smallest and largest spacing
SWAP_FACTOR = 1.1  # by which another order of the channels must fit better
FEWEST_CASES = 3  # of training, to compare shapes of distributions with


@dataclass(frozen=True)
class TrainingData:
    """What a case is compared with.

    Args:
        names: Names of the channels, in order.
        spacings: mm of every training case in the order of the arrays' axes, ``(N, 3)``; None where not known.
        ranges: 0.5th and 99.5th percentile of each channel's foreground, from nnU-Net's fingerprint; None where there
            is none.
        shapes: Case -> shapes of its channels' distributions ``(C, Q)``.
    """

    names: Sequence[str]
    spacings: np.ndarray | None
    ranges: Sequence[tuple[float, float]] | None
    shapes: Mapping[str, np.ndarray]


class Order(NamedTuple):
    """Another order of a case's channels.

    Attributes:
        looks_like: Channel of the case -> channel of the training data that it looks like, in that order.
        factor: How many times better that fits than the order as it is; infinite where it fits without a difference.
    """

    looks_like: dict[int, int]
    factor: float


def read_fingerprint(content: Mapping[str, Any]) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Spacings and ranges of a ``dataset_fingerprint.json``.

    Args:
        content: What is in it.

    Raises:
        KeyError: It is none.
        ValueError: Its spacings are none.
    """
    properties = content["foreground_intensity_properties_per_channel"]
    channels = [properties[key] for key in sorted(properties, key=int)]
    ranges = [(float(each["percentile_00_5"]), float(each["percentile_99_5"])) for each in channels]
    spacings = np.array(content["spacings"], dtype=float)
    if spacings.ndim != 2:
        raise ValueError("spacings is no list of lists")
    return spacings, ranges


def unlike_training(case: str, check: CaseCheck, training: TrainingData) -> list[Finding]:
    """Warnings about a case that does not look like the training data.

    Args:
        case: Its name; it is not compared with itself.
        check: What its images look like.
        training: What the training data looks like.
    """
    found = [*_spacing(case, check, training), *_ranges(case, check, training)]
    others = [shapes for name, shapes in training.shapes.items() if name != case]
    if len(others) >= FEWEST_CASES and (order := better_order(check.shapes, np.array(others))):
        names = training.names
        swapped = ", ".join(
            f"{channel:04d} ({names[channel]}) looks like {names[other]}"
            for channel, other in order.looks_like.items()
            if channel != other
        )
        message = f"{case}: channels may be swapped: {swapped}. That order fits {order.factor:.2g} times as well."
        found.append(Finding("warning", "swapped channels", message))
    return found


def better_order(shapes: Mapping[int, np.ndarray], training: np.ndarray) -> Order | None:
    """The order of channels in which a case looks more like the training data; None where its own is as good.

    The distance of an image from a channel is the Wasserstein distance of their distributions of intensities, both
    standardized, in the median over the training cases; that of an order is the sum over channels.

    Args:
        shapes: Channel -> shape of its distribution ``(Q,)``; channels that are missing are left out.
        training: Shapes of the training cases, ``(N, C, Q)``.
    """
    channels = sorted(shapes)
    if len(channels) < 2 or channels[-1] >= training.shape[1]:
        return None
    images = np.stack([shapes[channel] for channel in channels])
    distances = np.abs(images[:, None, None] - training[None, :, channels]).mean(-1)  # (image, case, channel)
    costs = np.median(distances, axis=1)
    rows, columns = linear_sum_assignment(costs)
    own, best = float(np.trace(costs)), float(costs[rows, columns].sum())
    if own < SWAP_FACTOR * best or own == best:
        return None
    looks_like = {channels[row]: channels[column] for row, column in zip(rows, columns, strict=True)}
    return Order(looks_like, own / best if best > 0 else float("inf"))


def _spacing(case: str, check: CaseCheck, training: TrainingData) -> list[Finding]:
    if check.grid is None or training.spacings is None:
        return []
    spacing = np.array(check.grid.spacing)
    known = training.spacings[:, -len(spacing) :]  # planes have a third one there, nnU-Net's mark for them
    low, high = known.min(axis=0), known.max(axis=0)
    if np.all((spacing >= low / SPACING_FACTOR) & (spacing <= high * SPACING_FACTOR)):
        return []
    of_training = ", ".join(f"{a:.3g}" if a == b else f"{a:.3g} to {b:.3g}" for a, b in zip(low, high, strict=True))
    shown = ", ".join(f"{value:.3g}" for value in spacing)
    return [Finding("warning", "spacing", f"{case}: spacing {shown} mm, of the training data {of_training} mm.")]


def _ranges(case: str, check: CaseCheck, training: TrainingData) -> list[Finding]:
    known = training.ranges
    if known is None or any(channel >= len(known) for channel in check.ranges):
        return []
    found = []
    for channel, (low, high) in check.ranges.items():
        if _overlap((low, high), known[channel]):
            continue
        like = [
            training.names[other]
            for other, values in enumerate(known)
            if _overlap((low, high), values) and other in check.ranges and _overlap(check.ranges[other], known[channel])
        ]
        swapped = f" Swapped with {' or '.join(like)}?" if like else ""
        of_training = f"{known[channel][0]:.4g} to {known[channel][1]:.4g}"
        message = (
            f"{case}: channel {channel:04d} ({training.names[channel]}) has values of {low:.4g} to {high:.4g}, far "
            f"from {of_training} of the training data's foreground.{swapped}"
        )
        found.append(Finding("warning", "intensities", message))
    return found


def _overlap(first: tuple[float, float], second: tuple[float, float]) -> bool:
    return first[0] <= second[1] and second[0] <= first[1]
