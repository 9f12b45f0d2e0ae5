"""Lesions of a mask, and which predicted lesion belongs to which of the reference.

What is done with them is the business of :mod:`nnunet_ext.evaluation.lesions`.
"""

from itertools import combinations
from typing import Literal, NamedTuple

import cc3d
import numpy as np
from scipy.optimize import linear_sum_assignment


class Components(NamedTuple):
    """Components of a mask.

    Args:
        labels: Component of each voxel from 1 on, 0 outside.
        voxels: Indices of the voxels that are not 0 in the flat array, ``(N,)``: few, beside those of the image.
        sizes: Voxels of each component, ``sizes[i]`` of component ``i + 1``.
    """

    labels: np.ndarray
    voxels: np.ndarray
    sizes: np.ndarray

    @property
    def number(self) -> int:
        """Number of components."""
        return len(self.sizes)


class Overlaps(NamedTuple):
    """Pairs of components that share voxels; all arrays ``(K,)``, components counted from 0."""

    reference: np.ndarray
    prediction: np.ndarray
    voxels: np.ndarray


def components(mask: np.ndarray, neighbours: Literal[4, 6, 8, 18, 26]) -> Components:
    """Connected components.

    Args:
        mask: Boolean mask, ``(Z, Y, X)`` or ``(Y, X)``.
        neighbours: Of a voxel: 26, 18 or 6; in 2d 8 or 4.
    """
    mask = np.ascontiguousarray(mask)
    # As bytes: of Boolean images, cc3d 4.1 miscounts 8 neighbours and fails on some boxes one voxel thin.
    return _components(cc3d.connected_components(mask.view(np.uint8), connectivity=neighbours), mask)


def touching_components(mask: np.ndarray) -> Components:
    """Connected components of voxels that share a face, an edge or a corner: 26 neighbours, in 2d 8."""
    return components(mask, 26 if mask.ndim == 3 else 8)


def dilate(mask: np.ndarray, times: int) -> np.ndarray:
    """Add the neighbours by face or edge (18 in 3d; in 2d those of the plane, 8), so many times.

    The element is the union of the three squares that lie in two axes each, and a square is two lines, one after the
    other: the same as SciPy's ``binary_dilation`` with ``generate_binary_structure(3, 2)``, faster by an order.
    """
    for _ in range(times):
        lines = [_spread(mask, axis) for axis in range(mask.ndim)]
        mask = np.logical_or.reduce([_spread(lines[i], j) for i, j in combinations(range(mask.ndim), 2)])
    return mask


def merge_by_dilation(mask: np.ndarray, times: int) -> tuple[Components, np.ndarray]:
    """Lesions that touch after dilation are one.

    Args:
        mask: Boolean mask, ``(Z, Y, X)`` or ``(Y, X)``.
        times: How often to dilate.

    Returns:
        The lesions, made of the mask's own voxels, and the dilated ones under the same numbers.
    """
    dilated = touching_components(dilate(mask, times)).labels
    return _components(dilated * mask, mask), dilated


def overlaps(reference: np.ndarray, prediction: Components) -> Overlaps:
    """Shared voxels of each two components, in rising order.

    Args:
        reference: Component of each voxel from 1 on, 0 outside.
        prediction: Components of an image of the same shape.
    """
    first, second = (labels.ravel()[prediction.voxels].astype(np.int64) for labels in (reference, prediction.labels))
    width = prediction.number + 1
    pairs, voxels = np.unique(first[first > 0] * width + second[first > 0], return_counts=True)
    return Overlaps(pairs // width - 1, pairs % width - 1, voxels)


def dice_of_overlaps(reference: Components, prediction: Components, shared: Overlaps) -> np.ndarray:
    """Dice of each pair that shares voxels, ``(K,)``."""
    return 2 * shared.voxels / (reference.sizes[shared.reference] + prediction.sizes[shared.prediction])


def match_one_to_one(numbers: tuple[int, int], shared: Overlaps, dice: np.ndarray, min_dice: float) -> np.ndarray:
    """Which pairs belong together if every lesion has at most one partner and the sum of Dice is largest.

    Args:
        numbers: Of lesions in reference and prediction, also those without a pair: which of several matchings with the
            same sum is found depends on them, and panoptica's is that with all lesions.
        shared: Pairs that share voxels, in rising order.
        dice: Of each pair.
        min_dice: A pair below it is none.

    Returns:
        Indices of the matched pairs, in rising order.
    """
    pairs = np.flatnonzero(dice >= min_dice)
    # Without a pair costs a little more than a pair of Dice 0, as in panoptica: of equal sums, that with more pairs.
    cost = np.full(numbers, 1 + 1e-6)
    cost[shared.reference[pairs], shared.prediction[pairs]] = 1 - dice[pairs]
    rows, columns = linear_sum_assignment(cost)
    chosen = (rows * numbers[1] + columns)[cost[rows, columns] < 1]
    return np.flatnonzero(np.isin(shared.reference * numbers[1] + shared.prediction, chosen))


def _components(labels: np.ndarray, mask: np.ndarray) -> Components:
    voxels = np.flatnonzero(mask)
    return Components(labels, voxels, np.bincount(labels.ravel()[voxels], minlength=1)[1:])


def _spread(mask: np.ndarray, axis: int) -> np.ndarray:
    """Mask with the two neighbours along an axis."""
    spread = mask.copy()
    target, source = np.moveaxis(spread, axis, 0), np.moveaxis(mask, axis, 0)
    target[1:] |= source[:-1]
    target[:-1] |= source[1:]
    return spread
