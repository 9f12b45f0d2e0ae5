"""What BiFPNet and NestedUNet have in common: sizes, gate, gradients, mirroring, precision, compiling."""

import pytest
import torch
from mirrored_passes import gated_regions, passes_mirrored_by_hand
from torch import nn

from nnunet_ext.architectures import BiFPNet, GroupNorm, NestedUNet, NetworkOutput, gate_logits
from nnunet_ext.architectures.slice_classifier import FIRST_RULE, TODAYS_RULE

NETWORKS = [BiFPNet, NestedUNet]


def build(network_class, strides=((2, 2, 2),) * 2, kernels=None, num_classes=3, slice_axis=0, **options):
    """Small network; ``strides`` are those below full resolution."""
    dimension = len(strides[0])
    strides = [list(stride) for stride in strides]
    kernels = [list(kernel) for kernel in kernels or [[3] * dimension] * (len(strides) + 1)]
    if network_class is NestedUNet:
        strides = [[1] * dimension, *strides]
        features = [4, 8, 16, 32][: len(strides)]
    else:
        kernels, features = kernels[1:], [2, 4, 8, 16][: len(strides)]
        options = {"dropout_op": nn.Dropout, "dropout_op_kwargs": {"p": 0.2}, **options}
    torch.manual_seed(0)
    network = network_class(
        2,
        len(strides),
        features,
        {2: nn.Conv2d, 3: nn.Conv3d}[dimension],
        kernels,
        strides,
        num_classes,
        **{"regions": True, "slice_axis": slice_axis, "norm_op": GroupNorm, **options},
    )
    network.apply(network.initialize)
    return network


def first(logits):
    return logits[0] if isinstance(logits, list) else logits


@pytest.mark.parametrize("network_class", NETWORKS)
@pytest.mark.parametrize(
    ("strides", "kernels", "patch", "slice_axis", "slices"),
    [
        ([[2, 2, 2]] * 3, None, (16, 8, 24), 2, 24),
        ([[1, 2, 2], [2, 2, 2]], [[1, 3, 3], [1, 3, 3], [3, 3, 3]], (6, 16, 8), 0, 6),  # anisotropic
        ([[2, 2, 2]], None, (8, 8, 8), 1, 8),  # one scale only
        ([[2, 2], [2, 2]], None, (16, 12), None, 1),  # 2d
    ],
)
def test_output_shapes_in_training_and_eval(network_class, strides, kernels, patch, slice_axis, slices):
    network = build(network_class, strides, kernels, slice_axis=slice_axis)
    x = torch.randn(2, 2, *patch)
    output = network(x)
    assert isinstance(output, NetworkOutput)
    assert first(output.logits).shape == (2, 3, *patch)
    assert output.auxiliary.logits.shape == (2, 3, slices)
    prediction = network.eval()(x)
    assert isinstance(prediction, torch.Tensor)
    assert prediction.shape == (2, 3, *patch)


@pytest.mark.parametrize("network_class", NETWORKS)
def test_plain_labels_have_a_slice_logit_for_each_foreground_class(network_class):
    output = build(network_class, num_classes=4, regions=False)(torch.randn(1, 2, 8, 8, 8))
    assert first(output.logits).shape[1] == 4
    assert output.auxiliary.logits.shape[1] == 3


@pytest.mark.parametrize("network_class", NETWORKS)
@pytest.mark.parametrize("regions", [True, False])
@pytest.mark.parametrize(("mirror_axes", "rule"), [(None, FIRST_RULE), ([], TODAYS_RULE)])
def test_eval_logits_are_the_gated_ones_and_the_switch_needs_no_other_weights(
    network_class, regions, mirror_axes, rule
):
    gating = build(network_class, regions=regions, mirror_axes=mirror_axes).eval()
    plain = build(network_class, regions=regions, gate_slices=False).eval()
    plain.load_state_dict(gating.state_dict(), strict=True)
    x = torch.randn(2, 2, 8, 8, 8)
    seen = []
    gating.classifier.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        gated = gating(x)
        expected = gate_logits(plain(x), seen[0], 0, regions, rule)
    assert (seen[0] < 0).any()
    assert torch.equal(gated, expected)
    assert not torch.equal(gated, plain(x))


@pytest.mark.parametrize("network_class", NETWORKS)
@pytest.mark.parametrize(
    ("strides", "patch", "slice_axis"),
    [([[2, 2, 2]] * 2, (8, 12, 4), 0), ([[2, 2, 2]] * 2, (4, 8, 12), 2), ([[2, 2]] * 2, (8, 12), None)],
)
def test_mirrored_passes_are_averaged_before_the_gate(network_class, strides, patch, slice_axis):
    options = {"slice_axis": slice_axis, "mirror_axes": list(range(len(patch)))}
    network = build(network_class, strides, **options).double().eval()
    open_ = build(network_class, strides, gate_slices=False, **options).double().eval()
    x = torch.randn(2, 2, *patch, dtype=torch.float64)
    with torch.no_grad():
        _, s = passes_mirrored_by_hand(network, x, slice_axis)
        for net in (network, open_):
            net.classifier.fc.bias.sub_(s.mean((0, 2)))  # slice logits of both signs
        z, s = passes_mirrored_by_hand(network, x, slice_axis)
        assert (s > 0).any()
        assert (s < 0).any()
        torch.testing.assert_close(network(x), gated_regions(z, s, slice_axis))
        torch.testing.assert_close(open_(x), z)


def test_mirrored_passes_share_one_compiled_graph():
    graphs = []

    def backend(graph, inputs):
        graphs.append(sum(node.op == "call_function" and "conv3d" in str(node.target) for node in graph.graph.nodes))
        return graph.forward

    network = build(NestedUNet, mirror_axes=[0, 1, 2], gate_slices=False).eval()
    x = torch.randn(1, 2, 8, 8, 8)
    with torch.no_grad():
        expected, actual = network(x), torch.compile(network, backend=backend)(x)
    torch._dynamo.reset()
    torch.testing.assert_close(actual, expected)
    convolutions = sum(isinstance(module, nn.Conv3d) for module in network.modules())
    assert sum(graphs) <= 2 * convolutions  # not 8 times


@pytest.mark.parametrize("network_class", NETWORKS)
def test_the_classified_pass_of_the_training_log_is_not_mirrored(network_class):
    network = build(network_class, mirror_axes=[0, 1, 2]).eval()
    single = build(network_class, mirror_axes=[]).eval()
    single.load_state_dict(network.state_dict())
    x = torch.randn(1, 2, 8, 8, 8)
    with torch.no_grad(), network.one_classified_pass():
        assert torch.equal(network(x), single(x))
    with torch.no_grad():
        assert not torch.equal(network(x), single(x))


@pytest.mark.parametrize("network_class", NETWORKS)
@pytest.mark.parametrize("slices", [1, 2, 5, 7])
def test_any_number_of_slices_gets_as_many_slice_logits(network_class, slices):
    network = build(network_class)
    x = torch.randn(1, 2, slices, 8, 8)
    output = network(x)
    assert first(output.logits).shape == (1, 3, slices, 8, 8)
    assert output.auxiliary.logits.shape == (1, 3, slices)
    assert output.auxiliary.content.shape == (1, 1, slices)
    assert network.eval()(x).shape == (1, 3, slices, 8, 8)


@pytest.mark.parametrize("network_class", NETWORKS)
def test_the_training_output_says_which_slices_are_padding(network_class):
    x = torch.randn(2, 2, 8, 4, 4)
    x[0, :, :3] = 0
    content = build(network_class)(x).auxiliary.content
    assert content.tolist() == [[[False] * 3 + [True] * 5], [[True] * 8]]


@pytest.mark.parametrize("network_class", NETWORKS)
def test_classifier_is_not_computed_in_eval_mode_without_gate(network_class):
    network = build(network_class, gate_slices=False).eval()
    network.classifier.register_forward_hook(lambda *_: pytest.fail("the classifier was computed"))
    network(torch.randn(1, 2, 8, 8, 8))


@pytest.mark.parametrize("network_class", NETWORKS)
def test_classifying_in_eval_mode_does_not_change_the_logits(network_class):
    network = build(network_class, gate_slices=False).eval()
    x, calls = torch.randn(1, 2, 8, 8, 8), []
    before = network(x)
    network.classifier.register_forward_hook(lambda *_: calls.append(1))
    with network.one_classified_pass():
        assert torch.equal(network(x), before)
    assert calls == [1]
    assert torch.equal(network(x), before)
    assert calls == [1]


@pytest.mark.parametrize("network_class", NETWORKS)
@pytest.mark.parametrize("slice_classifier", [True, False])
def test_every_parameter_gets_a_gradient(network_class, slice_classifier):
    network = build(network_class, slice_classifier=slice_classifier)
    output = network(torch.randn(2, 2, 8, 8, 8))
    logits = output.logits if isinstance(output, NetworkOutput) else output
    loss = sum(head.square().mean() for head in (logits if isinstance(logits, list) else [logits]))
    if slice_classifier:
        loss = loss + output.auxiliary.logits.square().mean()
    loss.backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("network_class", NETWORKS)
def test_deep_supervision_raises(network_class):
    with pytest.raises(ValueError, match="deep"):
        build(network_class, deep_supervision=True)


def make_mirror_exact(network):
    """Choose weights for which every layer commutes with mirroring: even kernels, and equal LSTM directions."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
                for axis, (size, stride) in enumerate(zip(module.kernel_size, module.stride, strict=True), start=2):
                    if stride == 2:
                        # Between the two voxels that become one, a kernel of 3 is off centre: drop its first tap.
                        first_tap, second, third = module.weight.unbind(axis)
                        mean = (second + third) / 2
                        module.weight.copy_(torch.stack([first_tap * 0, mean, mean], axis))
                    elif size > 1:
                        module.weight.copy_((module.weight + module.weight.flip(axis)) / 2)
            if isinstance(module, nn.LSTM):
                for name, parameter in module.named_parameters():
                    if not name.endswith("_reverse"):
                        # From the second layer on, the two halves of the input are the two directions, which swap.
                        swapped = "weight_ih" in name and not name.endswith("l0")
                        half = parameter.shape[-1] // 2
                        value = parameter.roll(half, -1) if swapped else parameter
                        getattr(module, f"{name}_reverse").copy_(value)
            if isinstance(module, nn.Conv1d):
                half = module.in_channels // 2
                module.weight.copy_((module.weight + module.weight.roll(half, 1)) / 2)


@pytest.mark.parametrize("network_class", NETWORKS)
@pytest.mark.parametrize("slice_axis", [0, 1, 2])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_mirroring_the_input_mirrors_slice_logits_along_the_slice_axis_only(network_class, slice_axis, axis):
    network = build(network_class, slice_axis=slice_axis).double().eval()
    make_mirror_exact(network)
    slice_logits = []
    network.classifier.register_forward_hook(lambda module, inputs, output: slice_logits.append(output))
    x = torch.randn(1, 2, 8, 12, 4, dtype=torch.float64)
    with torch.no_grad():
        logits, mirrored = network(x), network(x.flip(2 + axis)).flip(2 + axis)
    expected = slice_logits[1].flip(2) if axis == slice_axis else slice_logits[1]
    # interpolation and pooling add in another order
    torch.testing.assert_close(slice_logits[0], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits, mirrored, rtol=1e-4, atol=1e-5)
    if axis == slice_axis:
        assert not torch.allclose(slice_logits[0], slice_logits[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("network_class", NETWORKS)
def test_autocast_gives_finite_logits_and_gradients(network_class, native_convolutions):
    network = build(network_class)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(torch.randn(1, 2, 16, 16, 16))
    assert output.auxiliary.logits.dtype == torch.float32
    (first(output.logits).float().mean() + output.auxiliary.logits.mean()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("network_class", NETWORKS)
@pytest.mark.parametrize("training", [True, False])
def test_compiles(network_class, training):
    network = build(network_class, dropout_op=None, lstm_dropout=0.0).train(training)
    x = torch.randn(1, 2, 8, 8, 8)
    expected, actual = network(x), torch.compile(network, backend="eager")(x)
    torch.testing.assert_close(actual, expected)
