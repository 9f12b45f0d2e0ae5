"""Replacing a label or region that is too small as a whole."""

import numpy as np

from nnunet_ext.postprocessing.small_components import region_mask


def replace_small_region(
    segmentation: np.ndarray, region: int | tuple[int, ...], min_voxels: int, replacement: int
) -> np.ndarray:
    """Give a label or region another label where it has fewer than ``min_voxels`` voxels in the whole image.

    For enhancing tumour this is the rule of Wang et al. (BraTS 2020): some low-grade gliomas have none, so enhancing
    tumour of less than a threshold becomes necrosis. They do not state the threshold: determine it on cross-validation.

    Args:
        segmentation: Label map of any shape and number type; not changed.
        region: Label, or labels whose union is measured and replaced.
        min_voxels: Smallest region that stays, in voxels.
        replacement: Label that it gets.

    Returns:
        Label map of the same type.
    """
    mask = region_mask(segmentation, region)
    result = segmentation.copy()
    if np.count_nonzero(mask) < min_voxels:
        result[mask] = replacement
    return result
