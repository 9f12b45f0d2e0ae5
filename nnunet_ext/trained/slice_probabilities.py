"""What the slice classifier of a trained model says of every slice of a case, and what its gate removes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from torch import Tensor

from nnunet_ext.architectures.slice_network import SliceNetwork
from nnunet_ext.host.prediction import LoadedModel
from nnunet_ext.labels.dataset_labels import Region, read_dataset_labels
from nnunet_ext.trained.tiles import mean_over_tiles


@dataclass(frozen=True)
class CaseSlices:
    """Slices of a case, along the axis of its image file that the classifier reads slice by slice.

    Attributes:
        regions: Names of the regions, or of the foreground labels.
        probability: That a slice holds a region, ``(regions, slices)``; nan where nnU-Net cropped the slice away.
        before: Voxels of the label map without the gate, of the same shape.
        after: Voxels with the gate.
    """

    regions: tuple[str, ...]
    probability: np.ndarray
    before: np.ndarray
    after: np.ndarray

    @property
    def emptied(self) -> np.ndarray:
        """Slices whose whole region the gate removed, ``(regions, slices)``."""
        return (self.before > 0) & (self.after == 0)

    def table(self, case: str) -> pd.DataFrame:
        """A row a slice and region; slices count from 0, as they lie in the image file.

        Args:
            case: Identifier of the case.
        """
        rows = [
            {
                "case": case,
                "region": region,
                "slice": index,
                "probability": self.probability[row, index],
                "voxels_without_gate": int(self.before[row, index]),
                "voxels": int(self.after[row, index]),
                "emptied": bool(self.emptied[row, index]),
            }
            for row, region in enumerate(self.regions)
            for index in range(self.probability.shape[1])
        ]
        return pd.DataFrame(rows)


def classified_regions(dataset_json: Path) -> list[Region]:
    """Regions or foreground labels in the order of the classifier's outputs, which is nnU-Net's."""
    labels = read_dataset_labels(dataset_json)
    return list(labels.regions) if labels.has_regions else sorted(labels.regions, key=lambda region: region.labels)


@torch.inference_mode()
def slices_of_case(
    model: LoadedModel, files: Sequence[Path], regions: Sequence[Region], device: torch.device
) -> CaseSlices:
    """Slices of a case, preprocessed, tiled and mirrored as in nnU-Net's prediction; folds are averaged.

    A slice has as many logits as tiles and folds see it. Its probability is the sigmoid of their mean, each tile with
    nnU-Net's Gaussian weight; the voxels are counted in the label maps that nnU-Net's export makes of the averaged
    logits behind the gate and before it.

    Args:
        model: With a slice classifier.
        files: One a channel, in the order of ``dataset.json``.
        regions: Of :func:`classified_regions`.
        device: Where the network runs.
    """
    data, properties = model.preprocess(*model.read_images(files))
    padded, unpad = pad_nd_image(data, model.patch_size, "constant", {"value": 0}, True)

    means: list[Tensor] = []
    for network in model.networks():
        assert isinstance(network, SliceNetwork)
        axis = network.slice_axis or 0  # in 2d slices lie along the first axis

        def all_logits(tile: Tensor, network: SliceNetwork = network) -> Tensor:
            return _mirrored_logits(network, tile[None].to(device), model.outer_mirror_axes)

        means.append(mean_over_tiles(all_logits, padded, model.patch_size))
    inside = (slice(None), *unpad[1:])
    mean = torch.stack(means).mean(0)[inside]
    n_classes = (len(mean) - len(regions)) // 2
    without_gate, gated, slice_logits = mean.split([n_classes, n_classes, len(regions)])

    plane = [1 + other for other in range(3) if other != axis]
    file_axis = model.plans["transpose_forward"][axis]
    return CaseSlices(
        regions=tuple(region.name for region in regions),
        probability=on_file_slices(torch.sigmoid(slice_logits.mean(plane)).numpy(), properties, axis),
        before=_voxels(model.labels(without_gate, properties), regions, file_axis),
        after=_voxels(model.labels(gated, properties), regions, file_axis),
    )


def on_file_slices(values: np.ndarray, properties: dict[str, Any], axis: int) -> np.ndarray:
    """Values of preprocessed slices, interpolated to the slices of the image file.

    Args:
        values: ``(regions, slices)``.
        properties: nnU-Net's, of the case.
        axis: Axis of the slices, after nnU-Net's transposition.

    Returns:
        ``(regions, slices of the file)``; nan where nnU-Net cropped the slice away.
    """
    first, last = properties["bbox_used_for_cropping"][axis]
    result = np.full((len(values), properties["shape_before_cropping"][axis]), np.nan)
    # centres of the file's slices on the scale of the resampled ones, whose whole extent is the same
    ratio = values.shape[1] / (last - first)
    centres = (np.arange(last - first) + 0.5) * ratio - 0.5
    for row, of_region in zip(result, values, strict=True):
        row[first:last] = np.interp(centres, np.arange(len(of_region)), of_region)
    return result


def _mirrored_logits(network: SliceNetwork, x: Tensor, axes: Sequence[int]) -> Tensor:
    """Logits before the gate, behind it, and slice logits spread over their slices, averaged over nnU-Net's mirroring.

    Today's models mirror inside the network, and nnU-Net does not.
    """
    passes = []
    for mirrored in [chosen for n in range(len(axes) + 1) for chosen in combinations(axes, n)]:
        spatial = [2 + axis for axis in mirrored]
        logits, slice_logits = network.logits_before_gate(x.flip(spatial))
        shape = [1] * (x.ndim - 2)
        if network.slice_axis is not None:
            shape[network.slice_axis] = -1
        spread = slice_logits.reshape(*slice_logits.shape[:2], *shape).expand(-1, -1, *x.shape[2:])
        passes.append(torch.cat([logits, network.gated(logits, slice_logits), spread], dim=1).flip(spatial)[0])
    return torch.stack(passes).mean(0)


def _voxels(label_map: np.ndarray, regions: Sequence[Region], axis: int) -> np.ndarray:
    plane = tuple(other for other in range(3) if other != axis)
    return np.stack([region.mask(label_map).sum(plane) for region in regions])
