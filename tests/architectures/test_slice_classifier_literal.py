"""The slice classifier against Tables 2 and 3 read literally."""

import pytest
import torch
from literal import image, slice_classifier, with_random_weights
from torch import nn

from nnunet_ext.architectures import GroupNorm, SliceClassifier


@pytest.mark.parametrize("slice_axis", [0, 1, 2])
@pytest.mark.parametrize(("layers", "half_resolution"), [(2, True), (3, False)], ids=["table 2", "table 3"])
def test_slice_logits_equal_the_literal_table(layers, half_resolution, slice_axis):
    classifier = SliceClassifier(
        4,
        8,
        3,
        nn.Conv3d,
        3,
        slice_axis,
        slice_stride=2 if half_resolution else 1,
        lstm_layers=layers,
        conv_bias=True,
        norm_op=GroupNorm,
    )
    with_random_weights(classifier).eval()
    features = image(2, 4, 3, 4, 5)
    expected = slice_classifier(dict(classifier.state_dict()), "", features, slice_axis, layers, half_resolution)
    actual = classifier(features)
    assert actual.shape == (2, 3, (3, 4, 5)[slice_axis] * (2 if half_resolution else 1))
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_lstm_drops_between_its_layers_with_the_rate_asked_for_and_in_training_only(rate):
    classifier = SliceClassifier(4, 64, 3, nn.Conv3d, 3, 0, lstm_layers=2, lstm_dropout=rate, norm_op=GroupNorm)
    classifier.double()
    features = image(1, 4, 6, 2, 2)
    assert torch.equal(classifier.eval()(features), classifier(features))
    torch.manual_seed(0)
    assert torch.equal(classifier.train()(features), classifier(features)) is (rate == 0)
    assert classifier.lstm.dropout == rate
