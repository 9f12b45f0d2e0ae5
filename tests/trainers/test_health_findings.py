"""Which regions a log says do not learn, and when that is noticed."""

import math

import pytest

from nnunet_ext.trainers.health import CALLED, REFERENCE, REGION_GRADIENT, SATURATED
from nnunet_ext.trainers.health_findings import PATIENCE, findings, region_names

HEALTHY = {CALLED: 0.02, REFERENCE: 0.01, SATURATED: 0.9, REGION_GRADIENT: 1e-3}
FAULTS = {
    "gets no gradient (100 % of its probabilities are saturated; 2 % of the voxels are called so, 1 % are)": {
        REGION_GRADIENT: 0.0,
        SATURATED: 1.0,
    },
    "is found nearly everywhere (98 % of the voxels are called so, 1 % are)": {CALLED: 0.98},
    "is found nearly nowhere (0.009 % of the voxels are called so, 1 % are)": {CALLED: 0.00009},
}


def log_of(*regions):
    """Curves of regions, each a list of what is not healthy in an epoch."""
    epochs = [[HEALTHY | of_region[epoch] for of_region in regions] for epoch in range(len(regions[0]))]
    return {name: [[region[name] for region in epoch] for epoch in epochs] for name in HEALTHY}


@pytest.mark.parametrize("what", FAULTS)
def test_fault_that_lasts_is_noticed_once_and_with_its_first_epoch(what):
    fault = FAULTS[what]
    log = log_of([{}] * 20, [{}, {}, *[fault] * PATIENCE, {}, {}, *[fault] * (11 - PATIENCE), {}, {}, {}, {}, {}])
    (finding,) = findings(log, ["whole", "core"])
    assert finding == ("core", 2, 2 + PATIENCE - 1, what)
    assert finding.text == f"Region 'core' {what}, since epoch 2."


@pytest.mark.parametrize("what", FAULTS)
def test_shorter_faults_are_not_named(what):
    fault = FAULTS[what]
    assert findings(log_of([*[fault] * (PATIENCE - 1), {}, *[fault] * (PATIENCE - 1)]), ["whole"]) == []


def test_region_that_is_not_there_or_large_is_no_finding():
    absent = {CALLED: 0.0, REFERENCE: 0.0, REGION_GRADIENT: math.nan}
    large = {CALLED: 0.97, REFERENCE: 0.95}
    unknown = dict.fromkeys(HEALTHY, math.nan)
    assert findings(log_of([absent] * 9, [large] * 9, [unknown] * 9), ["a", "b", "c"]) == []


def test_log_without_health_has_no_findings():
    assert findings({"train_losses": [1.0]}, ["whole"]) == []


def test_advice_is_a_tenth_of_the_learning_rate():
    (finding,) = findings(log_of([FAULTS[next(iter(FAULTS))]] * PATIENCE), ["whole"])
    assert "initial_lr, for example 0.0001 (nnunet_ext plan)" in finding.advice(1e-3)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ({"background": 0, "b": 2, "a": 1, "ignore": 3}, ["a", "b"]),
        ({"background": 0, "whole": [1, 2], "core": [1], "ignore": 3}, ["whole", "core"]),
        ({"background": [0], "whole": [2, 1], "core": 1}, ["whole", "core"]),
    ],
)
def test_names_are_in_the_order_of_the_outputs(labels, names):
    assert region_names({"labels": labels}) == names
