"""Shapley values: what each modality adds to a score, on average over all orders in which modalities could arrive."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import factorial

import numpy as np

Channels = tuple[int, ...]  # ascending


def all_subsets(n_channels: int) -> list[Channels]:
    """Non-empty subsets of the channels, the smallest first, then in channel order."""
    channels = range(n_channels)
    return [subset for size in range(1, n_channels + 1) for subset in combinations(channels, size)]


def shapley_values(scores: Mapping[Channels, np.ndarray], n_channels: int) -> np.ndarray:
    r"""Exact Shapley value of every channel.

    .. math:: \phi_i = \sum_{S \subseteq N \setminus \{i\}} \frac{|S|! (n - |S| - 1)!}{n!} (v(S \cup \{i\}) - v(S))

    Their sum is the score of all channels minus that of none.

    Args:
        scores: ``v``: score of every subset, the empty one ``()`` included; arrays of one shape, for example a value a
            case.
        n_channels: ``n``.

    Returns:
        ``(n_channels, *shape of a score)``.
    """
    values = [np.zeros_like(scores[()], dtype=float) for _ in range(n_channels)]
    for channel in range(n_channels):
        others = [other for other in range(n_channels) if other != channel]
        for size in range(n_channels):
            weight = factorial(size) * factorial(n_channels - size - 1) / factorial(n_channels)
            for subset in combinations(others, size):
                joined = tuple(sorted((*subset, channel)))
                values[channel] = values[channel] + weight * (scores[joined] - scores[subset])
    return np.stack(values)


def sample_orders(n_channels: int, n_orders: int, seed: int = 0) -> list[Channels]:
    """Random orders of the channels, for an estimate where there are too many subsets."""
    generator = np.random.default_rng(seed)
    return [tuple(int(channel) for channel in generator.permutation(n_channels)) for _ in range(n_orders)]


def subsets_of_orders(orders: Sequence[Channels]) -> list[Channels]:
    """Non-empty subsets that these orders pass through, in the order of :func:`all_subsets`."""
    passed = {tuple(sorted(order[: size + 1])) for order in orders for size in range(len(order))}
    return sorted(passed, key=lambda subset: (len(subset), subset))


def estimated_shapley_values(scores: Mapping[Channels, np.ndarray], orders: Sequence[Channels]) -> np.ndarray:
    """Mean of what each channel adds where it comes in these orders: an unbiased estimate of the Shapley values.

    Args:
        scores: Score of every subset that the orders pass through, and of the empty one ``()``.
        orders: Random orders of all channels.

    Returns:
        ``(number of channels, *shape of a score)``.
    """
    values = np.zeros((len(orders[0]), *np.shape(scores[()])))
    for order in orders:
        for position, channel in enumerate(order):
            before, after = tuple(sorted(order[:position])), tuple(sorted(order[: position + 1]))
            values[channel] += (scores[after] - scores[before]) / len(orders)
    return values
