"""nnU-Net's target decoded, and losses that nothing outside the mask reaches."""

import pytest
import torch

from nnunet_ext.architectures.slice_classifier import SliceOutput
from nnunet_ext.losses import (
    AutoencoderRegularizedLoss,
    FocalDiceLoss,
    FocalLoss,
    PlainDiceCrossEntropyLoss,
    SliceCrossEntropyLoss,
    SliceFocalLoss,
    SquaredDiceLoss,
)
from nnunet_ext.losses.target import TargetFormat, mean_of_counted, zero_uncounted

NAN, INFINITY = float("nan"), float("inf")
LABELS = torch.tensor([[[0, 1, 2, 9, 2]]])  # shape: (1, 1, 5)
REGIONS = torch.tensor([[[0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 0, 1, 0]]])  # shape: (1, 3, 5); last: to ignore


@pytest.mark.parametrize("dtype", [torch.int16, torch.int64, torch.float32])
def test_labels(dtype):
    form = TargetFormat(regions=False, ignore_label=9)
    target = LABELS.to(dtype)
    assert form.counted(target).tolist() == [[[True, True, True, False, True]]]
    assert form.labels(target).tolist() == [[0, 1, 2, 0, 2]]
    assert form.labels(target).dtype == torch.int64
    assert form.reference(target, 2).int().tolist() == [[[0, 1, 0, 0, 0], [0, 0, 1, 0, 1]]]


def test_the_ignore_label_is_no_class_even_where_a_class_has_its_number():
    form = TargetFormat(regions=False, ignore_label=2)
    assert form.reference(LABELS, 3).int().tolist() == [[[0, 1, 0, 0, 0], [0] * 5, [0] * 5]]


@pytest.mark.parametrize("dtype", [torch.bool, torch.int16, torch.float32])
def test_regions(dtype):
    form = TargetFormat(regions=True, ignore_label=4)
    target = REGIONS.to(dtype)
    assert form.counted(target).tolist() == [[[True, True, True, False, True]]]
    assert form.reference(target, 2).int().tolist() == [[[0, 1, 1, 0, 0], [0, 0, 1, 0, 1]]]


@pytest.mark.parametrize(("regions", "target"), [(False, LABELS), (True, REGIONS)])
def test_without_ignore_label_everything_counts(regions, target):
    form = TargetFormat(regions)
    assert form.counted(target) is None
    assert form.reference(target, 2).shape == (1, 2, 5)
    assert TargetFormat(False).labels(LABELS).tolist() == [[0, 1, 2, 9, 2]]


def test_what_does_not_count_leaves_no_trace_in_mean_and_gradient():
    values = torch.tensor([[[1.0, NAN, 4.0, INFINITY]]], requires_grad=True)
    counted = torch.tensor([[[True, False, True, False]]])
    assert zero_uncounted(values, counted).tolist() == [[[1, 0, 4, 0]]]
    mean = mean_of_counted(values.expand(1, 3, 4), counted)
    mean.backward()
    assert mean.item() == 2.5
    assert values.grad.tolist() == [[[0.5, 0, 0.5, 0]]]
    assert mean_of_counted(values, torch.zeros(1, 1, 4, dtype=torch.bool)).item() == 0
    assert mean_of_counted(values[..., ::2], None).item() == 2.5


@pytest.mark.parametrize("bad", [NAN, INFINITY, -INFINITY])
@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize(
    "loss_class",
    [AutoencoderRegularizedLoss, FocalDiceLoss, FocalLoss, PlainDiceCrossEntropyLoss, SquaredDiceLoss],
)
def test_loss_of_voxels_is_free_of_what_the_network_says_outside_the_mask(loss_class, regions, bad):
    loss_function = loss_class(regions=regions, ignore_label=9)
    target = (REGIONS if regions else LABELS)[..., None]
    plain = torch.randn(1, 2 if regions else 3, 5, 1, generator=torch.Generator().manual_seed(0))
    logits = plain.clone()
    logits[:, :, 3] = bad
    logits.requires_grad_()
    loss = loss_function(logits, target)
    loss.backward()
    torch.testing.assert_close(loss.detach(), loss_function(plain, target), rtol=0, atol=0)
    assert logits.grad.isfinite().all()
    assert not logits.grad[:, :, 3].any()
    logits.data[0, 0, 0] = NAN
    assert loss_function(logits, target).isnan()


@pytest.mark.parametrize("loss_class", [SliceFocalLoss, SliceCrossEntropyLoss])
def test_loss_of_slices_is_free_of_what_the_network_says_of_ignored_slices(loss_class):
    loss_function = loss_class(0, regions=False, ignore_label=9)
    target = LABELS[..., None, None]
    plain = torch.tensor([[[1.0, -1.0, 0.5, 0.0, 2.0]] * 2])  # shape: (1, 2, 5)
    slice_logits = plain.clone()
    slice_logits[:, :, 3] = INFINITY  # nan would be the whole classifier's, and is told
    slice_logits.requires_grad_()
    shown = torch.ones(1, 1, 5, dtype=torch.bool)
    loss = loss_function(SliceOutput(slice_logits, shown), target)
    loss.backward()
    torch.testing.assert_close(loss.detach(), loss_function(SliceOutput(plain, shown), target), rtol=0, atol=0)
    assert slice_logits.grad.isfinite().all()
    assert not slice_logits.grad[:, :, 3].any()
