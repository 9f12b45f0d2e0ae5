"""The network against a literal two-branch reading of the paper, its wiring by perturbation, and its generality."""

import pytest
import torch
from dynamic_network_architectures.building_blocks.residual_encoders import ResidualEncoder
from torch import nn
from torch.nn import functional as F

from nnunet_ext.architectures import ModalityPairingUNet, NetworkOutput

A, B = (0, 1), (2, 3)


def make(groups=(A, B), input_channels=4, dimension=3, stages=3, base=4, strides=None, kernels=3, **kwargs):
    torch.manual_seed(0)
    network = ModalityPairingUNet(
        input_channels=input_channels,
        n_stages=stages,
        features_per_stage=[base * 2**i for i in range(stages)],
        conv_op=nn.Conv3d if dimension == 3 else nn.Conv2d,
        kernel_sizes=kernels,
        strides=strides or [1] + [2] * (stages - 1),
        num_classes=3,
        modality_groups=groups,
        **{
            **({} if "n_blocks_per_stage" in kwargs else {"n_conv_per_stage": 2}),
            "n_conv_per_stage_decoder": 2,
            "conv_bias": True,
            "norm_op": nn.InstanceNorm3d if dimension == 3 else nn.InstanceNorm2d,
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "nonlin": nn.LeakyReLU,
            "nonlin_kwargs": {"inplace": True},
            **kwargs,
        },
    )
    for parameter in network.parameters():  # norms and biases too, so that a wrong mapping shows
        nn.init.normal_(parameter, std=0.3)
    return network


class TwoBranches:
    """Eq. 2 and Eq. 3 read literally: two lists of features, one convolution a branch, concatenation where it says so.

    It maps the network's weights: rows ``C*m..C*(m+1)`` of a joint convolution are branch m's convolution.
    """

    def __init__(self, network: ModalityPairingUNet):
        self.state = network.state_dict()

    def rows(self, name, branch):
        return self.state[name].chunk(2)[branch]

    def norm(self, features, name):
        """Instance norm of each branch."""
        names = f"{name}.weight", f"{name}.bias"
        return [
            F.instance_norm(x, weight=self.rows(names[0], m), bias=self.rows(names[1], m))
            for m, x in enumerate(features)
        ]

    def activate(self, features, norm):
        """Instance norm and leaky ReLU of each branch."""
        return [F.leaky_relu(x, 0.01) for x in self.norm(features, norm)]

    def dense(self, features, name, stride=1):
        """Each branch's convolution of the features of both (Eq. 2)."""
        both, weight, bias = torch.cat(features, 1), f"{name}.weight", f"{name}.bias"
        padding = self.state[weight].shape[-1] // 2
        return [
            F.conv3d(both, self.rows(weight, m), self.rows(bias, m) if bias in self.state else None, stride, padding)
            for m in range(2)
        ]

    def own(self, features, name, transposed=False):
        """Each branch's convolution of its own features."""
        weights = [(self.state[f"{name}.{m}.weight"], self.state[f"{name}.{m}.bias"]) for m in range(2)]
        if transposed:
            return [F.conv_transpose3d(x, *w, stride=2) for x, w in zip(features, weights, strict=True)]
        return [F.conv3d(x, *w, padding=1) for x, w in zip(features, weights, strict=True)]

    def stem(self, x):
        return self.activate(self.own([x[:, list(A)], x[:, list(B)]], "encoder.0.0.convs"), "encoder.0.1.0")

    def plain_skips(self, x):
        """Features of each level of two convolutions."""
        features, skips = self.stem(x), []
        for stage in range(3):
            for layer in range(1 if stage == 0 else 2):
                name = f"encoder.{stage}.{2 if stage == 0 else 0}.convs.{layer}"
                features = self.dense(features, f"{name}.conv", stride=2 if stage and layer == 0 else 1)
                features = self.activate(features, f"{name}.norm")
            skips.append(features)
        return skips

    def residual_block(self, features, name, stride):
        """Two convolutions of both branches, beside a skip that averages and projects where sizes differ."""
        skip = [F.avg_pool3d(x, 2) for x in features] if stride == 2 else features
        projection = f"{name}.skip.{1 if stride == 2 else 0}"
        if f"{projection}.conv.weight" in self.state:
            skip = self.norm(self.dense(skip, f"{projection}.conv"), f"{projection}.norm")
        features = self.activate(self.dense(features, f"{name}.conv1.conv", stride), f"{name}.conv1.norm")
        features = self.norm(self.dense(features, f"{name}.conv2.conv"), f"{name}.conv2.norm")
        return [F.leaky_relu(x + y, 0.01) for x, y in zip(features, skip, strict=True)]

    def residual_skips(self, x, blocks):
        """Features of each level of residual blocks."""
        features, skips = self.stem(x), []
        for stage, number in enumerate(blocks):
            for index in range(number):
                name = f"encoder.{stage}.{2 if stage == 0 else 0}.blocks.{index}"
                features = self.residual_block(features, name, stride=2 if stage and index == 0 else 1)
            skips.append(features)
        return skips

    def decode(self, skips, convs):
        """Logits of each resolution, the highest first, and the last features of each branch."""
        features, logits = skips[-1], []
        for index, skip in enumerate(skips[1::-1]):
            up = self.own(features, f"upsamplings.{index}.convs", transposed=True)
            features = [
                F.conv3d(
                    torch.cat([up[m], *skip], 1),
                    torch.cat(
                        [
                            self.state[f"own_convs.{index}.convs.{m}.weight"],
                            self.rows(f"skip_convs.{index}.weight", m),
                        ],
                        1,
                    ),
                    self.rows(f"skip_convs.{index}.bias", m),
                    padding=1,
                )
                for m in range(2)
            ]
            features = self.activate(features, f"merged.{index}.0")
            if convs == 2:
                later = f"later_convs.{index}"
                features = self.activate(self.own(features, f"{later}.0.convs"), f"{later}.1.0")
            classifier = self.state[f"classifiers.{index}.weight"], self.state[f"classifiers.{index}.bias"]
            logits.insert(0, F.conv3d(torch.cat(features, 1), *classifier))
        return logits, features


def two_branch_reference(network, x):
    """The plain network with two convolutions a block, as the paper has it."""
    literal = TwoBranches(network)
    return literal.decode(literal.plain_skips(x), convs=2)


def test_output_equals_two_branch_reading_of_equations_2_and_3():
    network = make().double()
    x = torch.randn(2, 4, 8, 8, 8, dtype=torch.float64)
    output = network(x)
    logits, features = two_branch_reference(network, x)
    torch.testing.assert_close(output.logits, logits[0])
    torch.testing.assert_close(list(output.auxiliary.features), features)


def test_residual_output_equals_two_branch_reading_of_equations_2_and_3():
    blocks = [1, 3, 2]
    network = make(n_blocks_per_stage=blocks, n_conv_per_stage_decoder=1, deep_supervision=True).double()
    x = torch.randn(2, 4, 8, 8, 8, dtype=torch.float64)
    output = network(x)
    literal = TwoBranches(network)
    logits, features = literal.decode(literal.residual_skips(x, blocks), convs=1)
    torch.testing.assert_close(output.logits, logits)
    torch.testing.assert_close(list(output.auxiliary.features), features)


def test_residual_encoder_with_one_branch_of_all_would_be_nnunets():
    """Beside the stem, the encoder has the layers of nnU-Net's at the joint width, by their shapes."""
    blocks = [1, 3, 2]
    network = make(n_blocks_per_stage=blocks, n_conv_per_stage_decoder=1)
    host = ResidualEncoder(
        4, 3, [8, 16, 32], nn.Conv3d, 3, [1, 2, 2], blocks, True, nn.InstanceNorm3d, {"affine": True},
        nonlin=nn.LeakyReLU,
    )  # fmt: skip
    for stage, theirs in zip(network.encoder, host.stages, strict=True):
        ours = {name: tuple(value.shape) for name, value in stage[-1].state_dict().items()}
        assert ours == {name: tuple(value.shape) for name, value in theirs.state_dict().items()}


@pytest.mark.parametrize("kwargs", [{"n_conv_per_stage": None}, {"n_conv_per_stage": 2, "n_blocks_per_stage": 1}])
def test_stages_are_either_plain_or_residual(kwargs):
    with pytest.raises(ValueError, match="either n_conv_per_stage convolutions or n_blocks_per_stage"):
        make(**kwargs)


def test_logits_of_every_resolution_read_both_branches():
    network = make(deep_supervision=True).double()
    x = torch.randn(2, 4, 8, 8, 8, dtype=torch.float64)
    logits, _ = two_branch_reference(network, x)
    torch.testing.assert_close(network(x).logits, logits)


def capture(network, module, x):
    """Output of one module for an input."""
    outputs = []
    handle = module.register_forward_hook(lambda _, __, output: outputs.append(output.detach().clone()))
    network.eval()
    with torch.no_grad():
        network(x)
    handle.remove()
    return outputs[0]


def changed_branches(network, module, channel):
    """Which branches' parts of a module's output change with one input channel."""
    x = torch.randn(1, network.encoder[0][0].input_channels, 8, 8, 8)
    other = x.clone()
    other[:, channel] += torch.randn(8, 8, 8)
    parts = zip(
        capture(network, module, x).chunk(network.num_branches, 1),
        capture(network, module, other).chunk(network.num_branches, 1),
        strict=True,
    )
    return [not torch.equal(a, b) for a, b in parts]


def test_first_layer_sees_only_its_own_modalities():
    network = make()
    assert changed_branches(network, network.encoder[0][0], channel=3) == [False, True]
    assert changed_branches(network, network.encoder[0][0], channel=0) == [True, False]


def test_second_layer_of_the_first_block_sees_both_branches():
    network = make()
    assert changed_branches(network, network.encoder[0][2], channel=3) == [True, True]


def test_skip_of_one_branch_reaches_the_decoder_of_the_other():
    network = make()
    x = torch.randn(1, 8, 8, 8, 8)
    x.requires_grad_()
    merged = network.skip_convs[-1](x)  # x: full-resolution skips [A, B]
    merged[:, 4:].sum().backward()  # decoder of branch B
    assert x.grad[:, :4].abs().sum() > 0


@pytest.mark.parametrize("kind", ["upsamplings", "own_convs", "later_convs"])
def test_upsampling_and_own_convolutions_do_not_mix_branches(kind):
    network = make()
    module = getattr(network, kind)[-1]
    width = 8 if kind == "upsamplings" else 4
    x = torch.randn(1, 2 * width, 4, 4, 4, requires_grad=True)
    output = module(x)
    output[:, : output.shape[1] // 2].sum().backward()  # branch A's half
    assert x.grad[:, :width].abs().sum() > 0
    assert x.grad[:, width:].abs().sum() == 0


def test_classifier_reads_the_features_of_both_branches():
    network = make()
    assert all(layer.in_channels == 2 * width for layer, width in zip(network.classifiers, (8, 4), strict=True))


def test_branch_classifier_reads_the_last_features_of_its_branch_alone():
    network = make(branch_classifiers=True)
    output = network(torch.randn(2, 4, 8, 8, 8))
    state = network.state_dict()
    for m, features in enumerate(output.auxiliary.features):
        weight, bias = (state[f"branch_classifiers.convs.{m}.{name}"] for name in ("weight", "bias"))
        torch.testing.assert_close(output.auxiliary.branch_logits[m], F.conv3d(features, weight, bias))
    assert len(output.auxiliary.branch_logits) == 2


def test_branch_classifiers_are_off_by_default_and_leave_predictions_alone():
    plain, network = make(), make(branch_classifiers=True)
    slim = make(branch_classifiers=True, inference_only=True)
    assert plain(torch.randn(1, 4, 8, 8, 8)).auxiliary.branch_logits == ()
    kept = {k: v for k, v in network.state_dict().items() if not k.startswith(ModalityPairingUNet.training_only)}
    assert kept.keys() == plain.state_dict().keys() == slim.state_dict().keys()
    slim.load_state_dict(kept)
    ran = []
    network.branch_classifiers.register_forward_hook(lambda *_: ran.append(True))
    x = torch.randn(1, 4, 8, 8, 8)
    assert torch.equal(network.eval()(x), slim.eval()(x))
    assert not ran


def test_parameter_count_by_hand():
    # 3 stages of 4, 8, 16 features a branch, 4 channels in groups of 2, 3 classes; k = 27; joint widths 8, 16, 32
    # encoder: first 2*(2*4*k + 4); then joint convolutions 8>8, 8>16, 16>16, 16>32, 32>32 with bias
    # norms of the 6 encoder layers: 2*(8 + 8 + 16 + 16 + 32 + 32)
    k = 27
    encoder = 2 * (2 * 4 * k + 4) + sum(i * o * k + o for i, o in ((8, 8), (8, 16), (16, 16), (16, 32), (32, 32)))
    encoder += 2 * (8 + 8 + 16 + 16 + 32 + 32)
    # a decoder stage from c2 to c features a branch: upsampling 2*(c2*c*8 + c), own part 2*c*c*k, skips 2c*2c*k + 2c,
    # second convolution 2*(c*c*k + c), two norms 2*2*2c, classifier 2c*3 + 3
    decoder = sum(
        2 * (2 * c * c * 8 + c) + 2 * c * c * k + 4 * c * c * k + 2 * c + 2 * (c * c * k + c) + 8 * c + 6 * c + 3
        for c in (8, 4)
    )
    assert sum(p.numel() for p in make().parameters()) == encoder + decoder


@pytest.mark.parametrize("groups", [(A, B), ([0, 1], [2], [3])], ids=["two branches", "three branches"])
def test_parts_of_the_decoders_first_convolution_are_initialized_as_one(groups):
    network = make(groups, base=16)
    torch.manual_seed(1)
    network.apply(network.initialize)
    kernel = 27
    for level, width in enumerate((32, 16)):
        # He for leaky ReLU: sqrt(2 / (1 + slope²) / inputs); Eq. 3 convolves x and one skip a branch
        together = (2 / (1 + 1e-4) / ((len(groups) + 1) * width * kernel)) ** 0.5
        alone = (2 / (1 + 1e-4) / (width * kernel)) ** 0.5
        parts = [conv.weight for conv in network.own_convs[level].convs]
        parts += network.skip_convs[level].weight.chunk(len(groups))
        assert [part.std().item() for part in parts] == pytest.approx([together] * len(parts), rel=0.03)
        assert network.later_convs[level][0].convs[0].weight.std().item() == pytest.approx(alone, rel=0.03)
        drawn = torch.cat([part.flatten() for part in parts])
        assert drawn.unique().numel() > 0.99 * drawn.numel()  # no branch repeats another's draw
    assert not network.skip_convs[0].bias.any()


def test_width_of_a_branch_is_the_width_of_the_plans():
    features = make(base=8)(torch.randn(1, 4, 8, 8, 8)).auxiliary.features
    assert [tuple(x.shape) for x in features] == [(1, 8, 8, 8, 8)] * 2


@pytest.mark.parametrize(
    ("groups", "channels", "shape", "kwargs"),
    [
        (([0], [1]), 2, (8, 16), {"dimension": 2}),
        (([0, 1], [2], [3]), 4, (8, 8, 8), {}),
        (([2], [0, 1]), 3, (4, 8, 16), {"strides": [1, [1, 2, 2], 2], "kernels": [[1, 3, 3], 3, [3, 3, 3]]}),
        (([0], [1]), 5, (8, 8, 8), {"deep_supervision": True}),
        (([0], [1]), 2, (8, 8), {"dimension": 2, "norm_op": None, "dropout_op": nn.Dropout2d, "conv_bias": False}),
    ],
    ids=["2d", "three branches", "anisotropic, unequal groups", "cascade channels", "dropout, no norm, no bias"],
)
def test_output_shapes(groups, channels, shape, kwargs):
    network = make(groups, channels, **kwargs)
    output = network(torch.randn(2, channels, *shape))
    assert isinstance(output, NetworkOutput)
    assert len(output.auxiliary.features) == len(groups)
    network.eval()
    logits = network(torch.randn(2, channels, *shape))
    if network.deep_supervision:
        assert [tuple(x.shape) for x in logits] == [(2, 3, *shape), (2, 3, *(s // 2 for s in shape))]
    else:
        assert logits.shape == (2, 3, *shape)


def test_channels_in_no_group_belong_to_every_branch():
    network = make(([0], [1]), input_channels=3)
    assert changed_branches(network, network.encoder[0][0], channel=2) == [True, True]


@pytest.mark.parametrize("groups", [([0, 1],), ([0], []), ([0], [4]), ([0, 1], [1])])
def test_bad_groups_raise(groups):
    with pytest.raises(ValueError, match="modality_groups"):
        make(groups)


def test_wrong_number_of_stage_entries_raises():
    with pytest.raises(ValueError, match="one entry for each of 3 stages"):
        make(strides=[1, 2])


def test_half_precision_autocast_gives_finite_logits_and_gradients(native_convolutions):
    network = make()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(1e3 * torch.randn(1, 4, 8, 8, 8))
    output.logits.float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)
