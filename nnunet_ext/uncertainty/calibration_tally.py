"""How well probabilities fit the truth, at many temperatures at once, as sums that cases and folds add to."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from nnunet_ext.uncertainty.temperature import log_probabilities, tempered

# Steps of 9 % from 1/4 to 8: finer ones change the likelihood, flat around its best, by less than folds differ
TEMPERATURES = 2.0 ** (np.arange(-16, 25) / 8)
UNCHANGED = 16  # index of temperature 1
NUM_BINS = 15  # of equal width, as Guo et al. (ICML 2017)


@dataclass(frozen=True)
class Reliability:
    """Scores of one region at one temperature.

    Args:
        ece: Expected calibration error: distance of mean probability and frequency in each bin, weighed by voxels.
        brier: Mean squared distance of probability and truth.
        nll: Mean negative log-likelihood of the truth, natural logarithm.
        counts: Voxels of each bin.
        confidences: Their mean probability; 0 of an empty bin.
        frequencies: Part of them that is in the region; 0 of an empty bin.
    """

    ece: float
    brier: float
    nll: float
    counts: list[int]
    confidences: list[float]
    frequencies: list[float]


@dataclass(frozen=True)
class Scores:
    """Sums over voxels at one temperature a region; R regions (classes without the background), B bins.

    Args:
        voxels: Number of voxels.
        nll: Negative log-likelihood of each region against everything else, ``(R,)``.
        brier: Squared distances, ``(R,)``.
        counts: Voxels of a bin, ``(R, B)``.
        confidences: Sum of their probabilities, ``(R, B)``.
        positives: Those of them in the region, ``(R, B)``.
    """

    voxels: int
    nll: np.ndarray
    brier: np.ndarray
    counts: np.ndarray
    confidences: np.ndarray
    positives: np.ndarray

    def __add__(self, other: "Scores") -> "Scores":
        return Scores(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def reliability(self, region: int) -> Reliability:
        """Scores of a region.

        Args:
            region: Its index.
        """
        counts, voxels = self.counts[region], self.voxels
        confidences = np.divide(self.confidences[region], counts, out=np.zeros(NUM_BINS), where=counts > 0)
        frequencies = np.divide(self.positives[region], counts, out=np.zeros(NUM_BINS), where=counts > 0)
        return Reliability(
            ece=float((counts * abs(confidences - frequencies)).sum() / voxels),
            brier=float(self.brier[region] / voxels),
            nll=float(self.nll[region] / voxels),
            counts=counts.tolist(),
            confidences=confidences.tolist(),
            frequencies=frequencies.tolist(),
        )


@dataclass(frozen=True)
class Tally:
    """The same sums at all T candidate temperatures, for any choice of them.

    Args:
        voxels: Number of voxels.
        objective: Negative log-likelihood that is minimised, ``(1, T)`` of all classes together or ``(R, T)``.
        nll: As of :class:`Scores`, ``(R, T)``.
        brier: ``(R, T)``.
        counts: ``(R, T, B)``.
        confidences: ``(R, T, B)``.
        positives: ``(R, T, B)``.
    """

    voxels: int
    objective: np.ndarray
    nll: np.ndarray
    brier: np.ndarray
    counts: np.ndarray
    confidences: np.ndarray
    positives: np.ndarray

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def at(self, temperatures: Sequence[int]) -> Scores:
        """Scores at chosen temperatures.

        Args:
            temperatures: Index in :data:`TEMPERATURES` for each region, or one for all classes.
        """
        number = len(self.nll)
        where = np.arange(number), np.broadcast_to(temperatures, number)
        arrays = (self.nll, self.brier, self.counts, self.confidences, self.positives)
        return Scores(self.voxels, *(array[where] for array in arrays))

    def best(self) -> list[int]:
        """Index of the best temperature of each region, or of all classes."""
        return [int(index) for index in self.objective.argmin(axis=1)]


def no_voxels(num_regions: int, exclusive: bool) -> Tally:
    """A tally of nothing.

    Args:
        num_regions: Number of regions, or of classes without the background.
        exclusive: Whether they are classes, which share a temperature.
    """
    scores, bins = (num_regions, len(TEMPERATURES)), (num_regions, len(TEMPERATURES), NUM_BINS)
    return Tally(
        voxels=0,
        objective=np.zeros((1 if exclusive else num_regions, len(TEMPERATURES))),
        nll=np.zeros(scores),
        brier=np.zeros(scores),
        counts=np.zeros(bins, np.int64),
        confidences=np.zeros(bins),
        positives=np.zeros(bins, np.int64),
    )


def tally(probabilities: np.ndarray, truth: np.ndarray, exclusive: bool) -> Tally:
    """Count voxels at every candidate temperature.

    Args:
        probabilities: ``(C, N)`` float32, as saved.
        truth: Regions: whether a voxel is in each, ``(C, N)`` bool. Classes: the channel of its class, ``(N,)``.
        exclusive: Whether the channels are classes.
    """
    groups = log_probabilities(probabilities, exclusive)
    inside = truth[None] == np.arange(1, len(probabilities))[:, None] if exclusive else truth
    result = no_voxels(len(inside), exclusive)
    for index, temperature in enumerate(TEMPERATURES):
        logs = [tempered(group, float(temperature)) for group in groups]
        if exclusive:
            result.objective[0, index] = -np.take_along_axis(logs[0], truth[None], axis=0).sum()
            of_regions = logs[0][1:]
        else:
            of_regions = np.stack([group[1] for group in logs])
        for region, (log_inside, is_inside) in enumerate(zip(of_regions, inside, strict=True)):
            values = np.exp(log_inside)
            # the rest of 1 from the logarithm, since 1 - values has no digits left where values is nearly 1
            log_outside = logs[region][0] if not exclusive else _log_of_rest(logs[0], region + 1)
            nll = -np.where(is_inside, log_inside, log_outside).sum()
            result.nll[region, index] = nll
            if not exclusive:
                result.objective[region, index] = nll
            result.brier[region, index] = ((values - is_inside) ** 2).sum()
            bins = np.minimum((values * NUM_BINS).astype(np.int64), NUM_BINS - 1)
            result.counts[region, index] = np.bincount(bins, minlength=NUM_BINS)
            result.confidences[region, index] = np.bincount(bins, values, minlength=NUM_BINS)
            result.positives[region, index] = np.bincount(bins[is_inside], minlength=NUM_BINS)
    return replace(result, voxels=probabilities.shape[1])


def _log_of_rest(logs: np.ndarray, channel: int) -> np.ndarray:
    """Logarithm of the sum of all other classes."""
    others = np.delete(logs, channel, axis=0)
    return np.logaddexp.reduce(others, axis=0)
