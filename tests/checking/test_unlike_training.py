"""Cases that do not look like the training data, by value."""

import numpy as np
import pytest

from nnunet_ext.checking.unlike_training import TrainingData, better_order, read_fingerprint, unlike_training
from nnunet_ext.images.case_check import CaseCheck
from nnunet_ext.images.grid import Grid
from nnunet_ext.images.intensities import intensity_range, intensity_shape

NAMES = ("T1", "T2", "FLAIR")
PEAKS = (0.2, 1.0, 5.0)  # shape parameters of the distributions of three channels


def shapes(seed, order=(0, 1, 2), scale=1.0):
    rng = np.random.default_rng(seed)
    images = [scale * rng.gamma(peak, 100, 2000) + 1 for peak in PEAKS]
    return {channel: intensity_shape(images[source]) for channel, source in enumerate(order)}


def training(**changes):
    profiles = {f"t{seed}": np.stack(list(shapes(seed).values())) for seed in range(4)}
    ranges = [(100.0, 200.0), (300.0, 400.0), (1000.0, 2000.0)]
    known = {"spacings": np.array([[3.0, 1, 1], [5, 1, 0.8]]), "ranges": ranges, "shapes": profiles}
    return TrainingData(NAMES, **{**known, **changes})


def kinds(check, known=None):
    return [each.kind for each in unlike_training("new", check, known or training())]


def test_shape_does_not_depend_on_scale_offset_and_background():
    image = np.random.default_rng(0).gamma(2, 100, 500) + 1
    padded = np.concatenate([np.zeros(300), image])
    np.testing.assert_allclose(intensity_shape(7 * padded), intensity_shape(image))
    assert intensity_range(padded) == pytest.approx(tuple(np.percentile(image, [0.5, 99.5])))


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (0, 2, 1), (1, 2, 0)])
def test_swapped_channels_are_found_and_named_whatever_their_scale(order):
    found = better_order(shapes(9, order, scale=30), np.stack(list(training().shapes.values())))
    assert found.looks_like == dict(enumerate(order))
    assert found.factor > 1.1
    message = unlike_training("new", CaseCheck(shapes=shapes(9, order)), training())[0].message
    first = next(channel for channel in range(3) if order[channel] != channel)
    assert f"swapped: {first:04d} ({NAMES[first]}) looks like {NAMES[order[first]]}" in message


def test_right_order_and_channels_that_look_alike_are_not_suspected():
    profiles = np.stack(list(training().shapes.values()))
    assert better_order(shapes(9), profiles) is None
    alike = {channel: shapes(9)[1] for channel in range(3)}
    assert better_order(alike, np.repeat(profiles[:, 1:2], 3, axis=1)) is None


def test_missing_channel_takes_no_part():
    profiles = np.stack(list(training().shapes.values()))
    two = {0: shapes(9)[0], 2: shapes(9)[2]}
    assert better_order(two, profiles) is None
    assert better_order({0: two[2], 2: two[0]}, profiles).looks_like == {0: 2, 2: 0}
    assert better_order({2: two[0]}, profiles) is None


def test_case_is_not_compared_with_itself_nor_with_fewer_than_three():
    swapped = shapes(9, (1, 0, 2))
    known = {"new": np.stack(list(swapped.values())), **dict(list(training().shapes.items())[:2])}
    assert kinds(CaseCheck(shapes=swapped), training(shapes=known)) == []
    known["third"] = training().shapes["t3"]
    assert kinds(CaseCheck(shapes=swapped), training(shapes=known)) == ["swapped channels"]


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [((4, 1, 1), []), ((7.4, 1, 1), []), ((7.6, 1, 1), ["spacing"]), ((3, 1, 0.5), ["spacing"]), ((1, 1), [])],
)
def test_spacing_may_lie_half_as_much_again_outside_that_of_the_training_data(spacing, expected):
    grid = Grid((9,) * len(spacing), tuple(map(float, spacing)), None)
    assert kinds(CaseCheck(grid=grid)) == expected


def test_values_outside_the_foregrounds_range_name_the_channel_that_they_fit():
    ranges = {0: (0.0, 150.0), 1: (900.0, 1500.0), 2: (250.0, 500.0)}
    found = unlike_training("new", CaseCheck(ranges=ranges), training())
    assert [each.kind for each in found] == ["intensities"] * 2
    assert "0001 (T2) has values of 900 to 1500, far from 300 to 400" in found[0].message
    assert found[0].message.endswith("Swapped with FLAIR?")
    found = unlike_training("new", CaseCheck(ranges={0: (0.0, 1.0)}), training())
    assert not found[0].message.endswith("?")


def test_nothing_known_nothing_found():
    check = CaseCheck(grid=Grid((9, 9, 9), (9.0, 9, 9), None), ranges={0: (5.0, 6.0)}, shapes=shapes(9, (1, 0, 2)))
    assert kinds(check, training(spacings=None, ranges=None, shapes={})) == []


def test_fingerprint_is_read_in_the_order_of_the_channels():
    properties = {str(c): {"percentile_00_5": c, "percentile_99_5": c + 0.5} for c in (10, 2, 0)}
    content = {"spacings": [[1, 2, 3]], "foreground_intensity_properties_per_channel": properties}
    spacings, ranges = read_fingerprint(content)
    assert (spacings.tolist(), ranges) == ([[1, 2, 3]], [(0, 0.5), (2, 2.5), (10, 10.5)])


@pytest.mark.parametrize("spacings", [None, 5, [1.0, 1.0, 1.0]])
def test_fingerprint_whose_spacings_are_none_is_refused(spacings):
    with pytest.raises(ValueError, match="spacings"):
        read_fingerprint({"foreground_intensity_properties_per_channel": {}, "spacings": spacings})
