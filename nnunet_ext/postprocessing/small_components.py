"""Deleting small connected components of a label or region."""

import cc3d
import numpy as np

# Voxels that share a face, an edge or a corner are connected. Not stated in the papers: our choice, because nnU-Net's
# own removal of components connects them so.
DEFAULT_CONNECTIVITY = 26
DEFAULT_MIN_VOXELS = 10  # Wang et al., BraTS 2020, post-processing: "voxels < 10"


def remove_small_components(
    segmentation: np.ndarray,
    region: int | tuple[int, ...],
    min_voxels: int = DEFAULT_MIN_VOXELS,
    replacement: int = 0,
    connectivity: int = DEFAULT_CONNECTIVITY,
    keep_largest: bool = False,
) -> np.ndarray:
    """Replace every component of a label or region that has fewer than ``min_voxels`` voxels.

    Args:
        segmentation: Label map, ``(Z, Y, X)``, of any number type; two-dimensional images have ``Z = 1``. Not changed.
        region: Label, or labels whose union is taken apart into components.
        min_voxels: Smallest component that stays, in voxels.
        replacement: Label that removed voxels get. Inside a larger region it should be a label of that region, else
            the larger region gets a hole.
        connectivity: 6 (faces), 18 (and edges) or 26 (and corners); in a single slice 26 means 8.
        keep_largest: The largest component stays, however small it is (several of the same size all stay). Off by
            default, as in files of earlier versions; ``postprocess determine`` switches it on.

    Returns:
        Label map of the same type.
    """
    components = label_components(segmentation, region, connectivity)
    sizes = np.bincount(components.ravel())
    too_small = sizes < min_voxels
    if keep_largest:
        too_small &= sizes < sizes[1:].max(initial=0)
    too_small[0] = False
    result = segmentation.copy()
    result[too_small[components]] = replacement
    return result


def label_components(segmentation: np.ndarray, region: int | tuple[int, ...], connectivity: int) -> np.ndarray:
    """Number of the component of each voxel, from 1; 0 outside the region."""
    # As bytes: of Boolean images one voxel thin, cc3d 4.1 fails on some.
    components: np.ndarray = cc3d.connected_components(
        region_mask(segmentation, region).view(np.uint8),
        connectivity=connectivity,  # type: ignore[call-overload]
    )
    return components


def region_mask(segmentation: np.ndarray, region: int | tuple[int, ...]) -> np.ndarray:
    """Boolean mask of a label, or of the union of several."""
    return np.isin(segmentation, region)
