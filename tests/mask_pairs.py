"""Pairs of masks for the tests of surface distances, and surface-distance's answer."""

import warnings

import numpy as np


def surface_distance(reference, prediction, spacing):
    """The surface-distance package and its distances of two masks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # surface-distance 0.1 uses names that SciPy has deprecated
        import surface_distance

        return surface_distance, surface_distance.compute_surface_distances(reference, prediction, spacing)


def box(shape, *bounds):
    """Mask of a box from pairs of bounds, one an axis."""
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*bound) for bound in bounds)] = True
    return mask


def random_pair(seed):
    """Masks of random shape, dimension and density, dense noise to a few voxels, and a spacing."""
    generator = np.random.default_rng(seed)
    shape = generator.integers(2, 15, size=2 if seed % 5 == 0 else 3)
    masks = [generator.random(shape) < generator.choice([0.05, 0.3, 0.95]) for _ in range(2)]
    for mask in masks:
        mask.flat[generator.integers(mask.size)] = True
    return masks[0], masks[1], tuple(generator.uniform(0.4, 4.0, size=len(shape)))


CUBE = box((12, 12, 12), (3, 8), (3, 8), (3, 8))
HAND_MADE = {
    "equal": (CUBE, CUBE, (1, 1, 1)),
    "shifted by one voxel of 5 mm": (CUBE, np.roll(CUBE, 1, axis=0), (5, 1, 1)),
    "touching the border": (box((9, 9, 9), (0, 4), (0, 9), (0, 9)), box((9, 9, 9), (3, 9), (2, 9), (0, 5)), (1, 2, 3)),
    "whole image": (np.ones((5, 6, 7), bool), box((5, 6, 7), (1, 3), (1, 3), (1, 3)), (1, 1, 2)),
    "single voxels": (box((9, 9, 9), (1, 2), (1, 2), (1, 2)), box((9, 9, 9), (7, 8), (6, 7), (5, 6)), (1, 0.5, 2)),
    "one slice": (box((1, 9, 9), (0, 1), (1, 5), (1, 5)), box((1, 9, 9), (0, 1), (3, 9), (2, 6)), (3, 1, 1)),
    "scattered false positives": (CUBE, CUBE | (np.random.default_rng(0).random(CUBE.shape) < 0.05), (1, 1, 1)),
    "2d": (box((12, 12), (2, 7), (2, 7)), box((12, 12), (4, 11), (0, 7)), (0.5, 2)),
}
PAIRS = {**HAND_MADE, **{f"random {seed}": random_pair(seed) for seed in range(30)}}
