"""BiFPNet against a literal reading of Sec. 2.1, Table 1 and EfficientDet's layer."""

import pytest
import torch
import torch.nn.functional as F
from literal import State, conv1, conv3, doubled, group_norm, image, slice_classifier, with_random_weights
from torch import Tensor, nn

from nnunet_ext.architectures import BiFPNet, GroupNorm

SCALES = 3


def network() -> BiFPNet:
    result = BiFPNet(
        2,
        SCALES,
        [8, 16, 32],
        nn.Conv3d,
        [[3, 3, 3]] * SCALES,
        [[2, 2, 2]] * SCALES,
        num_classes=3,
        regions=True,
        slice_axis=0,
        pyramid_features=8,
        classifier_features=8,
        norm_op=GroupNorm,
        lstm_dropout=0.0,
    )
    with_random_weights(result)
    with torch.no_grad():
        for name, parameter in result.named_parameters():
            if name.endswith("weights"):
                parameter.abs_().add_(0.1)  # of every map fused, some is seen
    return result


def encoder_block(state: State, name: str, x: Tensor) -> Tensor:
    """A row of Table 1: (conv3 stride2, GN, ReLU, conv3 stride1, GN, ReLU) + conv3 stride2; without dropout."""
    y = F.relu(group_norm(state, f"{name}.layers.1", conv3(state, f"{name}.layers.0", x, stride=2)))
    y = F.relu(group_norm(state, f"{name}.layers.4", conv3(state, f"{name}.layers.3", y)))
    return y + conv3(state, f"{name}.residual", x, stride=2)


def fusion(state: State, name: str, maps: list[Tensor]) -> Tensor:
    """EfficientDet's node: weighted mean, ReLU, depthwise convolution, pointwise convolution, norm."""
    weights = F.relu(state[f"{name}.weights"])
    fused = sum(weight * x for weight, x in zip(weights, maps, strict=True)) / (weights.sum() + 1e-4)
    depthwise = state[f"{name}.conv.1.weight"]
    y = F.conv3d(F.relu(fused), depthwise, padding=1, groups=len(depthwise))
    return group_norm(state, f"{name}.conv.3", conv1(state, f"{name}.conv.2", y))


def bifpn_layer(state: State, name: str, p1: Tensor, p2: Tensor, p3: Tensor) -> list[Tensor]:
    """Fig. 2 with three levels: nearest neighbours on the way down, max pooling on the way up."""

    def raised(x: Tensor) -> Tensor:
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)

    p2_middle = fusion(state, f"{name}.top_down.1", [p2, raised(p3)])
    p1_out = fusion(state, f"{name}.top_down.0", [p1, raised(p2_middle)])
    p2_out = fusion(state, f"{name}.bottom_up.0", [p2, p2_middle, F.max_pool3d(p1_out, 2)])
    p3_out = fusion(state, f"{name}.bottom_up.1", [p3, F.max_pool3d(p2_out, 2)])
    return [p1_out, p2_out, p3_out]


def literal_bifpn(state: State, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and slice logits."""
    pyramid, scale = [], x
    for level in range(SCALES):
        scale = encoder_block(state, f"encoder.{level}", scale)
        lateral = f"lateral.{level}"
        pyramid.append(group_norm(state, f"{lateral}.norm", conv1(state, f"{lateral}.conv", scale)))
    for layer in range(3):
        pyramid = bifpn_layer(state, f"pyramid.{layer}", *pyramid)

    def block(name: str, y: Tensor) -> Tensor:
        return F.relu(group_norm(state, f"{name}.norm", conv3(state, f"{name}.conv", y)))

    half_size = [block("decoder.0.blocks.0", pyramid[0])]
    for level in range(1, SCALES):
        y = pyramid[level]
        for repeat in range(level):  # up-sample block: convolution, norm, ReLU, then x2 trilinear
            y = doubled(block(f"decoder.{level}.blocks.{repeat}", y))
        half_size.append(y)
    features = torch.cat(half_size, 1)
    logits = doubled(conv1(state, "head", features))
    return logits, slice_classifier(state, "classifier.", features, 0, layers=2, half_resolution=True)


def test_bifpn_equals_its_literal_reading():
    bifpn, x = network(), image(2, 2, 8, 16, 24)
    output = bifpn.train()(x)
    logits, slice_logits = literal_bifpn(dict(bifpn.state_dict()), x)
    torch.testing.assert_close(output.logits, logits)
    torch.testing.assert_close(output.auxiliary.logits, slice_logits)


@pytest.mark.parametrize(("dropout", "rate"), [(None, 0.0), (nn.Dropout, 0.4)])
def test_bifpn_passes_its_dropout_to_encoder_and_lstm(dropout, rate):
    bifpn = BiFPNet(
        2, 2, [8, 16], nn.Conv3d, [[3] * 3] * 2, [[2] * 3] * 2, 3, regions=True, slice_axis=0,
        dropout_op=dropout, dropout_op_kwargs={"p": rate}, lstm_dropout=rate,
    )  # fmt: skip
    dropouts = [module.p for module in bifpn.encoder.modules() if isinstance(module, nn.Dropout)]
    assert dropouts == ([] if dropout is None else [rate] * 4)
    assert bifpn.classifier.lstm.dropout == rate
