"""Learning rates at known epochs."""

import pytest
import torch

from nnunet_ext.trainers.schedules import (
    EpochScheduler,
    cosine,
    halving,
    poly,
    with_warmup,
)


def test_poly_is_nnunets():
    from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.01)
    host = PolyLRScheduler(optimizer, 0.01, 1000)
    for epoch in (0, 1, 500, 999):
        host.step(epoch)
        assert poly(epoch, 0.01, 1000) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)


def test_cosine_falls_from_the_initial_rate_over_its_half_to_zero():
    rates = [cosine(epoch, 0.2, 8) for epoch in (0, 2, 4, 8)]
    assert rates == pytest.approx([0.2, 0.1 * (1 + 0.5**0.5), 0.1, 0])


def test_warmup_rises_linearly_to_the_initial_rate():
    rates = [with_warmup(epoch, 0.01, 4, learning_rate=0.5) for epoch in range(6)]
    assert rates == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.5, 0.5])


def test_no_warmup_leaves_the_schedule_alone():
    assert with_warmup(0, 0.01, 0, learning_rate=0.5) == 0.5


@pytest.mark.parametrize(("epoch", "rate"), [(0, 0.8), (2, 0.8), (3, 0.4), (5, 0.4), (6, 0.2), (9, 0.1)])
def test_halving_is_constant_between_its_steps(epoch, rate):
    assert halving(epoch, 0.8, 3) == pytest.approx(rate)


def test_scheduler_sets_every_group_to_the_rate_of_the_epoch():
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": [p]} for p in parameters], 1.0)
    scheduler = EpochScheduler(optimizer, lambda epoch: 1 / (epoch + 1))
    assert [group["lr"] for group in optimizer.param_groups] == [1, 1]
    scheduler.step(4)
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.2]
