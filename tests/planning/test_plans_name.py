"""Names of plans tell apart what was chosen, and are nothing but names."""

import re
from itertools import combinations

import pytest

from nnunet_ext.planning.plans_name import PLAIN_NAME, check_new_name, check_plain, plans_name
from nnunet_ext.plans.network_entry import PlansError
from nnunet_ext.trainers import TRAINERS

PAIRING = "ModalityPairingTrainer"
CHOICES = (
    {"values": {}},
    {"values": {"num_epochs": 5}},
    {"values": {"num_epochs": 6}},
    {"values": {"num_epochs": 5, "pairing_weight": 0}},
    {"values": {}, "plans": "nnUNetResEncUNetMPlans"},
    {"values": {"batch_size": 2}},
    {"values": {"batch_size": 2}, "configurations": ["2d"]},
    {"values": {}, "gpu_memory": 24.0},
    {"values": {}, "gpu_memory": 2.4},
    {"values": {}, "gpu_memory": 24.0, "paper": True},
    {"values": {"num_epochs": 5}, "gpu_memory": 24.0},
)


@pytest.mark.parametrize(("one", "other"), tuple(combinations(CHOICES, 2)))
def test_other_choices_have_another_name(one, other):
    assert plans_name(PAIRING, **one) != plans_name(PAIRING, **other)


@pytest.mark.parametrize("choices", CHOICES)
def test_every_name_can_be_one(choices):
    check_new_name(plans_name(PAIRING, **choices))


def test_names_can_be_read():
    assert plans_name(PAIRING, {}) == "nnUNetExtModalityPairingPlans"
    assert plans_name(PAIRING, {}, gpu_memory=24.0) == "nnUNetExtModalityPairingPlans_24G"
    assert plans_name(PAIRING, {}, gpu_memory=7.5, paper=True) == "nnUNetExtModalityPairingPaperPlans_7-5G"
    name = plans_name(PAIRING, {"num_epochs": 5}, gpu_memory=24.0)
    assert re.fullmatch("nnUNetExtModalityPairingPlans_24G_[0-9a-f]{8}", name)


def test_same_choices_have_one_name_in_any_order_and_always():
    one = plans_name(PAIRING, {"num_epochs": 5, "batch_size": 2}, configurations=["2d", "3d_fullres"])
    assert one == plans_name(PAIRING, {"batch_size": 2, "num_epochs": 5}, configurations=["3d_fullres", "2d"])
    # a new rule would make every workflow lose its models
    assert plans_name(PAIRING, {"num_epochs": 5}) == "nnUNetExtModalityPairingPlans_c2620d9a"


def test_no_two_trainers_share_a_name():
    assert len({plans_name(trainer.__name__, {}) for trainer in TRAINERS}) == len(TRAINERS)


@pytest.mark.parametrize("name", ["", "a__b", "_a", "a_", "-p", "a b", "a/b", "..", "a.b", "a\n", "ä", "a;b", "$(a)"])
def test_what_is_no_plain_name(name):
    with pytest.raises(PlansError, match="cannot be the name of plans"):
        check_plain(name)


@pytest.mark.parametrize(
    "name", ["nnUNetPlans", "NNUNETPLANS", "Base", "dataset", "dataset_fingerprint", "splits_final"]
)
def test_names_that_are_taken(name):
    with pytest.raises(PlansError, match="cannot be the name of the new plans"):
        check_new_name(name, "Base")


def test_plain_names_are_those_of_the_workflows_settings():
    from nnunet_ext.workflow.write import SHIPPED

    assert f'"^{PLAIN_NAME}$(?!\\\\n)"' in (SHIPPED / "config.schema.yaml").read_text()
