"""Who sees whom: wiring of streams, heat maps and fusion, by perturbation and by gradient."""

import pytest
import torch
from dynamic_network_architectures.building_blocks.simple_conv_blocks import StackedConvBlocks
from torch import nn

from nnunet_ext.architectures.fusion_encoder import FusionEncoder, FusionLevel

BLOCK = {"conv_bias": True, "nonlin": nn.LeakyReLU}


def encoder(fusion, attention, n_streams=3, shared=0):
    channels = [[stream, *range(n_streams, n_streams + shared)] for stream in range(n_streams)]
    torch.manual_seed(0)
    return FusionEncoder(
        channels, [4, 8, 16], [1, 2, 1], [[3, 3]] * 3, [[1, 1], [2, 2], [2, 1]], fusion, attention, 16, 4, nn.Conv2d,
        BLOCK,
    ).eval()  # fmt: skip


def block_outputs(network, x):
    """Features of each level and stream before attention: ``outputs[level][stream]``."""
    outputs, handles = [], []
    for level in network.levels:
        outputs.append([None] * len(level.blocks))
        for stream, block in enumerate(level.blocks):

            def record(_module, _inputs, output, into=outputs[-1], at=stream):
                into[at] = output

            handles.append(block.register_forward_hook(record))
    network(x)
    for handle in handles:
        handle.remove()
    return outputs


def streams_changed_by(network, channel, n_channels=3):
    """For each level, the streams whose features change when one input channel does."""
    x = torch.rand(1, n_channels, 16, 16)
    other = x.clone()
    other[:, channel] += torch.rand(16, 16)
    before, after = block_outputs(network, x), block_outputs(network, other)
    return [
        {s for s, (a, b) in enumerate(zip(*level, strict=True)) if not torch.equal(a, b)}
        for level in zip(before, after, strict=True)
    ]


@pytest.mark.parametrize("fusion", ["separate", "add", "concatenate_to_master", "concatenate"])
def test_assistants_do_not_see_the_master(fusion):
    assert streams_changed_by(encoder(fusion, "none"), 0) == [{0}, {0}, {0}]


@pytest.mark.parametrize("attention", ["none", "own", "master"])
@pytest.mark.parametrize("fusion", ["separate", "add", "concatenate_to_master", "concatenate"])
def test_master_sees_an_assistant_below_the_first_level_only_by_fusion(fusion, attention):
    fused = {1} if fusion == "separate" else {0, 1}
    first, second, _ = streams_changed_by(encoder(fusion, attention), 1)
    assert (first, second) == ({1}, fused)


def test_master_reaches_the_assistants_through_its_heat_map_after_the_first_level():
    assert streams_changed_by(encoder("concatenate", "master"), 0) == [{0}, {0, 1, 2}, {0, 1, 2}]


def test_own_attention_keeps_the_assistants_apart():
    assert streams_changed_by(encoder("concatenate", "own"), 2) == [{2}, {0, 2}, {0, 2}]


def test_shared_channels_reach_every_stream():
    network = encoder("separate", "none", shared=2)
    assert streams_changed_by(network, 4, n_channels=5) == [{0, 1, 2}] * 3


def test_first_heat_map_has_no_gradient_from_assistants():
    x = torch.rand(1, 3, 16, 16, requires_grad=True)
    _, maps = encoder("concatenate", "master")(x)
    (gradient,) = torch.autograd.grad(maps[0][0].sum(), x)
    assert gradient[:, 0].any()
    assert not gradient[:, 1:].any()


def level_of(attention):
    torch.manual_seed(0)
    blocks = [StackedConvBlocks(1, nn.Conv2d, channels, 4, [3, 3], 1, **BLOCK) for channels in (2, 1, 1)]
    return FusionLevel(blocks, 4, nn.Conv2d, [3, 3], attention, 16, 4, BLOCK)


def inputs_of_level():
    return [torch.rand(1, channels, 8, 8, requires_grad=True) for channels in (2, 1, 1)]


def test_masters_heat_map_depends_on_the_master_stream_only():
    inputs = inputs_of_level()
    _, (heat,) = level_of("master")(inputs)
    gradients = torch.autograd.grad(heat.sum(), inputs, allow_unused=True)
    assert gradients[0].any()
    assert gradients[1:] == (None, None)


def test_own_heat_map_depends_on_its_own_stream_only():
    inputs = inputs_of_level()
    _, maps = level_of("own")(inputs)
    for stream, heat in enumerate(maps):
        gradients = torch.autograd.grad(heat.sum(), inputs, allow_unused=True)
        assert [gradient is not None for gradient in gradients] == [other == stream for other in range(3)]


@pytest.mark.parametrize("attention", ["none", "own", "master"])
def test_heat_map_multiplies_the_streams_of_its_row(attention):
    level, inputs = level_of(attention), inputs_of_level()
    streams, maps = level(inputs)
    weights = {"none": [1, 1, 1], "own": maps, "master": maps * 3}[attention]
    for stream, block, x, weight in zip(streams, level.blocks, inputs, weights, strict=True):
        torch.testing.assert_close(stream, block(x) * weight)


@pytest.mark.parametrize(
    ("fusion", "channels"),
    [
        ("separate", [12, 24, 48]),
        ("add", [4, 8, 16]),
        ("concatenate_to_master", [4, 8, 16]),
        ("concatenate", [12, 24, 48]),
    ],
)
def test_decoder_reads_the_features_of_the_rule(fusion, channels):
    network, x = encoder(fusion, "none"), torch.rand(1, 3, 16, 16)
    features, _ = network(x)
    assert network.output_channels == channels
    assert [tuple(f.shape[1:]) for f in features] == [
        (channels[0], 16, 16), (channels[1], 8, 8), (channels[2], 4, 8)
    ]  # fmt: skip
    first, deepest = block_outputs(network, x)[0], block_outputs(network, x)[-1]
    expected = {
        "separate": (torch.cat(first, 1), torch.cat(deepest, 1)),
        "add": (sum(first), sum(deepest)),
        "concatenate_to_master": (first[0], sum(deepest)),
        "concatenate": (torch.cat(first, 1), torch.cat(deepest, 1)),
    }[fusion]
    torch.testing.assert_close((features[0], features[-1]), expected)
