"""Slice classifier: Tables 2 and 3, and the truth table of the gate."""

import itertools

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from nnunet_ext.architectures import GroupNorm, SliceClassifier
from nnunet_ext.architectures.slice_classifier import FIRST_RULE, TODAYS_RULE, gate_logits, slices_with_content


def classifier(input_channels=4, features=8, num_classes=3, conv_op=nn.Conv3d, slice_axis=2, **options):
    return SliceClassifier(input_channels, features, num_classes, conv_op, 3, slice_axis, norm_op=GroupNorm, **options)


@pytest.mark.parametrize(
    ("shape", "features", "slice_stride", "lstm_layers", "after_pooling", "after_lstm"),
    [
        ((1, 1024, 64, 64, 48), 512, 2, 2, (1, 512, 1, 1, 96), (1, 96, 1024)),  # Table 2
        ((1, 128, 128, 128, 128), 256, 1, 3, (1, 256, 1, 1, 128), (1, 128, 512)),  # Table 3
    ],
)
def test_output_sizes_match_tables_2_and_3(shape, features, slice_stride, lstm_layers, after_pooling, after_lstm):
    with FakeTensorMode():  # shapes of the published sizes without their memory
        head = classifier(shape[1], features, 3, slice_stride=slice_stride, lstm_layers=lstm_layers)
        seen = {}
        head.conv.register_forward_hook(lambda module, inputs, output: seen.update(conv=output.shape))
        head.upsample.register_forward_hook(lambda module, inputs, output: seen.update(upsample=output.shape))
        head.lstm.register_forward_hook(lambda module, inputs, output: seen.update(lstm=output[0].shape))
        result = head(torch.empty(shape))
    assert seen["conv"] == (1, features, *shape[2:])
    assert seen["upsample"] == after_pooling
    assert seen["lstm"] == after_lstm
    assert head.lstm.num_layers == lstm_layers
    assert result.shape == (1, 3, after_lstm[1])


@pytest.mark.parametrize("slice_axis", [0, 1, 2])
def test_each_slice_has_a_logit_along_the_slice_axis(slice_axis):
    result = classifier(slice_axis=slice_axis)(torch.randn(2, 4, 3, 5, 7))
    assert result.shape == (2, 3, (3, 5, 7)[slice_axis])
    assert result.dtype == torch.float32


def test_2d_input_is_one_slice():
    assert classifier(conv_op=nn.Conv2d, slice_axis=None)(torch.randn(2, 4, 6, 5)).shape == (2, 3, 1)


def test_without_slice_stride_there_is_no_transposed_convolution():
    assert not any(isinstance(module, nn.ConvTranspose3d) for module in classifier(slice_stride=1).modules())


def test_in_plane_taps_of_table_2s_transposed_convolution_would_change_nothing():
    cubic = nn.ConvTranspose3d(8, 8, 3, (1, 1, 2), padding=1, output_padding=(0, 0, 1))
    along = classifier(slice_stride=2).upsample[0]
    with torch.no_grad():
        along.weight.copy_(cubic.weight[:, :, 1:2, 1:2])
    pooled = torch.randn(2, 8, 1, 1, 6)
    expected = cubic(pooled) - cubic.bias.view(1, -1, 1, 1, 1)
    torch.testing.assert_close(along(pooled), expected)


def test_pooling_before_the_relu_would_change_the_logits():
    head = classifier().eval()
    x = torch.randn(1, 4, 6, 6, 5)
    early = head.conv.norm(head.conv.conv(x)).mean((2, 3)).relu()
    assert not torch.allclose(early, head.conv(x).mean((2, 3)), atol=1e-3)


@pytest.mark.parametrize("slice_axis", [3, -1])
def test_slice_axis_that_does_not_exist_raises(slice_axis):
    with pytest.raises(ValueError, match="slice_axis is 0 to 2"):
        classifier(slice_axis=slice_axis)


def test_autocast_leaves_slice_logits_in_float32():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert classifier(slice_stride=2)(torch.randn(1, 4, 6, 6, 5)).dtype == torch.float32


RULES = pytest.mark.parametrize("rule", [TODAYS_RULE, FIRST_RULE], ids=["today's", "first"])
LOGITS = (-100.0, -1.5, -1e-3, 0.0, 1e-3, 2.0, 100.0)


@RULES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("slice_axis", [0, 1, 2, None])
def test_region_voxel_is_predicted_exactly_when_voxel_and_slice_are(dtype, slice_axis, rule):
    for z, s in itertools.product(LOGITS, LOGITS):
        logits = torch.full((1, 1, 2, 2, 2), z, dtype=dtype)
        slice_logits = torch.full((1, 1, 1 if slice_axis is None else 2), s)
        gated = gate_logits(logits, slice_logits, slice_axis, regions=True, rule=rule)
        assert gated.dtype == dtype
        assert bool((gated.float().sigmoid() > 0.5).all()) == (z > 0 and s > 0), (z, s)
        assert bool((gated.float().sigmoid() > 0.5).any()) == (z > 0 and s > 0), (z, s)


@RULES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("background", [-3.0, 0.0, 3.0])
def test_class_is_predicted_exactly_when_voxel_and_slice_are(dtype, background, rule):
    for z1, z2, s1, s2 in itertools.product(LOGITS, (-2.0, 4.0), LOGITS, (-5.0, 5.0)):
        logits = torch.tensor([background, z1, z2], dtype=dtype).view(1, 3, 1, 1)
        gated = gate_logits(logits, torch.tensor([s1, s2]).view(1, 2, 1), None, regions=False, rule=rule)
        # The largest among the background and the classes whose slice is positive; the background wins ties.
        candidates = [(float(logits[0, 0]), 0)]
        candidates += [(float(logits[0, c]), -c) for c, s in ((1, s1), (2, s2)) if s > 0]
        assert gated.argmax(1).item() == -max(candidates)[1], (z1, z2, s1, s2)


@pytest.mark.parametrize(("regions", "rule"), [(True, FIRST_RULE), (False, FIRST_RULE), (False, TODAYS_RULE)])
def test_only_slices_called_negative_change(regions, rule):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, 6, generator=generator, dtype=torch.float32).half()
    slice_logits = torch.randn(2, 3 if regions else 2, 5, generator=generator)
    gated = gate_logits(logits, slice_logits, 1, regions, rule)
    classes = slice(None) if regions else slice(1, None)
    accepted = (slice_logits > 0)[:, :, None, :, None].expand_as(logits[:, classes])
    assert torch.equal(gated[:, classes][accepted], logits[:, classes][accepted])
    assert (gated[:, classes][~accepted] <= logits[:, classes][~accepted]).all()
    assert (gated != logits).any()
    if not regions:
        assert torch.equal(gated[:, 0], logits[:, 0])


@RULES
@pytest.mark.parametrize("regions", [True, False])
@pytest.mark.parametrize("slice_dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_gives_no_infinities(regions, slice_dtype, rule):
    lowest = torch.finfo(torch.float16).min
    logits = torch.full((1, 2, 2, 2), lowest, dtype=torch.float16)
    logits[:, :, 0] = -lowest
    slice_logits = torch.full((1, 2 if regions else 1, 2), torch.finfo(slice_dtype).min, dtype=slice_dtype)
    assert gate_logits(logits, slice_logits, 0, regions, rule).isfinite().all()


@RULES
def test_rejected_logits_stay_finite_in_nnunets_weighted_float16_sum(rule):
    gated = gate_logits(torch.zeros(1, 1, 2, 2).half(), torch.full((1, 1, 1), -1e30), None, regions=True, rule=rule)
    # 8 mirrored passes, weighted by 10 at the centre of a tile
    assert (sum([gated] * 8) * 10).isfinite().all()


def mean_of_folds(voxel: float, slice_logits: tuple[float, ...], regions: bool) -> float:
    """One voxel after the gate of each fold, averaged; with plain labels the background is 0."""
    logits = torch.tensor([0.0, voxel]).view(1, 2, 1, 1)[:, int(regions) :]
    folds = [gate_logits(logits, torch.tensor(s).view(1, 1, 1), None, regions) for s in slice_logits]
    return torch.stack(folds).mean(0)[0, -1].item()


@pytest.mark.parametrize("regions", [True, False])
def test_a_fold_that_rejects_firmly_does_not_outvote_four_that_accept(regions):
    mean = mean_of_folds(5.0, (4.0, 4.0, 4.0, 4.0, -1000.0), regions)
    assert mean == pytest.approx((4 * (4 if regions else 5) - 10) / 5)
    assert mean > 0


def test_a_fold_that_hardly_accepts_does_not_outvote_four_that_hardly_reject():
    assert mean_of_folds(5.0, (0.2, -0.1, -0.1, -0.1, -0.1), regions=True) == pytest.approx((0.2 - 0.4) / 5)


@pytest.mark.parametrize("regions", [True, False])
def test_nan_of_the_classifier_is_an_error(regions):
    slice_logits = torch.zeros(1, 2, 4)
    slice_logits[0, 1, 3] = torch.nan
    with pytest.raises(FloatingPointError, match="slice classifier gave nan"):
        gate_logits(torch.zeros(1, 2 if regions else 3, 4, 5), slice_logits, 0, regions)


@pytest.mark.parametrize("slice_axis", [0, 1, 2])
def test_slices_of_padding_have_no_content(slice_axis):
    images = torch.randn(2, 3, 4, 5, 6)
    padded = images.movedim(2 + slice_axis, 2)  # a view
    padded[0, :, 0] = 0  # as nnU-Net pads
    padded[1, :, -1] = torch.tensor([0.3, -0.1, 0.0]).view(3, 1, 1)  # shifted, each channel by its own number
    padded[1, :2, 1] = 0  # one channel still shows something
    expected = torch.ones(2, 1, images.shape[2 + slice_axis], dtype=torch.bool)
    expected[0, 0, 0] = expected[1, 0, -1] = False
    assert torch.equal(slices_with_content(images, slice_axis), expected)


def test_a_2d_image_of_padding_has_no_content():
    images = torch.randn(3, 2, 4, 5)
    images[1] = 0
    assert slices_with_content(images, None).tolist() == [[[True]], [[False]], [[True]]]


def test_transposed_convolution_is_cut_to_the_slices_of_the_image():
    head, features = classifier(slice_stride=2), torch.randn(1, 4, 3, 3, 3)
    entering = []
    head.lstm.register_forward_pre_hook(lambda module, inputs: entering.append(inputs[0]))
    assert head(features, 5).shape == (1, 3, 5)
    assert head(features).shape == (1, 3, 6)
    assert torch.equal(entering[0], entering[1][:, :5])
