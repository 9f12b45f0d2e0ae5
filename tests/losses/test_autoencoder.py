"""Loss of Myronenko's network: each equation, the sum, and the switches."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nnunet_ext.architectures import NetworkOutput
from nnunet_ext.architectures.autoencoder_branch import AutoencoderOutput
from nnunet_ext.losses import AutoencoderRegularizedLoss
from nnunet_ext.losses.autoencoder import kl_to_standard_normal, reconstruction_error
from nnunet_ext.losses.squared_dice import SquaredDiceLoss


def network_output(batch: int = 2, classes: int = 3, dtype: torch.dtype = torch.float32) -> NetworkOutput:
    generator = torch.Generator().manual_seed(7)
    values = [
        torch.randn(batch, *shape, generator=generator, dtype=dtype, requires_grad=True)
        for shape in [(classes, 4, 6, 8), (2, 4, 6, 8), (2, 4, 6, 8), (5,), (5,)]
    ]
    return NetworkOutput(values[0], AutoencoderOutput(values[1], values[2].detach(), values[3], values[4]))


def test_kl_is_zero_at_the_prior():
    assert kl_to_standard_normal(torch.zeros(2, 8), torch.zeros(2, 8), 10).item() == 0


def test_kl_hand_computed():
    # μ = 2, σ² = e: 4 + e - 1 - 1; μ = 0, σ² = 1: 0. N = 10.
    value = kl_to_standard_normal(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]]), 10)
    assert value.item() == pytest.approx((2 + np.e) / 10)


def test_kl_is_twice_pytorchs_divergence_over_the_voxels():
    """Fails for MONAI, which divides by the length of the latent in place of N. Eq. 4 has no factor 1/2."""
    mean, log_variance = torch.randn(3, 16, dtype=torch.float64), torch.randn(3, 16, dtype=torch.float64)
    posterior = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
    divergence = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))
    expected = 2 * divergence.sum(1).mean() / 1000
    torch.testing.assert_close(kl_to_standard_normal(mean, log_variance, 1000), expected.to(torch.float64))


def test_kl_counts_voxels_of_one_patch_whatever_batch_and_channels():
    output = network_output()
    loss = AutoencoderRegularizedLoss(regions=True)
    loss(output, torch.zeros(2, 3, 4, 6, 8))
    expected = kl_to_standard_normal(output.auxiliary.mean, output.auxiliary.log_variance, 4 * 6 * 8)
    assert loss.pop_component_means()["kl"] == pytest.approx(expected.item())


def test_reconstruction_error_as_printed_is_the_squared_norm_of_each_sample():
    prediction, image = torch.randn(3, 2, 4, 5), torch.randn(3, 2, 4, 5)
    norms = np.linalg.norm((prediction - image).numpy().reshape(3, -1), axis=1) ** 2
    assert reconstruction_error(prediction, image, "sum").item() == pytest.approx(norms.mean(), rel=1e-5)
    assert reconstruction_error(prediction, image).item() == pytest.approx(norms.mean() / 40, rel=1e-5)


def test_perfect_reconstruction_costs_nothing():
    image = torch.randn(1, 2, 4, 4)
    assert reconstruction_error(image, image).item() == 0


def test_loss_is_equation_1():
    output, target = network_output(), torch.rand(2, 3, 4, 6, 8) > 0.5
    loss = AutoencoderRegularizedLoss(regions=True)
    total = loss(output, target)
    dice = SquaredDiceLoss(regions=True)(output.logits, target)
    auxiliary = output.auxiliary
    error = (auxiliary.reconstruction - auxiliary.image).square().mean()
    divergence = (auxiliary.mean**2 + auxiliary.log_variance.exp() - auxiliary.log_variance - 1).sum(1).mean() / 192
    torch.testing.assert_close(total, dice + 0.1 * error + 0.1 * divergence)
    assert loss.component_names == ("segmentation", "reconstruction", "kl")
    means = loss.pop_component_means()
    assert means["segmentation"] == pytest.approx(dice.item(), rel=1e-5)
    assert means["reconstruction"] == pytest.approx(error.item(), rel=1e-5)


def test_sum_over_regions_not_their_mean():
    logits, target = torch.full((1, 3, 4, 4), -50.0), torch.ones(1, 3, 4, 4)
    assert AutoencoderRegularizedLoss(regions=True)(logits, target).item() == pytest.approx(3)


def test_labels_add_cross_entropy():
    logits, target = torch.randn(2, 4, 6, 6), torch.randint(0, 4, (2, 1, 6, 6))
    expected = SquaredDiceLoss(regions=False)(logits, target) + F.cross_entropy(logits, target[:, 0])
    torch.testing.assert_close(AutoencoderRegularizedLoss(regions=False)(logits, target), expected)


def test_ignored_voxels_give_no_gradient():
    logits = torch.randn(1, 3, 6, 6, requires_grad=True)
    target = torch.randint(0, 4, (1, 1, 6, 6))  # 3 is the ignore label
    AutoencoderRegularizedLoss(regions=False, ignore_label=3)(logits, target).backward()
    ignored = (target == 3).expand_as(logits)
    assert not logits.grad[ignored].any()
    assert logits.grad[~ignored].all()


@pytest.mark.parametrize("regions", [True, False])
def test_batch_without_any_label_is_finite(regions):
    logits = torch.randn(1, 3, 6, 6, requires_grad=True)
    target = torch.ones(1, 4, 6, 6) if regions else torch.full((1, 1, 6, 6), 3)
    loss = AutoencoderRegularizedLoss(regions, ignore_label=3)(logits, target)
    loss.backward()
    assert loss.isfinite()
    assert not logits.grad.any()


def test_half_precision_gives_a_float32_loss_with_finite_gradients():
    auxiliary = network_output().auxiliary
    leaves = [torch.full((2, 3, 4, 6, 8), -100.0), 1e4 * auxiliary.reconstruction, auxiliary.mean, auxiliary.mean * 9]
    leaves = [leaf.detach().half().requires_grad_() for leaf in leaves]
    output = NetworkOutput(leaves[0], AutoencoderOutput(leaves[1], auxiliary.image.half(), *leaves[2:]))
    with torch.autocast("cpu", dtype=torch.float16):
        loss = AutoencoderRegularizedLoss(regions=True)(output, torch.ones(2, 3, 4, 6, 8))
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert all(leaf.grad.isfinite().all() for leaf in leaves)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradients_match_finite_differences(reduction):
    generator = torch.Generator().manual_seed(8)
    mean, log_variance = (
        torch.randn(2, 3, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2)
    )
    assert torch.autograd.gradcheck(lambda m, v: kl_to_standard_normal(m, v, 7), (mean, log_variance))
    images = [torch.randn(2, 1, 2, 3, generator=generator, dtype=torch.float64) for _ in range(2)]
    prediction = images[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda p: reconstruction_error(p, images[1], reduction), (prediction,))


def test_unknown_reduction_raises():
    with pytest.raises(ValueError, match="'mean' or 'sum'"):
        AutoencoderRegularizedLoss(regions=True, reconstruction_reduction="median")
