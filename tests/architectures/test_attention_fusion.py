"""The ten networks of Table 1: counts, shapes, gradients, channels, arguments."""

import pytest
import torch
from torch import nn

from nnunet_ext.architectures import AttentionFusionUNet, fusion_system

SYSTEMS = {
    name: getattr(fusion_system, name)
    for name in (
        "UNET", "UNET_ATTENTION", "FUSE_NET", "FUSE_NET_CONCAT", "FUSE_ORIGIN_UNET", "EARLY_FUSE_UNET",
        "LATE_FUSE_UNET", "FUSE_UNET", "FUSE_UNET_ATTENTION", "PROPOSED",
    )
}  # fmt: skip
every_system = pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)

# Table 1, millions of parameters
PUBLISHED = {
    "UNET": 34.5,
    "UNET_ATTENTION": 34.7,
    "FUSE_NET": 29.4,
    "FUSE_NET_CONCAT": 74.0,
    "FUSE_ORIGIN_UNET": 56.2,
    "EARLY_FUSE_UNET": 34.5,
    "LATE_FUSE_UNET": 25.1,
    "FUSE_UNET": 26.7,
    "FUSE_UNET_ATTENTION": 26.8,
    "PROPOSED": 26.7,
}


def build(system, base=4, n_stages=3, n_modalities=2, dimension=2, master=0, extra_channels=0, **changes):
    norm = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[dimension]
    arguments = {
        "input_channels": n_modalities + extra_channels,
        "conv_op": {2: nn.Conv2d, 3: nn.Conv3d}[dimension],
        "kernel_sizes": [[3] * dimension] * n_stages,
        "strides": [[1] * dimension] + [[2] * dimension] * (n_stages - 1),
        "norm_op": norm,
        "norm_op_kwargs": {"affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
        "num_classes": 3,
        "streams": system.streams(n_modalities, master),
        "n_modalities": n_modalities,
        **system.topology(base, n_stages),
    }
    return AttentionFusionUNet(**{**arguments, **changes})


@pytest.mark.parametrize("name", SYSTEMS)
def test_parameter_count_matches_table_1(name):
    with torch.device("meta"):
        network = build(SYSTEMS[name], 32, 5, norm_op=nn.BatchNorm2d, nonlin=nn.ReLU, num_classes=1)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == PUBLISHED[name]


@every_system
@pytest.mark.parametrize(
    ("dimension", "shape", "changes"),
    [
        (2, (16, 24), {}),
        (3, (8, 8, 16), {}),
        (
            3,
            (5, 16, 8),
            {"kernel_sizes": [[1, 3, 3], [1, 3, 3], [3, 3, 3]], "strides": [[1, 1, 1], [1, 2, 2], [1, 2, 1]]},
        ),
    ],
    ids=["2d", "3d", "anisotropic"],
)
def test_output_shape(system, dimension, shape, changes):
    network = build(system, dimension=dimension, **changes)
    assert network(torch.rand(2, 2, *shape)).shape == (2, 3, *shape)


@every_system
@pytest.mark.parametrize(("n_modalities", "extra_channels"), [(2, 0), (4, 3)], ids=["two", "four_and_cascade"])
def test_every_parameter_gets_a_finite_gradient(system, n_modalities, extra_channels):
    network = build(system, n_modalities=n_modalities, extra_channels=extra_channels)
    output = network(torch.rand(2, n_modalities + extra_channels, 16, 16))
    output.square().sum().backward()
    missing = [n for n, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert not missing


@every_system
def test_reads_exactly_the_channels_of_its_row(system):
    network = build(system, n_modalities=3, master=1, extra_channels=1).eval()
    x = torch.rand(1, 4, 16, 16, requires_grad=True)
    network(x).square().sum().backward()
    read = [bool(x.grad[:, channel].any()) for channel in range(4)]
    assert read == ([False, True, False, True] if system.reads == "master" else [True] * 4)


@pytest.mark.parametrize("name", ["PROPOSED", "FUSE_ORIGIN_UNET", "FUSE_NET"])
def test_master_index_only_reorders_the_channels(name):
    first, third = build(SYSTEMS[name], n_modalities=3), build(SYSTEMS[name], n_modalities=3, master=2)
    third.load_state_dict(first.state_dict())
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(first(x), third(x[:, [1, 2, 0]]))


@every_system
def test_training_and_eval_mode_return_the_same_logits(system):
    # No auxiliary output, and neither norm nor dropout that differs between the modes.
    network, x = build(system), torch.rand(1, 2, 16, 16)
    torch.testing.assert_close(network.train()(x), network.eval()(x))


@every_system
def test_attention_maps_of_every_level_and_mapped_stream(system):
    network = build(system, n_modalities=3)
    maps = network.attention_maps(torch.rand(1, 3, 16, 16))
    n_maps = {"none": 0, "master": 1, "own": len(network.streams)}[system.attention]
    assert [[tuple(heat.shape) for heat in level] for level in maps] == [
        [(1, 1, size, size)] * n_maps for size in (16, 8, 4)
    ]
    assert all(heat.min() > 0 and heat.max() < 1 for level in maps for heat in level)


def test_single_level_network_has_no_pooling():
    network = build(SYSTEMS["PROPOSED"], n_stages=1)
    assert network(torch.rand(1, 2, 7, 5)).shape == (1, 3, 7, 5)


@every_system
def test_compiles(system):
    network = build(system, n_stages=2)
    x = torch.rand(1, 2, 8, 8)
    torch.testing.assert_close(torch.compile(network, backend="eager")(x), network(x))


def test_runs_under_autocast(native_convolutions):
    network = build(SYSTEMS["PROPOSED"])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(torch.rand(1, 2, 16, 16))
    assert torch.isfinite(output).all()


def test_initialize_zeroes_biases():
    network = build(SYSTEMS["PROPOSED"]).apply(AttentionFusionUNet.initialize)
    assert not any(m.bias.any() for m in network.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"deep_supervision": True}, "no deep supervision"),
        ({"n_conv_per_stage": [2, 2]}, "n_conv_per_stage has 2 entries, not 3"),
        ({"n_conv_per_stage_decoder": [2]}, "n_conv_per_stage_decoder has 1 entries, not 2"),
        ({"strides": [[2, 2]] * 3}, "first stage must not pool"),
        ({"stream_width": "half"}, "stream_width = 'half'; valid are share, full"),
        ({"fusion": "multiply"}, "fusion = 'multiply'; valid are separate, add"),
        ({"attention": "self"}, "attention = 'self'; valid are none, own, master"),
        ({"decoder": "fpn"}, "decoder = 'fpn'; valid are interpolation, transposed, none"),
        ({"streams": [[0], []]}, "Every stream needs a modality"),
        ({"streams": [[0], [2]]}, r"Streams name the channels \[2\]; the modalities are the channels 0 to 1"),
        ({"streams": [[0]]}, "needs at least two streams"),
        ({"input_channels": 1}, "2 modalities in 1 input channels"),
    ],
)
def test_wrong_arguments_raise(changes, message):
    with pytest.raises(ValueError, match=message):
        build(SYSTEMS["PROPOSED"], **changes)


def network_and_images(order):
    torch.manual_seed(0)
    network = build(fusion_system.PROPOSED, n_modalities=3, master=1, heat_map_order=order).eval()
    return network, torch.randn(3, 3, 16, 16)


def test_nothing_changes_where_the_master_is_there():
    network, x = network_and_images([0, 1, 2])
    with torch.no_grad():
        aware = network(x)
        network.heat_map_order = None
        assert torch.equal(aware, network(x))


@pytest.mark.parametrize(("order", "substitute"), [([0, 1, 2], 1), ([0, 2, 1], 2)])
def test_heat_map_is_made_of_the_first_present_stream_where_the_master_is_missing(order, substitute):
    network, x = network_and_images(order)
    x[1, 1] = 0  # the second sample lacks the master, channel 1
    level = network.encoder.levels[0]
    with torch.no_grad():
        maps = network.attention_maps(x)[0][0]
        features = [block(x[:, channels]) for block, channels in zip(level.blocks, network.streams, strict=True)]
        expected = level.attentions[0](torch.stack([features[0][0], features[substitute][1], features[0][2]]))
    torch.testing.assert_close(maps, expected)
    assert not torch.allclose(maps[1], level.attentions[0](features[0])[1])


@pytest.mark.parametrize(
    ("system", "order"), [(fusion_system.PROPOSED, [0, 1]), (fusion_system.FUSE_UNET_ATTENTION, [0, 1, 2])]
)
def test_order_that_does_not_fit_raises(system, order):
    with pytest.raises(ValueError, match="heat_map_order"):
        build(system, n_modalities=3, heat_map_order=order)
