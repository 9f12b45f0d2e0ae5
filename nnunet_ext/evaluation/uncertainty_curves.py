"""How uncertainty and mistakes go together, voxel by voxel: the curves of the QU-BraTS challenge.

Mehta et al., QU-BraTS (MELBA 2022): voxels whose uncertainty is above a threshold are taken out. What is left should be
right (Dice), and what is taken out should not have been right (filtered true positives, filtered true negatives).
"""

from typing import NamedTuple

import numpy as np
from scipy.integrate import trapezoid

NUM_POINTS = 40  # steps between the thresholds 0 and 1, as the challenge's own program
THRESHOLDS = np.linspace(0, 1, NUM_POINTS + 1)


class Curves(NamedTuple):
    """One value a threshold, for one region of one case.

    Attributes:
        dice: Of the voxels that are left; 1 where neither mask has one.
        filtered_tp: Part of the true positives that is taken out; 0 where there are none.
        filtered_tn: Part of the true negatives that is taken out; 0 where there are none.
    """

    dice: np.ndarray
    filtered_tp: np.ndarray
    filtered_tn: np.ndarray

    def areas(self) -> dict[str, float]:
        """Area under each curve, in [0, 1], and the challenge's score: the mean of the first and 1 less the others'."""
        dice, filtered_tp, filtered_tn = (float(trapezoid(curve, THRESHOLDS)) for curve in self)
        return {
            "dice_auc": dice,
            "filtered_tp_auc": filtered_tp,
            "filtered_tn_auc": filtered_tn,
            "qu_score": (dice + (1 - filtered_tp) + (1 - filtered_tn)) / 3,
        }


def curves(reference: np.ndarray, prediction: np.ndarray, uncertainty: np.ndarray, counted: np.ndarray) -> Curves:
    """Curves of one region of one case.

    Args:
        reference: Boolean mask, without ignored voxels.
        prediction: Boolean mask, without ignored voxels.
        uncertainty: In [0, 1], of the same shape.
        counted: Where true negatives count: the head in the challenge.
    """
    # the first threshold that leaves a voxel
    first = np.searchsorted(THRESHOLDS, uncertainty)
    left = {
        name: np.bincount(first[mask], minlength=NUM_POINTS + 1).cumsum()
        for name, mask in {
            "tp": reference & prediction,
            "wrong": reference ^ prediction,
            "tn": counted & ~(reference | prediction),
        }.items()
    }
    both = 2 * left["tp"] + left["wrong"]
    dice = np.divide(2 * left["tp"], both, out=np.ones(NUM_POINTS + 1), where=both > 0)
    return Curves(dice, _taken_out(left["tp"]), _taken_out(left["tn"]))


def _taken_out(left: np.ndarray) -> np.ndarray:
    return 1 - left / left[-1] if left[-1] else np.zeros(NUM_POINTS + 1)
