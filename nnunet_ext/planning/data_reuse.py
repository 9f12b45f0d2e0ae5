"""Find preprocessed data that new plans can share: same spacing, normalization and resampling."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_ext.planning.dataset_folder import all_plans
from nnunet_ext.planning.plans_name import DEFAULT_PLANS
from nnunet_ext.plans.network_entry import resolved_configuration

# What nnU-Net's preprocessing reads from plans, beside the spacing
OF_CONFIGURATION = (
    "preprocessor_name",
    "normalization_schemes",
    "use_mask_for_norm",
    "resampling_fn_data",
    "resampling_fn_data_kwargs",
    "resampling_fn_seg",
    "resampling_fn_seg_kwargs",
)
OF_PLANS = ("transpose_forward", "image_reader_writer", "foreground_intensity_properties_per_channel")


@dataclass(frozen=True)
class DataSource:
    """Where a configuration's preprocessed data comes from.

    Attributes:
        configuration: Configuration of the new plans.
        data_identifier: Folder of the data, in the dataset's folder of nnUNet_preprocessed.
        plans: Plans that preprocess it: others whose data is shared, or the new ones.
        source: Configuration of those plans.
        preprocessed: Whether the folder exists.
    """

    configuration: str
    data_identifier: str
    plans: str
    source: str
    preprocessed: bool


def share_data(plans: dict[str, Any], folder: Path) -> list[DataSource]:
    """Point the configurations of new plans to preprocessed data of other plans where these would make the same.

    Args:
        plans: New plans; the data identifiers of those configurations are changed.
        folder: Folder of the dataset in nnUNet_preprocessed.

    Returns:
        A source for each configuration that has data of its own; those that inherit share their parent's.
    """
    others = [content for name, content in all_plans(folder).items() if name != plans["plans_name"]]
    # nnU-Net's default plans first, then by name
    known = sorted(others, key=lambda other: other["plans_name"] != DEFAULT_PLANS)
    sources = []
    for name, entry in plans["configurations"].items():
        if "inherits_from" in entry:
            continue
        found = [
            DataSource(
                name, identifier, plans=other["plans_name"], source=source, preprocessed=(folder / identifier).is_dir()
            )
            for other in known
            for source in other["configurations"]
            if makes_same_data(plans, name, other, source)
            for identifier in [resolved_configuration(other, source)["data_identifier"]]
        ]
        own = DataSource(name, entry["data_identifier"], plans=plans["plans_name"], source=name, preprocessed=False)
        # data that is there is better than data that another name would have
        chosen = min(found, key=lambda source: not source.preprocessed, default=own)
        entry["data_identifier"] = chosen.data_identifier
        sources.append(chosen)
    return sources


def makes_same_data(plans: Mapping[str, Any], name: str, other: Mapping[str, Any], source: str) -> bool:
    """Whether preprocessing a dataset gives the same for a configuration of some plans and one of others."""
    a, b = resolved_configuration(dict(plans), name), resolved_configuration(dict(other), source)
    return (
        len(a["spacing"]) == len(b["spacing"])
        and np.allclose(a["spacing"], b["spacing"], rtol=1e-6, atol=0)
        and all(a.get(key) == b.get(key) for key in OF_CONFIGURATION)
        and all(plans.get(key) == other.get(key) for key in OF_PLANS)
    )
