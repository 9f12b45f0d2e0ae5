"""BiFPNet: Table 1, the fusion weights and the decoder's sizes."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from nnunet_ext.architectures import BiFPNet, GroupNorm
from nnunet_ext.architectures.bifpn_layer import BiFPNLayer, FusionNode, fast_normalized_fusion


def published() -> BiFPNet:
    return BiFPNet(
        4,
        4,
        [16, 32, 64, 128],
        nn.Conv3d,
        [[3, 3, 3]] * 4,
        [[2, 2, 2]] * 4,
        num_classes=3,
        regions=True,
        slice_axis=2,
        norm_op=GroupNorm,
        dropout_op=nn.Dropout,
        dropout_op_kwargs={"p": 0.2},
    )


def test_encoder_sizes_match_table_1():
    with FakeTensorMode():
        maps = published().encoder_features(torch.empty(1, 4, 128, 128, 96))
    assert [tuple(level.shape[1:]) for level in maps] == [
        (16, 64, 64, 48),
        (32, 32, 32, 24),
        (64, 16, 16, 12),
        (128, 8, 8, 6),
    ]


def test_published_decoder_gives_1024_features_at_half_size_and_table_2s_slices():
    with FakeTensorMode():
        network = published()
        features = []
        network.classifier.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0].shape))
        logits, (slice_logits, _) = network(torch.empty(1, 4, 128, 128, 96))
    assert features == [(1, 1024, 64, 64, 48)]
    assert logits.shape == (1, 3, 128, 128, 96)
    assert slice_logits.shape == (1, 3, 96)
    assert len(network.pyramid) == 3
    assert [len(branch.blocks) for branch in network.decoder] == [1, 1, 2, 3]


@pytest.mark.parametrize("conv_op", [nn.Conv2d, nn.Conv3d])
def test_logits_are_the_head_on_the_concatenated_features_at_half_size(conv_op):
    dimension = 3 if conv_op is nn.Conv3d else 2
    kernels, strides = [[3] * dimension] * 3, [[2] * dimension] * 3
    network = BiFPNet(4, 3, [2, 4, 8], conv_op, kernels, strides, 3, regions=True, slice_axis=None, norm_op=GroupNorm)
    network.eval().gate_slices = False
    features = []
    network.classifier.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    with network.one_classified_pass():
        logits = network(torch.randn(2, 4, *[20, 16, 24][:dimension]))
    linear = {2: "bilinear", 3: "trilinear"}[dimension]
    expected = nn.functional.interpolate(network.head(features[0]), scale_factor=2, mode=linear)
    torch.testing.assert_close(logits, expected)


def test_layers_of_an_encoder_block_follow_table_1():
    names = [type(layer).__name__ for layer in published().encoder[0].layers]
    assert names == ["Conv3d", "GroupNorm", "Dropout", "ReLU"] * 2


def test_fusion_is_the_weighted_mean():
    maps = [torch.full((1, 2, 3), value) for value in (1.0, 4.0)]
    fused = fast_normalized_fusion(maps, torch.tensor([1.0, 3.0]))
    torch.testing.assert_close(fused, torch.full((1, 2, 3), (1 * 1 + 3 * 4) / (4 + 1e-4)))


def test_negative_fusion_weight_leaves_its_map_out():
    maps = [torch.randn(1, 2, 3), torch.randn(1, 2, 3)]
    fused = fast_normalized_fusion(maps, torch.tensor([2.0, -5.0]))
    torch.testing.assert_close(fused, maps[0] * 2 / (2 + 1e-4))


def test_all_fusion_weights_negative_gives_zero_not_nan():
    assert not fast_normalized_fusion([torch.randn(1, 2, 3)] * 2, torch.tensor([-1.0, -1.0])).any()


def fusion_node(n_inputs: int = 2) -> FusionNode:
    return FusionNode(n_inputs, 8, nn.Conv2d, [3, 3], True, GroupNorm, None, nn.ReLU, None)


def test_fusion_weights_are_parameters_that_get_gradients_and_move_with_the_module():
    node = fusion_node()
    assert dict(node.named_parameters())["weights"].tolist() == [1, 1]
    node(torch.randn(1, 8, 4, 4), torch.randn(1, 8, 4, 4)).square().sum().backward()
    assert node.weights.grad.abs().min() > 0
    assert node.to(torch.float64).weights.dtype == torch.float64
    assert node.to("meta").weights.device.type == "meta"


def test_fusion_of_large_half_precision_maps_stays_finite():
    large = torch.full((1, 2, 3), 60000.0, dtype=torch.float16)
    assert fast_normalized_fusion([large] * 3, torch.ones(3)).isfinite().all()


def test_every_output_level_sees_every_input_level():
    kernels, strides = [[3, 3]] * 3, [[2, 2]] * 3
    layer = BiFPNLayer(
        3,
        8,
        nn.Conv2d,
        kernels,
        strides,
        conv_bias=True,
        norm_op=None,
        norm_op_kwargs=None,
        nonlin=nn.Identity,
        nonlin_kwargs=None,
    )
    pyramid = [torch.randn(1, 8, size, size, requires_grad=True) for size in (8, 4, 2)]
    for level, output in enumerate(layer(pyramid)):
        assert output.shape == pyramid[level].shape
        gradients = torch.autograd.grad(output.sum(), pyramid, retain_graph=True)
        assert all(gradient.any() for gradient in gradients)
