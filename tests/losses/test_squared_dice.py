"""Soft Dice with squared denominators: values, masks, precision."""

import numpy as np
import pytest
import torch

from nnunet_ext.losses.squared_dice import EPSILON, SquaredDiceLoss, squared_dice

CERTAIN = 50.0  # a logit whose sigmoid is 1 in float32


def reference_dice(p: np.ndarray, g: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Independent loop over samples, classes and voxels."""
    result = np.zeros(p.shape[:2])
    for b, c in np.ndindex(*result.shape):
        keep = counts[b, 0].ravel()
        pairs = [(x, y) for x, y, k in zip(p[b, c].ravel(), g[b, c].ravel(), keep, strict=True) if k]
        above = sum(2 * x * y for x, y in pairs)
        result[b, c] = above / (sum(x**2 for x, _ in pairs) + sum(y**2 for _, y in pairs) + EPSILON)
    return result


@pytest.mark.parametrize("spatial", [(4, 5), (3, 4, 5)])
@pytest.mark.parametrize("masked", [False, True])
def test_agrees_with_numpy_in_2d_and_3d(spatial, masked):
    generator = torch.Generator().manual_seed(1)
    p = torch.rand(2, 3, *spatial, generator=generator, dtype=torch.float64)
    g = torch.rand(2, 3, *spatial, generator=generator) > 0.6
    counts = torch.rand(2, 1, *spatial, generator=generator) > 0.3
    expected = reference_dice(p.numpy(), g.numpy().astype(float), (counts if masked else counts | True).numpy())
    np.testing.assert_allclose(squared_dice(p, g, counts if masked else None).numpy(), expected, rtol=1e-12)


def test_hand_computed_value():
    # 2 * (0.5 * 1 + 1 * 1) / (0.5² + 1² + 0.5² + 1 + 1 + ε) = 3 / 3.5
    p = torch.tensor([[[0.5, 1.0, 0.5]]])  # shape: (1, 1, 3)
    g = torch.tensor([[[1, 1, 0]]])
    torch.testing.assert_close(squared_dice(p, g), torch.tensor([[3 / (3.5 + EPSILON)]]))


def test_ideal_regions_cost_nothing_and_opposite_ones_one_each():
    target = torch.tensor([[[[1, 0], [1, 1]], [[0, 0], [0, 1]]]])  # shape: (1, 2, 2, 2)
    logits = CERTAIN * (2.0 * target - 1)
    assert SquaredDiceLoss(regions=True)(logits, target).item() == pytest.approx(0, abs=2e-5)
    assert SquaredDiceLoss(regions=True)(-logits, target).item() == pytest.approx(2)


def test_sum_mean_and_none_are_reductions_of_the_same_values():
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(3, 4, 6, 6, generator=generator)
    target = torch.rand(3, 4, 6, 6, generator=generator) > 0.5
    each = SquaredDiceLoss(regions=True, reduction="none")(logits, target)
    assert each.shape == (3, 4)
    torch.testing.assert_close(SquaredDiceLoss(regions=True, reduction="sum")(logits, target), each.sum(1).mean())
    torch.testing.assert_close(SquaredDiceLoss(regions=True, reduction="mean")(logits, target), each.mean())


def test_softmax_labels_leave_the_background_out():
    target = torch.tensor([[[[0, 1], [2, 2]]]])  # shape: (1, 1, 2, 2)
    logits = CERTAIN * torch.nn.functional.one_hot(target[:, 0], 3).movedim(-1, 1).float()
    each = SquaredDiceLoss(regions=False, reduction="none")(logits, target)
    torch.testing.assert_close(each, torch.zeros(1, 2), atol=2e-5, rtol=0)
    shuffled = SquaredDiceLoss(regions=False, reduction="none")(logits[:, [0, 2, 1]], target)
    torch.testing.assert_close(shuffled, torch.ones(1, 2))


def test_absent_region_costs_one_and_gives_no_gradient():
    logits = torch.randn(1, 1, 4, 4, requires_grad=True)
    loss = SquaredDiceLoss(regions=True)(logits, torch.zeros(1, 1, 4, 4))
    loss.backward()
    assert loss.item() == 1
    assert not logits.grad.any()


@pytest.mark.parametrize("dtype", [torch.bool, torch.int16, torch.float32])
def test_ignored_voxels_of_regions_change_nothing(dtype):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(1, 2, 4, 4, generator=generator, requires_grad=True)
    target = torch.rand(1, 3, 4, 4, generator=generator) > 0.5  # the last channel is the ignored area
    loss = SquaredDiceLoss(regions=True, ignore_label=4)(logits, target.to(dtype))
    loss.backward()
    ignored = target[:, -1:].expand_as(logits)
    assert not logits.grad[ignored].any()
    assert logits.grad[~ignored].all()
    changed = target.clone()
    changed[:, :2][ignored] = ~changed[:, :2][ignored]
    torch.testing.assert_close(SquaredDiceLoss(regions=True, ignore_label=4)(logits, changed), loss)


def test_ignored_voxels_of_labels_change_nothing():
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(1, 3, 4, 4, generator=generator, requires_grad=True)
    target = torch.randint(0, 4, (1, 1, 4, 4), generator=generator)  # 3 is the ignore label
    SquaredDiceLoss(regions=False, ignore_label=3)(logits, target).backward()
    ignored = (target == 3).expand_as(logits)
    assert not logits.grad[ignored].any()
    assert logits.grad[~ignored].all()


@pytest.mark.parametrize("regions", [True, False])
def test_gradient_matches_finite_differences(regions):
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(2, 3, 3, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    target = torch.rand(logits.shape, generator=generator) > 0.5 if regions else torch.randint(0, 3, (2, 1, 3, 2))
    assert torch.autograd.gradcheck(SquaredDiceLoss(regions), (logits, target))


def test_half_precision_sums_of_a_large_patch_stay_finite():
    # 2^18 voxels: their sum does not fit into float16.
    logits = torch.full((1, 1, 512, 512), 20.0, dtype=torch.float16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = SquaredDiceLoss(regions=True)(logits, torch.ones(1, 1, 512, 512, dtype=torch.bool))
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(0, abs=1e-4)
    assert logits.grad.isfinite().all()


def test_unknown_reduction_raises():
    with pytest.raises(ValueError, match="'sum', 'mean' or 'none'"):
        SquaredDiceLoss(regions=True, reduction="max")
