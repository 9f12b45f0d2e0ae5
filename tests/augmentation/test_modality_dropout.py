"""The draw of modality dropout, by its distribution, and what it does to a batch."""

from collections import Counter

import pytest
import torch

from nnunet_ext.augmentation.modality_dropout import draw_present, keep_present, uniform_probability


def drawn(n_channels, required, probability, n_samples=40_000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    present = draw_present(n_samples, n_channels, required, probability, generator)
    return Counter(tuple(row) for row in present.int().tolist())


def test_proper_subsets_are_equally_likely_and_together_have_the_probability():
    counts = drawn(3, [], 0.6)
    assert len(counts) == 7  # 2**3 - 1: never the empty set
    assert counts.pop((1, 1, 1)) == pytest.approx(0.4 * 40_000, rel=0.03)
    # six proper subsets, 0.6 / 6 = 0.1 each
    assert all(count == pytest.approx(0.1 * 40_000, rel=0.06) for count in counts.values())


def test_uniform_probability_makes_all_sets_equally_likely():
    assert uniform_probability(4) == pytest.approx(14 / 15)
    assert uniform_probability(3, n_required=1) == pytest.approx(3 / 4)  # {r}, {r, a}, {r, b} of four sets
    counts = drawn(4, [], uniform_probability(4))
    assert len(counts) == 15
    assert all(count == pytest.approx(40_000 / 15, rel=0.08) for count in counts.values())


def test_required_channel_stays_and_the_others_may_all_go():
    counts = drawn(3, [1], 1.0)
    assert set(counts) == {(0, 1, 0), (1, 1, 0), (0, 1, 1)}
    assert all(count == pytest.approx(40_000 / 3, rel=0.04) for count in counts.values())


@pytest.mark.parametrize(("n_channels", "required"), [(1, []), (2, [0, 1])])
def test_nothing_is_dropped_where_nothing_can_be(n_channels, required):
    assert set(drawn(n_channels, required, 1.0, 100)) == {(1,) * n_channels}
    assert uniform_probability(n_channels, len(required)) == 0


def test_probability_of_zero_keeps_everything():
    assert set(drawn(4, [], 0.0, 1000)) == {(1, 1, 1, 1)}


def test_each_sample_has_a_draw_of_its_own():
    assert len(drawn(4, [], 1.0, 16)) > 4


def test_dropped_channels_are_zero_even_where_they_were_not_finite():
    images = torch.arange(1.0, 17).view(2, 4, 2).clone()
    images[0, 1, 0] = torch.inf
    present = torch.tensor([[True, False], [False, True]])
    kept = keep_present(images, present)
    # channels 2 and 3 are a cascade's and stay
    assert kept.tolist() == [
        [[1, 2], [0, 0], [5, 6], [7, 8]],
        [[0, 0], [11, 12], [13, 14], [15, 16]],
    ]
