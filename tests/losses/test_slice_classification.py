"""Slice labels from targets, and the losses of slice logits."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nnunet_ext.architectures import NetworkOutput, SliceOutput
from nnunet_ext.losses.composite import CompositeLoss
from nnunet_ext.losses.focal import FocalLoss
from nnunet_ext.losses.slice_classification import (
    FocalDiceLoss,
    SliceCrossEntropyLoss,
    SliceFocalLoss,
)
from nnunet_ext.losses.slice_classification import slice_labels as labels_of_slices
from nnunet_ext.losses.squared_dice import SquaredDiceLoss

IGNORE = 4


def label_volume() -> torch.Tensor:
    """Labels 0 to 3, and 4 as the ignore label, at a few voxels of ``(2, 1, 3, 4, 5)``."""
    target = torch.zeros(2, 1, 3, 4, 5, dtype=torch.int16)
    target[0, 0, 1, 2, 3] = 1
    target[0, 0, 2, 0, 0] = 3
    target[1, 0, 2] = IGNORE
    target[1, 0, 0, 0, 0] = 2
    return target


def slice_labels(target, num_classes, axis, regions, ignore_label=None):
    """Labels where no slice is padding."""
    slices = 1 if axis is None else target.shape[2 + axis]
    content = torch.ones(len(target), 1, slices, dtype=torch.bool)
    return labels_of_slices(target, content, num_classes, axis, regions, ignore_label)


def no_padding(slice_logits: torch.Tensor) -> SliceOutput:
    return SliceOutput(slice_logits, torch.ones_like(slice_logits[:, :1], dtype=torch.bool))


def reference_labels(target: np.ndarray, classes: list[tuple[int, ...]], axis: int) -> tuple[list, list]:
    """Independent loop over samples and slices."""
    positive, counted = [], []
    for sample in target[:, 0]:
        slices = [np.take(sample, index, axis) for index in range(sample.shape[axis])]
        positive.append([[bool(np.isin(one, members).any()) for one in slices] for members in classes])
        counted.append([[bool((one != IGNORE).any()) for one in slices]])
    return positive, counted


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_of_plain_labels(axis):
    target = label_volume()
    labels = slice_labels(target, 3, axis, regions=False, ignore_label=IGNORE)
    positive, counted = reference_labels(target.numpy(), [(1,), (2,), (3,)], axis)
    assert labels.positive.tolist() == positive
    assert labels.counted.tolist() == counted


@pytest.mark.parametrize("dtype", [torch.bool, torch.int16, torch.float32])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_of_regions(axis, dtype):
    target = label_volume()
    members = [(1, 2, 3), (1, 3), (3,)]
    regions = [torch.isin(target, torch.tensor(one)) for one in [*members, (IGNORE,)]]
    labels = slice_labels(torch.cat(regions, 1).to(dtype), 3, axis, regions=True, ignore_label=IGNORE)
    positive, counted = reference_labels(target.numpy(), members, axis)
    assert labels.positive.tolist() == positive
    assert labels.counted.tolist() == counted


def test_a_region_under_ignored_voxels_does_not_count():
    target = torch.ones(1, 2, 3, 4, 4)
    target[:, 1, 0] = 0  # only slice 0 is annotated
    labels = slice_labels(target, 1, 0, regions=True, ignore_label=IGNORE)
    assert labels.positive.tolist() == [[[True, False, False]]]
    assert labels.counted.tolist() == [[[True, False, False]]]


def test_2d_target_is_one_slice():
    target = torch.zeros(2, 1, 4, 5, dtype=torch.long)
    target[1, 0, 2, 2] = 2
    labels = slice_labels(target, 2, None, regions=False)
    assert labels.positive.tolist() == [[[False], [False]], [[False], [True]]]
    assert labels.counted.all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_mirrored_target_mirrors_the_labels_along_the_slice_axis(axis):
    target = label_volume()
    labels = slice_labels(target, 3, 1, regions=False, ignore_label=IGNORE)
    mirrored = slice_labels(target.flip(2 + axis), 3, 1, regions=False, ignore_label=IGNORE)
    for one, other in zip(labels, mirrored, strict=True):
        assert torch.equal(other, one.flip(2) if axis == 1 else one)


def test_cross_entropy_leaves_fully_ignored_slices_out():
    target, logits = label_volume(), torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    loss = SliceCrossEntropyLoss(0, regions=False, ignore_label=IGNORE)(no_padding(logits), target)
    positive, counted = slice_labels(target, 3, 0, regions=False, ignore_label=IGNORE)
    kept = counted.expand_as(positive)
    torch.testing.assert_close(loss, F.binary_cross_entropy_with_logits(logits[kept], positive[kept].double()))
    loss.backward()
    assert not logits.grad[1, :, 2].any()
    assert logits.grad[kept].all()


def test_focal_loss_of_slices_is_the_voxel_loss_on_slice_labels():
    target, logits = label_volume(), torch.randn(2, 3, 3)
    positive = slice_labels(target, 3, 0, regions=False).positive
    expected = FocalLoss(regions=True, alpha=0.4, gamma=1)(logits, positive)
    torch.testing.assert_close(
        SliceFocalLoss(0, regions=False, alpha=0.4, gamma=1)(no_padding(logits), target), expected
    )


@pytest.mark.parametrize("loss_class", [SliceFocalLoss, SliceCrossEntropyLoss])
def test_only_ignored_slices_cost_nothing(loss_class):
    logits = torch.randn(1, 3, 3, requires_grad=True)
    target = torch.full((1, 1, 3, 4, 4), IGNORE)
    loss = loss_class(0, regions=False, ignore_label=IGNORE)(no_padding(logits), target)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("loss_class", [SliceFocalLoss, SliceCrossEntropyLoss])
def test_extreme_half_precision_slice_logits_are_finite(loss_class):
    logits = torch.tensor([100.0, -100.0, 0.0], dtype=torch.float16).repeat(2, 3, 1).requires_grad_()
    with torch.autocast("cpu", dtype=torch.float16):
        loss = loss_class(0, regions=False)(no_padding(logits), label_volume())
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("loss_class", [SliceFocalLoss, SliceCrossEntropyLoss])
def test_gradient_matches_finite_differences(loss_class):
    logits = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    loss = loss_class(0, regions=False, ignore_label=IGNORE)
    assert torch.autograd.gradcheck(lambda values: loss(no_padding(values), label_volume()), (logits,))


def test_segmentation_loss_is_focal_plus_mean_dice():
    logits, target = torch.randn(2, 3, 4, 4, 4), torch.rand(2, 3, 4, 4, 4) > 0.5
    expected = FocalLoss(regions=True)(logits, target) + SquaredDiceLoss(True, reduction="mean")(logits, target)
    torch.testing.assert_close(FocalDiceLoss(regions=True)(logits, target), expected)


def test_segmentation_loss_of_heads_is_the_mean_of_their_losses():
    heads, target = list(torch.randn(4, 2, 3, 4, 4)), torch.rand(2, 3, 4, 4) > 0.5
    loss = FocalDiceLoss(regions=True)
    torch.testing.assert_close(loss(heads, target), sum(loss(head, target) for head in heads) / 4)


def test_total_is_the_plain_sum_of_equation_3():
    logits, slice_logits = torch.randn(2, 4, 3, 4, 5), torch.randn(2, 3, 3)
    target = label_volume().clamp(max=3)
    parts = {name: loss(0, False) for name, loss in (("focal", SliceFocalLoss), ("entropy", SliceCrossEntropyLoss))}
    total = CompositeLoss(FocalDiceLoss(False), {name: (1.0, part) for name, part in parts.items()})
    expected = FocalDiceLoss(False)(logits, target) + sum(
        part(no_padding(slice_logits), target) for part in parts.values()
    )
    torch.testing.assert_close(total(NetworkOutput(logits, no_padding(slice_logits)), target), expected)


@pytest.mark.parametrize("ignore_label", [None, IGNORE])
def test_slices_of_padding_do_not_count_unless_they_hold_a_region(ignore_label):
    target = torch.zeros(1, 1, 5, 2, 2)
    target[0, 0, 1, 0, 0] = 2
    target[0, 0, 3] = 0 if ignore_label is None else IGNORE
    content = torch.tensor([[[False, False, True, True, False]]])
    labels = labels_of_slices(target, content, 3, 0, regions=False, ignore_label=ignore_label)
    assert labels.counted.tolist() == [[[False, True, True, ignore_label is None, False]]]
    assert labels.positive[0].any(0).tolist() == [False, True, False, False, False]


@pytest.mark.parametrize("loss_class", [SliceFocalLoss, SliceCrossEntropyLoss])
@pytest.mark.parametrize("ignore_label", [None, IGNORE])
def test_the_loss_is_that_of_the_slices_that_are_not_padding(loss_class, ignore_label):
    target, logits = torch.zeros(1, 1, 5, 2, 2), torch.randn(1, 3, 5, requires_grad=True)
    target[0, 0, 2, 0, 0] = 1
    content = torch.tensor([[[False, True, True, False, False]]])
    loss = loss_class(0, regions=False, ignore_label=ignore_label)
    value = loss(SliceOutput(logits, content), target)
    torch.testing.assert_close(value, loss(no_padding(logits[:, :, 1:3]), target[:, :, 1:3]))
    value.backward()
    assert logits.grad.any(1).tolist() == [[False, True, True, False, False]]


@pytest.mark.parametrize("loss_class", [SliceFocalLoss, SliceCrossEntropyLoss])
@pytest.mark.parametrize("index", [0, 2], ids=["in a slice that counts", "in padding"])
def test_nan_of_the_classifier_makes_the_loss_nan(loss_class, index):
    logits = torch.zeros(1, 3, 3)
    logits[0, 1, index] = torch.nan
    output = SliceOutput(logits, torch.tensor([[[True, True, False]]]))
    assert loss_class(0, regions=False)(output, torch.zeros(1, 1, 3, 2, 2)).isnan()
