"""Shapley values against hand computation, their defining properties, and the estimate from orders."""

from itertools import permutations

import numpy as np
import pytest

from nnunet_ext.missing_modalities.shapley import (
    all_subsets,
    estimated_shapley_values,
    sample_orders,
    shapley_values,
    subsets_of_orders,
)


def random_scores(n_channels, shape=(2, 3)):
    generator = np.random.default_rng(0)
    return {subset: generator.random(shape) for subset in [(), *all_subsets(n_channels)]}


def test_subsets_come_by_size_and_channel_order():
    assert all_subsets(3) == [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]


def test_two_modalities_by_hand():
    scores = {(): np.array(0.1), (0,): np.array(0.5), (1,): np.array(0.3), (0, 1): np.array(0.9)}
    # modality 0: half of (.5 - .1) and half of (.9 - .3) = .5; modality 1: half of .2 and half of .4 = .3
    np.testing.assert_allclose(shapley_values(scores, 2), [0.5, 0.3])


def test_exact_values_are_the_mean_over_all_orders():
    scores = random_scores(4)
    orders = list(permutations(range(4)))
    np.testing.assert_allclose(shapley_values(scores, 4), estimated_shapley_values(scores, orders), atol=1e-12)


def test_values_share_out_what_all_modalities_add():
    scores = random_scores(4)
    np.testing.assert_allclose(shapley_values(scores, 4).sum(0), scores[0, 1, 2, 3] - scores[()], atol=1e-12)


def test_modality_that_adds_nothing_is_worth_nothing():
    scores = {subset: np.float64(0 in subset) + 0.5 * (2 in subset) for subset in [(), *all_subsets(3)]}
    np.testing.assert_allclose(shapley_values(scores, 3), [1, 0, 0.5], atol=1e-12)


def test_estimate_needs_only_the_subsets_that_its_orders_pass_through():
    orders = [(2, 0, 1), (1, 2, 0)]
    subsets = subsets_of_orders(orders)
    assert subsets == [(1,), (2,), (0, 2), (1, 2), (0, 1, 2)]
    scores = {subset: np.float64(len(subset) ** 2) for subset in [(), *subsets]}
    # channel 0 comes second and third: (4 - 1) and (9 - 4), mean 4; 1: third and first, 5 and 1; 2: first and second
    np.testing.assert_allclose(estimated_shapley_values(scores, orders), [4, 3, 2])


def test_sampled_orders_are_permutations_and_the_same_each_time():
    orders = sample_orders(8, 5)
    assert orders == sample_orders(8, 5)
    assert all(sorted(order) == list(range(8)) for order in orders)
    assert len(set(orders)) == 5


def test_estimate_approaches_the_exact_values():
    scores = random_scores(4, ())
    estimate = estimated_shapley_values(scores, sample_orders(4, 4000))
    assert estimate == pytest.approx(shapley_values(scores, 4), abs=0.02)
