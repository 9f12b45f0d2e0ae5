"""What the intensities of an image look like, in few numbers: their range, and the shape of their distribution."""

import numpy as np

RANGE = (0.5, 99.5)  # percentiles, as in nnU-Net's fingerprint
LEVELS = np.arange(1, 100, 2)  # percentiles of the shape
MOST_VALUES = 100_000  # of an image are looked at, evenly spread


def intensity_range(image: np.ndarray) -> tuple[float, float]:
    """The 0.5th and 99.5th percentile of the values that are not 0.

    Args:
        image: Intensities of any shape, finite and not all 0.
    """
    low, high = np.percentile(_values(image), RANGE)
    return float(low), float(high)


def intensity_shape(image: np.ndarray) -> np.ndarray:
    """Percentiles of the values that are not 0, in standard deviations from their mean, ``(Q,)``.

    MR intensities have no common scale; adding to them or multiplying them does not change this.

    Args:
        image: Intensities of any shape, finite and not constant where they are not 0.
    """
    values = _values(image)
    deviation = values.std()
    return (np.percentile(values, LEVELS) - values.mean()) / (deviation if deviation > 0 else 1.0)


def _values(image: np.ndarray) -> np.ndarray:
    values = image[image != 0]
    return values[:: max(1, len(values) // MOST_VALUES)].astype(np.float64)
