"""Roles of channels by name, over the spellings and orders in use."""

import pytest

from nnunet_ext.plans import modalities
from nnunet_ext.plans.modalities import (
    ModalityError,
    channel_index,
    channel_names,
    normalise,
    resolve_groups,
    resolve_master,
)

KNOWN = [["FLAIR", "T2"], ["T1ce", "T1"]]


@pytest.mark.parametrize(
    ("spelling", "modality"),
    [
        *[(name, "T1") for name in ("T1", "t1n", "T1w", "T1-n", "MR_T1", "3DT1", "MPRAGE")],
        *[(name, "T1ce") for name in ("T1ce", "T1c", "T1Gd", "t1gd", "T1_CE", "MR_T1c", "3DT1GADO", "GADO", "T1WKS")],
        *[(name, "T2") for name in ("T2", "T2w", "t2", "MR_T2", "t2_tse")],
        *[(name, "FLAIR") for name in ("FLAIR", "Flair", "T2f", "T2-FLAIR", "MR_Flair", "3D FLAIR")],
        *[(name, "PD") for name in ("PD", "DP", "PD-w")],
        *[(name, "DWI") for name in ("DWI", "MR_DWI", "hbv", "DWI_b1000")],
        *[(name, "ADC") for name in ("ADC", "adc", "MR_ADC")],
        *[(name, "CBF") for name in ("CBF", "MR_rCBF", "CT_CBF")],
        *[(name, "PET") for name in ("PET", "PT", "SUV")],
        ("T2*", "T2star"),
        ("Tmax", "Tmax"),
        ("CT", "CT"),
        ("Something-new", "somethingnew"),
        ("MR", "mr"),
    ],
)
def test_spellings(spelling, modality):
    assert normalise(spelling) == modality


def test_no_spelling_means_two_modalities():
    spellings = [spelling for of_one in modalities._SPELLINGS.values() for spelling in of_one]
    assert len(spellings) == len(set(spellings))
    assert sorted(modalities._SPELLINGS) == sorted(name for family in modalities._FAMILIES for name in family)


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["T1", "T1ce", "T2", "Flair"], [[3, 2], [1, 0]]),  # nnU-Net's BraTS21
        (["FLAIR", "T1w", "t1gd", "T2w"], [[0, 3], [2, 1]]),  # Medical Segmentation Decathlon, Task01
        (["t1n", "t1c", "t2w", "t2f"], [[3, 2], [1, 0]]),  # BraTS 2023
        (["T1Gd", "T2", "FLAIR"], [[2, 1], [0]]),
        (["T1", "T1ce", "FLAIR"], [[2], [1, 0]]),
        (["FLAIR", "T1ce"], [[0], [1]]),
        (["3DT1", "FLAIR"], [[1], [0]]),  # WMH
        (["T1w", "T1n", "T2"], [[2], [0, 1]]),  # two of one modality
    ],
)
def test_the_papers_modalities_are_grouped_by_name_in_any_order_and_number(names, groups):
    assert resolve_groups(names, None, KNOWN) == (groups, "")


@pytest.mark.parametrize(
    ("names", "groups", "others"),
    [
        (["T1", "T2", "FLAIR", "ADC"], [[2, 1, 3], [0]], "'ADC'"),
        (["MR_Flair", "MR_T1", "MR_T2", "MR_DWI"], [[0, 2, 3], [1]], "'MR_DWI'"),  # ISLES 2015
        (["mprage", "flair", "t2", "pd"], [[1, 2, 3], [0]], "'pd'"),  # multiple sclerosis, ISBI 2015
        (["adc", "dwi", "flair"], [[2], [1, 0]], "'dwi', 'adc'"),  # ISLES 2022
        (["T2w", "ADC", "HBV"], [[0], [2, 1]], "'HBV', 'ADC'"),  # prostate
        (["T2", "ADC"], [[0], [1]], "'ADC'"),  # Medical Segmentation Decathlon, Task05
        (["PET", "CT"], [[1], [0]], "'CT', 'PET'"),
        (["T1", "PET"], [[0], [1]], "'PET'"),
    ],
)
def test_other_known_modalities_are_grouped_by_kind_and_named(names, groups, others):
    found, why = resolve_groups(names, None, KNOWN)
    assert found == groups
    assert why == f"the method has no {others}, so channels were grouped by what is alike"


@pytest.mark.parametrize(
    ("names", "groups", "why"),
    [
        (["a", "b", "c"], [[0, 1], [2]], "no known modality: 'a', 'b', 'c'"),
        (["T1", "T2", "elasticity"], [[0, 1], [2]], "no known modality: 'elasticity'"),
        (["T2", "FLAIR"], [[0], [1]], "all of one kind: 'T2', 'FLAIR'"),
        (["T1", "T1ce", "T1w"], [[0, 1], [2]], "all of one kind: 'T1', 'T1ce', 'T1w'"),
    ],
)
def test_what_names_do_not_tell_is_split_evenly_and_says_so(names, groups, why):
    assert resolve_groups(names, None, KNOWN) == (groups, f"{why}, so channels were split evenly in order")


def test_setting_comes_first_and_may_spell_modalities_otherwise():
    groups = [["T1", "T2"], ["t1c"], ["T2-FLAIR"]]
    assert resolve_groups(["FLAIR", "T1w", "t1gd", "T2w"], groups, KNOWN) == ([[1, 3], [2], [0]], "")


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([["T1", "PD"], ["T2"]], "Channel 'PD' does not exist.*'T1', 'T1ce', 'T2', 'FLAIR'"),
        ([["T1", "T1ce", "T2", "FLAIR"], []], "Group 1 of modality_groups is empty"),
        ([["T1", "T2"], ["T2", "T1ce", "FLAIR"]], "'T2' more than once"),
        ([["T1", "T2"], ["T1ce"]], "leaves out 'FLAIR'"),
        ([["T1", "T2", "T1ce", "FLAIR"]], "at least two groups, got 1"),
    ],
)
def test_bad_groups_are_errors(groups, message):
    with pytest.raises(ModalityError, match=message):
        resolve_groups(["T1", "T1ce", "T2", "FLAIR"], groups, KNOWN)


def test_one_channel_is_an_error():
    with pytest.raises(ModalityError, match="at least two channels; the dataset has 'CT'"):
        resolve_groups(["CT"], None, KNOWN)


def test_ambiguous_name_is_an_error_and_the_exact_spelling_is_not():
    assert channel_index("T1w", ["T1w", "T1n"]) == 0
    with pytest.raises(ModalityError, match="'t1' is ambiguous"):
        channel_index("t1", ["T1w", "T1n"])
    assert channel_index("dwi", ["HBV", "DWI"]) == 1


def test_channel_names_are_in_numerical_order():
    names = {str(i): f"c{i}" for i in reversed(range(12))}
    assert channel_names({"channel_names": names}) == [f"c{i}" for i in range(12)]


@pytest.mark.parametrize(
    ("names", "requested", "master"),
    [
        (["T1", "T1Gd"], None, (1, False)),
        (["T1c", "T1Gd"], None, (0, False)),
        (["T2", "FLAIR"], None, (0, True)),
        (["T1", "T1Gd", "T2w"], "T2", (2, False)),
    ],
)
def test_master_is_the_setting_then_the_known_modality_then_the_first_channel(names, requested, master):
    assert resolve_master(names, requested, "T1ce") == master


def test_unknown_master_is_an_error():
    with pytest.raises(ModalityError, match="'FLAIR' does not exist"):
        resolve_master(["T1", "T2"], "FLAIR", "T1ce")
