"""The autoencoder branch by value: VD, VDraw and VU of Table 1, the noise, and the bounds of the variance."""

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor, nn
from torch.nn import functional as F

from nnunet_ext.architectures.autoencoder_branch import LOG_VARIANCE_RANGE, AutoencoderBranch
from nnunet_ext.losses.autoencoder import kl_to_standard_normal, reconstruction_error

ENDPOINT, LATENT = (8, 4, 6), 32  # channels and size; length of the mean


def branch() -> AutoencoderBranch:
    torch.manual_seed(0)
    result = AutoencoderBranch(
        nn.Conv2d,
        features_per_stage=[4, 8],
        kernel_sizes=[[3, 3], [3, 3]],
        sizes=[(8, 12), ENDPOINT[1:]],
        latent=LATENT,
        reduced_features=4,
        image_channels=2,
        conv_bias=False,
        num_groups=2,
    )
    nn.init.normal_(result.norm.weight)  # not 1 and 0, so that the normalization's place shows
    nn.init.normal_(result.norm.bias)
    return result


def draws(module: AutoencoderBranch, batch: int) -> Tensor:
    """The noise of one training step, ``(batch, latent)``, found from what VU reads."""
    read: list[Tensor] = []
    handle = module.from_sample.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].detach()))
    output = module(torch.randn(1, *ENDPOINT).expand(batch, -1, -1, -1), torch.zeros(batch, 2, 8, 12))
    handle.remove()
    return (read[0] - output.mean.detach()) / (output.log_variance.detach() / 2).exp()


def test_vd_is_norm_relu_convolution_dense():
    module = branch()
    endpoint = torch.randn(3, *ENDPOINT)
    x = F.relu(F.group_norm(endpoint, 2, module.norm.weight, module.norm.bias, module.norm.eps))
    x = F.conv2d(x, module.reduce.weight, stride=2, padding=1)
    x = F.linear(x.reshape(3, -1), module.to_distribution.weight, module.to_distribution.bias)
    mean, log_variance = module.distribution(endpoint)
    torch.testing.assert_close(mean, x[:, :LATENT])
    torch.testing.assert_close(log_variance, x[:, LATENT:])


def test_vu_is_dense_relu_convolution_upsampling():
    module = branch()
    sample = torch.randn(3, LATENT)
    read: list[Tensor] = []
    module.upsizings[0].register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    module.reconstruct(sample)
    x = F.relu(F.linear(sample, module.from_sample.weight, module.from_sample.bias)).view(3, 4, 2, 3)
    x = F.conv2d(x, module.expand.conv.weight)
    torch.testing.assert_close(read[0], F.interpolate(x, size=ENDPOINT[1:], mode="bilinear", align_corners=False))


def test_noise_is_standard_normal():
    noise = draws(branch(), 200).flatten()
    # 6400 draws: a uniform distribution of the same mean and deviation has p below 1e-10
    assert kstest(noise.numpy(), "norm").pvalue > 1e-3


def test_each_sample_and_each_step_has_noise_of_its_own():
    module = branch()
    noise = torch.cat([draws(module, 3), draws(module, 3)])
    together = torch.corrcoef(noise) - torch.eye(6)
    assert together.abs().max() < 0.6  # of 32 numbers; 1 where two samples share their noise


@pytest.mark.parametrize(("unbounded", "bounded"), [(200.0, 20.0), (-200.0, -30.0), (19.5, 19.5), (-29.5, -29.5)])
def test_variance_is_bounded_so_that_loss_and_gradients_stay_finite(unbounded, bounded):
    module = branch()
    with torch.no_grad():
        module.to_distribution.weight[LATENT:] = 0
        module.to_distribution.bias[LATENT:] = unbounded
    endpoint = torch.randn(2, *ENDPOINT, requires_grad=True)
    output = module(endpoint, torch.randn(2, 2, 8, 12))
    assert output.log_variance.unique().tolist() == [bounded]
    loss = reconstruction_error(output.reconstruction, output.image)
    loss = loss + kl_to_standard_normal(output.mean, output.log_variance, 96)
    loss.backward()
    assert loss.isfinite()
    assert all(x.grad.isfinite().all() for x in (endpoint, *module.parameters()))


def test_bounds_are_those_of_latent_diffusion():
    assert LOG_VARIANCE_RANGE == (-30.0, 20.0)
