"""Rules of post-processing that ``postprocess determine`` tries, without their thresholds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnunet_ext.labels.dataset_labels import DatasetLabels, Region
from nnunet_ext.postprocessing.small_components import label_components, remove_small_components
from nnunet_ext.postprocessing.small_regions import replace_small_region


@dataclass(frozen=True)
class Rule:
    """A post-processing function without its threshold.

    Args:
        function: :func:`remove_small_components` or :func:`replace_small_region`.
        region: What it works on.
        kwargs: Its arguments but ``min_voxels``.
    """

    function: Callable[..., np.ndarray]
    region: Region
    kwargs: dict[str, Any]

    @property
    def name(self) -> str:
        """Function and region, for people."""
        return f"{self.function.__name__} ({self.region.name})"

    @property
    def keep_largest(self) -> bool:
        """Whether the largest component stays at every threshold."""
        return bool(self.kwargs.get("keep_largest", False))

    def apply(self, segmentation: np.ndarray, min_voxels: int) -> np.ndarray:
        """The rule with a threshold."""
        return self.function(segmentation, min_voxels=min_voxels, **self.kwargs)

    def parts(self, segmentation: np.ndarray) -> np.ndarray:
        """Number, from 1, of the part of each voxel that goes as a whole: a component, or the region; 0 outside."""
        if self.function is remove_small_components:
            return label_components(segmentation, self.region.labels, self.kwargs["connectivity"])
        return self.region.mask(segmentation).astype(np.uint8)

    def removable_sizes(self, segmentation: np.ndarray) -> np.ndarray:
        """Sizes in voxels of the parts that a threshold can remove, ascending."""
        sizes = np.sort(np.bincount(self.parts(segmentation).ravel())[1:])
        return sizes[sizes < sizes[-1]] if self.keep_largest and len(sizes) else sizes


def rules_for(
    labels: DatasetLabels,
    connectivity: int,
    replacements: Mapping[str, int] | None = None,
    erase_largest: bool = False,
) -> list[Rule]:
    """Rules to try, in order: components of each region from the outermost inwards, then small regions.

    Removed voxels get a label of the smallest region around (tumour core: oedema; enhancing tumour: necrosis), or the
    background where there is none, so that no rule changes a region around its own.

    Args:
        labels: The data set's labels.
        connectivity: As in :func:`remove_small_components`.
        replacements: Region name -> label it gets where it is small; None takes the innermost regions and a label of
            the region around each, and no rule of this kind for plain labels. A mapping without entries gives none.
        erase_largest: Let rules for components remove the largest component of a region too.
    """
    regions = sorted(labels.regions, key=lambda region: -len(region.labels))
    around = {region.name: enclosing_label(region, labels) for region in regions}
    rules = [
        Rule(
            remove_small_components,
            region,
            {
                "region": region.labels,
                "replacement": around[region.name],
                "connectivity": connectivity,
                "keep_largest": not erase_largest,
            },
        )
        for region in regions
    ]
    if replacements is None:
        inner = [region for region in regions if not any(set(r.labels) < set(region.labels) for r in regions)]
        replacements = {region.name: around[region.name] for region in inner if around[region.name]}
    rules += [
        Rule(replace_small_region, region, {"region": region.labels, "replacement": replacements[region.name]})
        for region in regions
        if region.name in replacements
    ]
    return rules


def enclosing_label(region: Region, labels: DatasetLabels) -> int:
    """A label of the smallest region that holds this one and more; 0 where there is none."""
    own = set(region.labels)
    around = [set(other.labels) for other in labels.regions if own < set(other.labels)]
    return min(min(around, key=len) - own) if around else 0
