"""Focal loss: values, masks, gradients, precision."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nnunet_ext.losses.focal import FocalLoss, binary_focal, softmax_focal


def reference_focal(p: np.ndarray, truth: np.ndarray, alpha: float, gamma: float) -> np.ndarray:
    """Independent, from probabilities of the positive answer."""
    p_true = np.where(truth, p, 1 - p)
    return -np.where(truth, alpha, 1 - alpha) * (1 - p_true) ** gamma * np.log(p_true)


def random_regions(seed=0, shape=(2, 3, 4, 5, 3)):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(shape, generator=generator, dtype=torch.float64), torch.rand(
        shape, generator=generator
    ) > 0.6


def random_labels(seed=0, classes=4):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, classes, 5, 6, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, classes, (2, 1, 5, 6), generator=generator)


@pytest.mark.parametrize("alpha", [0.25, 0.7])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_regions_agree_with_numpy(alpha, gamma):
    logits, target = random_regions()
    expected = reference_focal(1 / (1 + np.exp(-logits.numpy())), target.numpy(), alpha, gamma)
    np.testing.assert_allclose(binary_focal(logits, target, alpha, gamma).numpy(), expected, rtol=1e-10)
    loss = FocalLoss(regions=True, alpha=alpha, gamma=gamma)(logits, target)
    assert loss.item() == pytest.approx(expected.mean())


@pytest.mark.parametrize("alpha", [0.25, 0.7])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_labels_agree_with_numpy(alpha, gamma):
    logits, target = random_labels()
    exponentials = np.exp(logits.numpy())
    probabilities = exponentials / exponentials.sum(1, keepdims=True)
    labels = target[:, 0].numpy()
    p_true = np.take_along_axis(probabilities, target.numpy(), 1)[:, 0]
    weight = np.where(labels > 0, alpha, 1 - alpha)
    expected = -weight * (1 - p_true) ** gamma * np.log(p_true)
    np.testing.assert_allclose(softmax_focal(logits, target[:, 0], alpha, gamma).numpy(), expected, rtol=1e-10)


def test_hand_computed_value():
    # p_t = 0.5: 0.25 * 0.5² * ln 2 where positive, 0.75 * 0.5² * ln 2 where negative
    loss = FocalLoss(regions=True)(torch.zeros(1, 1, 2), torch.tensor([[[1, 0]]]))
    assert loss.item() == pytest.approx(0.5 * 0.25 * np.log(2))


def test_gamma_0_is_weighted_cross_entropy():
    logits, target = random_regions()
    weight = torch.where(target, 0.3, 0.7).double()
    expected = F.binary_cross_entropy_with_logits(logits, target.double(), weight)
    actual = FocalLoss(regions=True, alpha=0.3, gamma=0)(logits, target)
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=0)
    logits, target = random_labels()
    weights = torch.tensor([0.7, 0.3, 0.3, 0.3], dtype=torch.float64)
    expected = (F.cross_entropy(logits, target[:, 0], weights, reduction="none")).mean()
    torch.testing.assert_close(FocalLoss(regions=False, alpha=0.3, gamma=0)(logits, target), expected)


def test_two_classes_equal_one_region():
    logits, target = random_labels(classes=2)
    region = FocalLoss(regions=True)(logits[:, 1:] - logits[:, :1], target)
    torch.testing.assert_close(FocalLoss(regions=False)(logits, target), region)


def test_certain_answers_cost_nothing_if_right_and_their_logit_if_wrong():
    logits = torch.tensor([[[100.0, -100.0]]])
    right, wrong = torch.tensor([[[1, 0]]]), torch.tensor([[[0, 1]]])
    assert FocalLoss(regions=True)(logits, right).item() == 0
    assert FocalLoss(regions=True)(logits, wrong).item() == pytest.approx(100 * (0.25 + 0.75) / 2)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("regions", [True, False])
def test_extreme_half_precision_logits_under_autocast_are_finite(regions, gamma):
    logits = torch.tensor([100.0, -100.0, 0.0, 100.0], dtype=torch.float16).view(1, 2, 2).repeat(1, 1, 2)
    logits.requires_grad_()
    target = torch.tensor([1, 0, 0, 1]).view(1, 1, 4).expand(1, 2 if regions else 1, 4)
    with torch.autocast("cpu", dtype=torch.float16):
        loss = FocalLoss(regions, gamma=gamma)(logits, target)
    loss.backward()
    assert loss.isfinite()
    assert loss.dtype == torch.float32
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("regions", [True, False])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_gradient_matches_finite_differences(regions, gamma):
    logits, target = random_regions(shape=(1, 2, 3, 2)) if regions else random_labels()
    assert torch.autograd.gradcheck(FocalLoss(regions, gamma=gamma), (logits.requires_grad_(), target))


@pytest.mark.parametrize("dtype", [torch.bool, torch.int16, torch.float32])
def test_ignored_voxels_of_regions_do_not_count(dtype):
    logits, target = random_regions()
    target = torch.cat([target, target[:, :1].roll(1, -1)], 1)
    counted = ~target[:, -1:].expand_as(logits)
    each = binary_focal(logits, target[:, :-1], 0.25, 2)
    loss = FocalLoss(regions=True, ignore_label=9)(logits, target.to(dtype))
    torch.testing.assert_close(loss, each[counted].mean())


def test_ignored_voxels_of_labels_do_not_count():
    logits, target = random_labels()
    target[:, :, 2:] = 9
    expected = FocalLoss(regions=False)(logits[:, :, :2], target[:, :, :2])
    torch.testing.assert_close(FocalLoss(regions=False, ignore_label=9)(logits, target), expected)


def test_patch_of_ignored_voxels_alone_costs_nothing():
    logits, target = random_labels()
    logits.requires_grad_()
    loss = FocalLoss(regions=False, ignore_label=9)(logits, torch.full_like(target, 9))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


@pytest.mark.parametrize(("alpha", "gamma", "name"), [(-0.1, 2, "alpha"), (1.1, 2, "alpha"), (0.5, -1, "gamma")])
def test_settings_out_of_range_raise(alpha, gamma, name):
    with pytest.raises(ValueError, match=name):
        FocalLoss(regions=True, alpha=alpha, gamma=gamma)
