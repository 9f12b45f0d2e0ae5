"""NestedUNet against a literal reading of Sec. 2.2 and Fig. 3."""

import torch
import torch.nn.functional as F
from literal import State, conv1, conv3, doubled, group_norm, image, slice_classifier, with_random_weights
from torch import Tensor, nn

from nnunet_ext.architectures import GroupNorm, NestedUNet

DEPTH = 4


def network(**options) -> NestedUNet:
    result = NestedUNet(
        2,
        DEPTH,
        [8, 16, 24, 32],
        nn.Conv3d,
        [[3, 3, 3]] * DEPTH,
        [[1, 1, 1]] + [[2, 2, 2]] * (DEPTH - 1),
        num_classes=3,
        regions=True,
        slice_axis=1,
        classifier_features=8,
        norm_op=GroupNorm,
        lstm_dropout=0.0,
        **options,
    )
    return with_random_weights(result)


def node(state: State, level: int, column: int, inputs: list[Tensor]) -> Tensor:
    """X(level, column): concatenation, then twice convolution, norm and ReLU."""
    x = torch.cat(inputs, 1)
    for repeat in range(2):
        name = f"nodes.x{level}_{column}.convs.{repeat}"
        x = F.relu(group_norm(state, f"{name}.norm", conv3(state, f"{name}.conv", x)))
    return x


def literal_nested_unet(state: State, image: Tensor) -> tuple[list[Tensor], Tensor]:
    """Logits of each head and slice logits."""
    x: dict[tuple[int, int], Tensor] = {(0, 0): node(state, 0, 0, [image])}
    for level in range(1, DEPTH):  # the backbone: max pooling
        x[level, 0] = node(state, level, 0, [F.max_pool3d(x[level - 1, 0], 2)])
    for column in range(1, DEPTH):  # skip pathways: all earlier nodes of the level and the raised one from below
        for level in range(DEPTH - column):
            skips = [x[level, earlier] for earlier in range(column)]
            x[level, column] = node(state, level, column, [*skips, doubled(x[level + 1, column - 1])])
    top = [x[0, column] for column in range(1, DEPTH)]
    heads = [conv1(state, f"heads.{index}", features) for index, features in enumerate(top)]
    slice_logits = slice_classifier(state, "classifier.", torch.cat(top, 1), 1, layers=3, half_resolution=False)
    return heads, slice_logits


def test_nested_unet_equals_its_literal_reading():
    nested, x = network(), image(1, 2, 8, 8, 16)
    output = nested.train()(x)
    heads, slice_logits = literal_nested_unet(dict(nested.state_dict()), x)
    torch.testing.assert_close(output.logits, heads)
    torch.testing.assert_close(output.auxiliary.logits, slice_logits)


def test_nested_unet_predicts_the_average_of_all_heads():
    nested, x = network(gate_slices=False), image(1, 2, 8, 8, 16)
    heads, _ = literal_nested_unet(dict(nested.state_dict()), x)
    torch.testing.assert_close(nested.eval()(x), torch.stack(heads).mean(0))


def test_nested_unet_passes_its_rate_of_dropout_to_the_lstm():
    assert (
        NestedUNet(
            2, 2, [8, 16], nn.Conv3d, [[3] * 3] * 2, [[1] * 3, [2] * 3], 3, regions=True, slice_axis=0, lstm_dropout=0.4
        ).classifier.lstm.dropout
        == 0.4
    )
