"""nnU-Net's view of plans."""

import json

import numpy as np
import pytest
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from nnunet_ext.host.plans import (
    ConfigurationManager,
    PlansManager,
    input_channels,
    labels_of,
    make_json_ready,
    resolved,
)
from nnunet_ext.testing import Case

CASCADE = Case(cascade=True)


def test_configuration_has_what_it_inherits():
    plans = CASCADE.plans
    configuration = resolved(plans, "3d_cascade_fullres")
    assert configuration["patch_size"] == [16, 16, 16]
    assert configuration["previous_stage"] == "3d_lowres"
    assert plans == CASCADE.plans


def test_labels():
    case = Case(regions=True, ignore=True)
    labels = labels_of(case.plans, case.dataset_json)
    assert labels.has_regions
    assert labels.ignore_label == 4
    assert len(labels.foreground_regions) == labels.num_segmentation_heads == 3


def test_channels_of_a_cascade_are_those_of_the_image_and_of_each_label():
    manager = PlansManager(CASCADE.plans)
    configuration = manager.get_configuration("3d_cascade_fullres")
    assert input_channels(manager, configuration, CASCADE.dataset_json) == 4 + 3


def test_numpy_numbers_become_those_of_json():
    plans = {"patch_size": np.array([1, 2]), "nested": {"spacing": [np.float32(0.5)], "batch": np.int64(3)}}
    make_json_ready(plans)
    assert json.loads(json.dumps(plans)) == {"patch_size": [1, 2], "nested": {"spacing": [0.5], "batch": 3}}


@pytest.mark.parametrize("name", ["plans", "available_configurations", "get_configuration", "get_label_manager"])
def test_plans_manager_has(name):
    assert hasattr(PlansManager(Case().plans), name), name


@pytest.mark.parametrize("name", ["image_reader_writer_class", "transpose_forward"])
def test_plans_manager_class_has(name):
    assert hasattr(PlansManager, name), name


@pytest.mark.parametrize(
    "name",
    [
        "batch_size",
        "data_identifier",
        "network_arch_class_name",
        "network_arch_init_kwargs",
        "patch_size",
        "preprocessor_class",
        "previous_stage_name",
        "spacing",
        "use_mask_for_norm",
    ],
)
def test_configuration_manager_has(name):
    assert hasattr(ConfigurationManager, name), name


@pytest.mark.parametrize(
    "name",
    [
        "all_labels",
        "convert_logits_to_segmentation",
        "foreground_labels",
        "foreground_regions",
        "has_regions",
        "ignore_label",
        "num_segmentation_heads",
    ],
)
def test_label_manager_has(name):
    assert hasattr(LabelManager, name), name
