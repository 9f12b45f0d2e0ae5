"""The pairing loss against SciPy, at its known values, and at the ends of number formats."""

import pytest
import torch
from scipy.stats import pearsonr

from nnunet_ext.losses import ModalityPairingLoss, pearson_correlation
from nnunet_ext.losses import modality_pairing as module


def pair(*shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(*shape, generator=generator, dtype=torch.float64)
    b = 0.4 * a + torch.randn(*shape, generator=generator, dtype=torch.float64)
    return a.to(dtype), b.to(dtype)


@pytest.mark.parametrize("shape", [(3, 4, 6, 5), (2, 3, 4, 5, 6)])
def test_equals_scipy_averaged_over_the_batch(shape):
    a, b = pair(*shape)
    expected = [pearsonr(x.double().flatten(), y.double().flatten()).statistic for x, y in zip(a, b, strict=True)]
    assert pearson_correlation(a, b).tolist() == pytest.approx(expected, abs=1e-6)
    assert ModalityPairingLoss()(a, b).item() == pytest.approx(-sum(expected) / len(expected), abs=1e-6)


def test_hand_computed_value():
    # a = 1 2 3, b = 1 3 2: centred -1 0 1 and -1 1 0; product 1, squares 2 and 2: r = 1 / sqrt(2 * 2) = 0.5
    a, b = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 3, 1), torch.tensor([1.0, 3.0, 2.0]).view(1, 1, 3, 1)
    assert ModalityPairingLoss()(a, b).item() == pytest.approx(-0.5)


def test_is_minus_one_for_equal_and_plus_one_for_opposite_features():
    a, _ = pair(2, 3, 4, 4)
    assert ModalityPairingLoss()(a, a).item() == pytest.approx(-1, abs=1e-6)
    assert ModalityPairingLoss()(a, -a).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("scale", "offset"), [(3.0, 0.0), (1e-4, 5.0), (1e4, -1e4), (1.0, 300.0)])
def test_is_invariant_to_affine_maps_of_either_input(scale, offset):
    a, b = pair(2, 3, 8, 8)
    expected = ModalityPairingLoss()(a, b).item()
    tolerance = 2e-3 if scale == 1e-4 else 1e-4  # 1e-4 beside 5 leaves three digits in float32
    assert ModalityPairingLoss()(scale * a + offset, b).item() == pytest.approx(expected, abs=tolerance)
    assert ModalityPairingLoss()(a, scale * b + offset).item() == pytest.approx(expected, abs=tolerance)


def formula(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Eq. 4 as printed, in float64."""
    a, b = (x.double().flatten(1) - x.double().flatten(1).mean(1, keepdim=True) for x in (a, b))
    return -(a * b).sum(1) / (a.square().sum(1) * b.square().sum(1)).sqrt()


@pytest.mark.parametrize("scale_a", [1e-30, 1e-12, 1.0, 1e18, 1e25, 3e37])
@pytest.mark.parametrize("scale_b", [1.0, 1e-20, 2e37])
def test_value_and_both_gradients_are_the_formulas_over_the_range_of_float32(scale_a, scale_b):
    a, b = pair(3, 2, 5, 6)
    a, b = (scale_a * (a + 0.5)).requires_grad_(), (scale_b * (b - 1)).requires_grad_()
    loss = ModalityPairingLoss()(a, b)
    loss.backward()
    exact = [x.detach().double().requires_grad_() for x in (a, b)]
    expected = formula(*exact).mean()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for x, wanted in zip((a, b), exact, strict=True):
        largest = wanted.grad.abs().max().item()
        smallest_number = 1.5e-45  # of float32, where gradients of huge features end
        difference = (x.grad.double() - wanted.grad).abs().max().item()
        assert difference <= 1e-5 * largest + smallest_number
        assert x.grad.any()


def test_rounding_does_not_carry_the_correlation_past_one():
    generator = torch.Generator().manual_seed(3)
    a = torch.randn(300, 3, 9, generator=generator)
    assert pearson_correlation(a, a * 1.7 + 0.2).max() <= 1
    assert pearson_correlation(a, -a).min() >= -1


def test_features_too_small_for_a_finite_gradient_count_as_constant():
    a, b = (x.requires_grad_() for x in pair(2, 2, 4, 4))
    loss = ModalityPairingLoss()(1e-41 * a, b)
    loss.backward()
    assert loss.item() == 0
    assert not a.grad.any()
    assert not b.grad.any()


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_infinite_features_give_a_nan_loss(value):
    a, b = pair(2, 2, 4, 4)
    a[0, 0, 0, 0] = value
    assert ModalityPairingLoss()(a, b).isnan()


def test_gradient_is_that_of_the_formula(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 5)  # several chunks, the last one shorter
    a, b = (x.requires_grad_() for x in pair(2, 2, 3, 2, dtype=torch.float64))
    assert torch.autograd.gradcheck(pearson_correlation, (a, b))


def test_chunks_do_not_change_the_value(monkeypatch):
    a, b = pair(2, 3, 5, 7)
    whole = pearson_correlation(a, b)
    monkeypatch.setattr(module, "_CHUNK", 16)
    torch.testing.assert_close(pearson_correlation(a, b), whole)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e4])
def test_constant_features_give_zero_and_zero_gradient(constant):
    a = torch.full((2, 3, 16, 16), constant, requires_grad=True)
    b = pair(2, 3, 16, 16)[1].requires_grad_()
    loss = ModalityPairingLoss()(a, b)
    loss.backward()
    assert loss.item() == 0
    assert a.grad.abs().max() == 0
    assert b.grad.abs().max() == 0


def test_one_constant_sample_leaves_the_others_alone():
    a, b = pair(2, 3, 4, 4)
    a[0] = 0.1
    r = pearson_correlation(a, b)
    assert r[0] == 0
    assert r[1].item() == pytest.approx(pearsonr(a[1].flatten(), b[1].flatten()).statistic, abs=1e-5)


def test_half_precision_features_of_two_million_voxels():
    # 128^3 voxels: a sum in float16 would overflow at 65504, and the elements' gradients are of the order of 1e-7
    a, b = (x.requires_grad_() for x in pair(1, 1, 128, 128, 128, dtype=torch.float16))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = ModalityPairingLoss()(a, b)
    (65536 * loss).backward()  # nnU-Net's initial loss scale
    expected = pearsonr(a.detach().double().flatten(), b.detach().double().flatten()).statistic
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(-expected, abs=1e-5)
    assert a.grad.isfinite().all()
    assert a.grad.abs().max() > 0


def test_nan_features_give_a_nan_loss():
    a, b = pair(2, 2, 4, 4)
    a[0, 0, 0, 0] = float("nan")
    assert ModalityPairingLoss()(a, b).isnan()


def test_more_branches_average_over_pairs():
    a, b = pair(2, 2, 4, 4)
    c, _ = pair(2, 2, 4, 4, seed=1)
    loss = ModalityPairingLoss()
    assert loss(a, b, c).item() == pytest.approx((loss(a, b) + loss(a, c) + loss(b, c)).item() / 3)


def test_loss_falls_along_its_gradient():
    a, b = pair(2, 2, 4, 4)
    a.requires_grad_()
    loss = ModalityPairingLoss()(a, b)
    loss.backward()
    assert ModalityPairingLoss()(a.detach() - 0.1 * a.grad / a.grad.norm(), b) < loss


@pytest.mark.parametrize("shapes", [[(1, 2, 3, 3)], [(1, 2, 3, 3), (1, 2, 3, 4)]])
def test_one_feature_map_or_different_shapes_raise(shapes):
    with pytest.raises(ValueError, match="feature maps of one shape"):
        ModalityPairingLoss()(*[torch.zeros(shape) for shape in shapes])
