"""Mean, spread and disagreement of several predictions of a voxel.

Entropies follow the decomposition of Depeweg et al. (ICML 2018): that of the mean (all that is unknown), less the mean
of the members' own (what each of them doubts by itself), is the mutual information (what they disagree about).
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from scipy.special import entr

Kind = Literal["mean", "entropy", "mutual_information", "variance"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LARGEST_VARIANCE = 0.25  # half of the members say 0, the others 1


class Maps(NamedTuple):
    """Of one region or class against everything else; fields are :data:`KINDS`.

    Attributes:
        mean: Mean probability of the members.
        entropy: Of the mean, in bits: 0 is certain, 1 an even chance.
        mutual_information: Entropy less the mean of the members' own, in bits: 0 where all say the same, 1 where half
            say 0 and half 1.
        variance: Of the members' probabilities (divided by their number), at most 0.25.
    """

    mean: np.ndarray
    entropy: np.ndarray
    mutual_information: np.ndarray
    variance: np.ndarray


class JointMaps(NamedTuple):
    """Of all classes together, divided by the logarithm of their number, so that 1 is no idea at all.

    Attributes:
        entropy: Of the mean.
        mutual_information: What the members disagree about.
    """

    entropy: np.ndarray
    mutual_information: np.ndarray


def maps_of(members: Sequence[np.ndarray]) -> Maps:
    """Maps of one region.

    Args:
        members: Probabilities in [0, 1] of each member, arrays of one shape; at least one.
    """
    sums = np.zeros((3, *members[0].shape))  # of probabilities, of their squares, of their entropies
    for probabilities in members:
        doubles = probabilities.astype(np.float64)
        sums[0] += doubles
        sums[1] += doubles**2
        sums[2] += binary_entropy(doubles)
    mean, of_squares, expected = sums / len(members)
    entropy = binary_entropy(mean)
    # rounding must make neither negative
    disagreement, variance = np.maximum(entropy - expected, 0), np.maximum(of_squares - mean**2, 0)
    return Maps(*(part.astype(np.float32) for part in (mean, entropy, disagreement, variance)))


def binary_entropy(probability: np.ndarray) -> np.ndarray:
    """Entropy of yes or no, in bits."""
    return (entr(probability) + entr(1 - probability)) / np.log(2)


class JointEntropies:
    """Entropies over all classes, from one class after the other.

    Args:
        shape: Of the image.
        num_classes: Number of classes, the background included.
    """

    def __init__(self, shape: Sequence[int], num_classes: int):
        self.num_classes = num_classes
        self.of_mean = np.zeros(shape, np.float32)
        self.of_members = np.zeros(shape, np.float32)

    def add(self, where: slice, members: Sequence[np.ndarray]) -> None:
        """Add a class in a part of the image.

        Args:
            where: Slices along the first axis.
            members: Its probabilities there, one array a member.
        """
        number = len(members)
        self.of_mean[where] += entr(sum(members) / np.float32(number))
        for probabilities in members:
            self.of_members[where] += entr(probabilities) / number

    def maps(self) -> JointMaps:
        """The maps, when all classes were added."""
        scale = np.float32(np.log(self.num_classes))
        entropy = np.clip(self.of_mean / scale, 0, 1)
        return JointMaps(entropy, np.clip(entropy - self.of_members / scale, 0, 1))


def as_percent(kind: Kind, values: np.ndarray) -> np.ndarray:
    """Map as whole numbers of 0 to 100, as the QU-BraTS challenge takes them; the largest value possible is 100."""
    largest = LARGEST_VARIANCE if kind == "variance" else 1.0
    return np.rint(values * np.float32(100 / largest)).clip(0, 100).astype(np.uint8)
