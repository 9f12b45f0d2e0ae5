"""nnU-Net's own network with an autoencoder branch and a slice classifier beside it: whose weights, who reads what."""

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from mirrored_passes import gated_regions, passes_mirrored_by_hand
from torch import nn

from nnunet_ext.architectures import HostUNet
from nnunet_ext.architectures.autoencoder_branch import draw_sample

PLAIN = {"n_conv_per_stage": [2, 2, 2], "n_conv_per_stage_decoder": [2, 1]}
RESIDUAL = {"n_blocks_per_stage": [1, 2, 2], "n_conv_per_stage_decoder": [1, 1]}
HOSTS = {"PlainConvUNet": (PlainConvUNet, PLAIN), "ResidualEncoderUNet": (ResidualEncoderUNet, RESIDUAL)}
PATCH = (8, 16, 16)
every_host = pytest.mark.parametrize("name", HOSTS)


def host_kwargs(name, deep_supervision=False):
    return {
        "input_channels": 3,
        "num_classes": 2,
        "n_stages": 3,
        "features_per_stage": [4, 8, 12],
        "conv_op": nn.Conv3d,
        "kernel_sizes": [[3, 3, 3]] * 3,
        "strides": [[1, 1, 1], [2, 2, 2], [1, 2, 2]],
        "conv_bias": True,
        "norm_op": nn.InstanceNorm3d,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
        "deep_supervision": deep_supervision,
        **HOSTS[name][1],
    }


def own_kwargs(name, **kwargs):
    return {
        "host_network": f"dynamic_network_architectures.architectures.unet.{name}",
        "autoencoder": True,
        "slice_classifier": True,
        "patch_size": PATCH,
        "image_channels": 2,
        "regions": True,
        "slice_axis": 0,
        **kwargs,
    }


def make(name="PlainConvUNet", deep_supervision=False, **kwargs):
    network = HostUNet(**host_kwargs(name, deep_supervision), **own_kwargs(name, **kwargs))
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network


def image(size=2):
    return torch.randn(size, 3, *PATCH, generator=torch.Generator().manual_seed(1))


def host_of(network, name, deep_supervision=False):
    """nnU-Net's network with the same weights, those that are not its own left out."""
    host = HOSTS[name][0](**host_kwargs(name, deep_supervision))
    weights = network.state_dict()
    host.load_state_dict({key: value for key, value in weights.items() if not key.startswith("auxiliary.")})
    return host


@every_host
@pytest.mark.parametrize("deep_supervision", [False, True])
def test_logits_are_those_of_nnunets_network_in_training_and_in_prediction(name, deep_supervision):
    network = make(name, deep_supervision, gate_slices=False)
    host = host_of(network, name, deep_supervision)
    x = image()
    expected = host(x)
    for found in (network.train()(x).logits, make(name, deep_supervision, slice_classifier=False).eval()(x)):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


@every_host
def test_weights_that_are_not_nnunets_have_the_name_that_its_pretraining_leaves_alone(name):
    host = set(HOSTS[name][0](**host_kwargs(name)).state_dict())
    others = set(make(name).state_dict()) - host
    assert host < set(make(name).state_dict())
    assert {key.split(".")[2] for key in others} == {"autoencoder", "classifier"}
    assert all(".seg_layers." in key for key in others)


def test_branch_reads_the_encoders_last_stage_alone():
    network = make().train()
    x, noise = image(), torch.randn(2, network.autoencoder.latent)
    output = network(x, noise).auxiliary.autoencoder
    endpoint = network.encoder(x)[-1]
    mean, log_variance = network.autoencoder.distribution(endpoint)
    torch.testing.assert_close(
        output.reconstruction, network.autoencoder.reconstruct(draw_sample(mean, log_variance, noise))
    )
    assert torch.equal(output.image, x[:, :2])
    gradients = torch.autograd.grad(
        output.reconstruction.sum(), [*network.decoder.seg_layers.parameters()], allow_unused=True
    )
    assert set(gradients) == {None}
    mean_only = network.reconstruct(x)
    torch.testing.assert_close(mean_only.reconstruction, network.autoencoder.reconstruct(mean))


def test_branch_has_half_the_plans_widths_and_the_latent_of_the_paper_in_proportion():
    wide = HostUNet(
        **host_kwargs("PlainConvUNet") | {"features_per_stage": [64, 96, 128]}, **own_kwargs("PlainConvUNet")
    )
    assert [upsizing.conv.out_channels for upsizing in wide.autoencoder.upsizings] == [48, 32]
    assert wide.autoencoder.expand.conv.out_channels == 128
    assert wide.autoencoder.latent == 256  # 128 at 32
    assert wide.autoencoder.reduced_shape == (32, 2, 2, 2)  # 16 at 32


def test_classifier_reads_the_decoders_features_at_half_size():
    network = make().train()
    seen = []
    network.decoder.stages[0].register_forward_hook(lambda *arguments: seen.append(arguments[2]))
    network.classifier.register_forward_hook(lambda *arguments: seen.append(arguments[1][0]))
    slices = network(image()).auxiliary.slices
    assert seen[0].shape == (2, 8, 4, 8, 8)
    assert torch.equal(*seen)
    assert slices.logits.shape == (2, 2, 8)
    assert slices.content.shape == (2, 1, 8)


def test_slices_without_content_are_told():
    x = image()
    x[0, :, 3] = 1.0
    content = make().train()(x).auxiliary.slices.content
    assert (~content).nonzero().tolist() == [[0, 0, 3]]


@every_host
def test_gate_is_behind_the_mean_of_mirrored_passes(name):
    network, x = make(name, mirror_axes=(0, 1, 2)).eval(), image(1)
    with torch.no_grad():
        network.classifier.fc.bias.copy_(torch.tensor([2.0, -1.0]))
        logits, slice_logits = passes_mirrored_by_hand(network, x, 0)
        torch.testing.assert_close(network(x), gated_regions(logits, slice_logits, 0))
    assert (slice_logits > 0).any()
    assert (slice_logits < 0).any()


def test_with_deep_supervision_the_finest_logits_are_gated_in_validation():
    network, x = make(deep_supervision=True, mirror_axes=(0, 1, 2)).eval(), image(1)
    with torch.no_grad():
        finest, coarse = network(x)
        network.gate_slices = False
        ungated, same = network(x)
        with network.one_classified_pass():
            seen = []
            network.classifier.register_forward_hook(lambda *arguments: seen.append(arguments[2]))
            network(x)
    torch.testing.assert_close(finest, gated_regions(ungated, seen[0], 0))
    assert not torch.equal(finest, ungated)
    assert torch.equal(coarse, same)


def test_prediction_computes_neither_branch_nor_an_ungated_classifier():
    network = make(gate_slices=False).eval()
    ran = []
    for part in (network.autoencoder, network.classifier):
        part.register_forward_hook(lambda *_: ran.append(True))
    network(image())
    assert not ran


def test_without_its_branch_it_predicts_the_same_with_the_other_weights():
    network, slim = make().eval(), make(inference_only=True).eval()
    kept = {key: value for key, value in network.state_dict().items() if not key.startswith(HostUNet.training_only)}
    slim.load_state_dict(kept)
    assert slim.autoencoder is None
    assert torch.equal(network(image()), slim(image()))
    with pytest.raises(RuntimeError, match="can only predict"):
        slim.reconstruct(image())


@every_host
def test_architecture_without_classifier_becomes_nnunets(name):
    kwargs = {key: value for key, value in host_kwargs(name).items() if key not in ("input_channels", "num_classes")}
    architecture = {
        "network_class_name": "nnunet_ext.architectures.HostUNet",
        "arch_kwargs": {**kwargs, **own_kwargs(name, slice_classifier=False)},
        "_kw_requires_import": ["conv_op"],
    }
    assert HostUNet.host_architecture(architecture) == {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{name}",
        "arch_kwargs": kwargs,
        "_kw_requires_import": ["conv_op"],
    }
    architecture["arch_kwargs"]["slice_classifier"] = True
    assert HostUNet.host_architecture(architecture) is None


def test_initialization_is_nnunets():
    network = make("ResidualEncoderUNet")
    network.apply(network.initialize)
    assert not any(block.conv2.norm.weight.any() for stage in network.encoder.stages for block in stage.blocks)
    weight = network.decoder.stages[0].convs[0].conv.weight
    assert weight.std().item() == pytest.approx((2 / (1 + 1e-4) / weight[0].numel()) ** 0.5, rel=0.1)
    # in the branch, what reads an unnormalized sum keeps its variance, so that the first images are not huge
    linear = network.autoencoder.expand.conv.weight
    assert linear.std().item() == pytest.approx((1 / linear[0].numel()) ** 0.5, rel=0.2)


def test_training_patch_of_another_size_is_refused_and_a_prediction_of_it_is_not():
    network = make(mirror_axes=())
    x = torch.randn(1, 3, 16, 16, 16)
    with pytest.raises(ValueError, match=r"Training needs patches of \(8, 16, 16\) voxels.*got \(16, 16, 16\)"):
        network.train()(x)
    assert network.eval()(x).shape == (1, 2, 16, 16, 16)
    assert make(autoencoder=False).train()(x).auxiliary.autoencoder is None


def test_network_that_is_not_nnunets_raises():
    with pytest.raises(ValueError, match=r"host_network is one of .*PlainConvUNet.*; not 'SwinUNETR'"):
        make(host_network="SwinUNETR")


def test_two_dimensional_network_has_one_slice():
    kwargs = host_kwargs("PlainConvUNet") | {
        "conv_op": nn.Conv2d,
        "norm_op": nn.InstanceNorm2d,
        "kernel_sizes": [[3, 3]] * 3,
        "strides": [[1, 1], [2, 2], [2, 2]],
    }
    network = HostUNet(**kwargs, **own_kwargs("PlainConvUNet", patch_size=(16, 16), slice_axis=None, regions=False))
    output = network.train()(torch.randn(2, 3, 16, 16))
    assert output.auxiliary.slices.logits.shape == (2, 1, 1)
    assert output.auxiliary.autoencoder.reconstruction.shape == (2, 2, 16, 16)
