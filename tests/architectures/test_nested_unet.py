"""NestedUNet: sizes, node inputs, and the average of the heads."""

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from nnunet_ext.architectures import GroupNorm, NestedUNet


def nested(features, **options):
    n_stages = len(features)
    strides = [[1, 1, 1]] + [[2, 2, 2]] * (n_stages - 1)
    return NestedUNet(
        4,
        n_stages,
        features,
        nn.Conv3d,
        [[3, 3, 3]] * n_stages,
        strides,
        num_classes=3,
        regions=True,
        slice_axis=2,
        norm_op=GroupNorm,
        **options,
    )


def test_published_sizes_feed_table_3():
    with FakeTensorMode():
        network = nested([32, 64, 128, 256, 512])
        nodes = network.head_features(torch.empty(1, 4, 128, 128, 128))
        logits, (slice_logits, _) = network(torch.empty(1, 4, 128, 128, 128))
    assert torch.cat([torch.empty(node.shape, device="meta") for node in nodes], 1).shape == (1, 128, 128, 128, 128)
    assert [head.shape for head in logits] == [(1, 3, 128, 128, 128)] * 4
    assert slice_logits.shape == (1, 3, 128)
    assert network.classifier.lstm.num_layers == 3


def test_nodes_join_all_earlier_nodes_of_their_level_and_the_raised_one():
    network = nested([4, 8, 16, 32, 64])
    inputs = {name: node.convs[0].conv.in_channels for name, node in network.nodes.items()}
    assert inputs == {
        **{"x0_0": 4, "x1_0": 4, "x2_0": 8, "x3_0": 16, "x4_0": 32},
        **{"x0_1": 4 + 8, "x0_2": 2 * 4 + 8, "x0_3": 3 * 4 + 8, "x0_4": 4 * 4 + 8},
        **{"x1_1": 8 + 16, "x1_2": 2 * 8 + 16, "x1_3": 3 * 8 + 16},
        **{"x2_1": 16 + 32, "x2_2": 2 * 16 + 32, "x3_1": 32 + 64},
    }


def test_a_node_depends_on_no_deeper_level_than_its_column():
    network = nested([4, 8, 16]).eval()
    x = torch.randn(1, 4, 8, 8, 8)
    before = network.head_features(x)
    with torch.no_grad():
        network.nodes["x2_0"].convs[0].conv.weight.mul_(-1)
    after = network.head_features(x)
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def test_eval_logits_are_the_average_of_the_heads():
    network = nested([4, 8, 16], gate_slices=False)
    x = torch.randn(1, 4, 8, 8, 8)
    heads = network(x).logits  # no dropout and no batch statistics: training gives the same maps
    assert len(heads) == 2
    torch.testing.assert_close(network.eval()(x), (heads[0] + heads[1]) / 2)


def test_without_classifier_training_gives_heads_alone():
    network = nested([4, 8, 16], slice_classifier=False)
    logits = network(torch.randn(1, 4, 8, 8, 8))
    assert [head.shape for head in logits] == [(1, 3, 8, 8, 8)] * 2
