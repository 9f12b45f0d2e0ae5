"""The loss of Eq. 1 against hand-computed values and NumPy."""

import math

import numpy as np
import pytest
import torch

from nnunet_ext.losses import PlainDiceCrossEntropyLoss
from nnunet_ext.losses import plain_dice_cross_entropy as module
from nnunet_ext.losses.plain_dice_cross_entropy import plain_dice_loss

SURE = 40.0


def labels_as_logits(labels, n_classes):
    """Logits that are sure of these labels, (B, C, *spatial)."""
    return SURE * torch.nn.functional.one_hot(labels[:, 0], n_classes).movedim(-1, 1).float()


def disc(radius, size=96):
    """A mass of this radius in the middle of an image, (1, size, size)."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return torch.from_numpy(y**2 + x**2 <= radius**2)[None].float()


def reference(logits, target, mask, regions, batch_dice=False):
    """Independent NumPy loss of one-hot targets (B, C, N) and a mask (B, N), Eq. 1."""
    if regions:
        p = 1 / (1 + np.exp(-logits))
        entropy = -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean(1)
    else:
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        entropy = -(target * np.log(p)).sum(1)
        p, target = p[:, 1:], target[:, 1:]
    dice = []
    for images in [slice(None)] if batch_dice else [slice(b, b + 1) for b in range(len(p))]:
        for c in range(p.shape[1]):
            pc, yc = p[images, c][mask[images]], target[images, c][mask[images]]
            dice.append(1 - (2 * (pc * yc).sum() + 1) / (pc.sum() + yc.sum() + 1))
    return np.mean(dice) + entropy[mask].mean()


def test_plain_dice_of_a_hand_computed_example():
    # shape: (1, 1, 4); intersection 0.5 + 1, sums 2 and 2 -> 1 - (2 * 1.5 + 1) / (2 + 2 + 1)
    probabilities, target = torch.tensor([[[0.5, 1.0, 0.5, 0.0]]]), torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
    assert plain_dice_loss(probabilities, target).item() == pytest.approx(0.2)


def test_plain_dice_is_the_mean_over_images():
    # shape: (2, 1, 2); 1 - (2 * 2 + 1) / (2 + 2 + 1) = 0, and 1 - (0 + 1) / (0 + 1 + 1) = 1/2
    probabilities, target = torch.tensor([[[1.0, 1.0]], [[0.0, 0.0]]]), torch.tensor([[[1.0, 1.0]], [[1.0, 0.0]]])
    assert plain_dice_loss(probabilities, target).item() == pytest.approx(1 / 4)
    # all pixels together: 1 - (2 * 2 + 1) / (2 + 3 + 1)
    assert plain_dice_loss(probabilities, target, batch_dice=True).item() == pytest.approx(1 - 5 / 6)


def test_a_small_mass_counts_as_much_as_a_large_one():
    masses = torch.stack([disc(radius) for radius in (40, 20, 8, 4)])
    pixels = masses.sum((1, 2, 3))
    predicted = masses.clone()
    predicted[3] = 0
    missed = 1 - 1 / (pixels[3] + 1)
    assert plain_dice_loss(predicted, masses).item() == pytest.approx(missed.item() / 4)
    batch = plain_dice_loss(predicted, masses, batch_dice=True).item()
    assert batch == pytest.approx((pixels[3] / (2 * pixels.sum() - pixels[3] + 1)).item(), rel=1e-4)
    assert batch < 0.01


def test_only_sums_over_the_batch_are_summed_over_processes(monkeypatch):
    # as of two processes with this same image: twice each sum, so that epsilon weighs half
    monkeypatch.setattr(module, "sum_over_processes", lambda sums: 2 * sums)
    probabilities, target = torch.tensor([[[0.5, 0.0]]]), torch.tensor([[[1.0, 0.0]]])
    assert plain_dice_loss(probabilities, target).item() == pytest.approx(1 - 2 / 2.5)
    assert plain_dice_loss(probabilities, target, batch_dice=True).item() == pytest.approx(1 - 3 / 4)


def test_plain_dice_of_an_absent_class_predicted_nowhere_is_zero():
    assert plain_dice_loss(torch.zeros(2, 1, 8), torch.zeros(2, 1, 8)).item() == 0


def test_ideal_labels_cost_nothing():
    labels = torch.randint(0, 3, (2, 1, 4, 4, 4))
    assert PlainDiceCrossEntropyLoss()(labels_as_logits(labels, 3), labels).item() == pytest.approx(0, abs=1e-6)


def test_worst_labels_cost_dice_one_and_the_logit_difference():
    labels = torch.ones(1, 1, 100, 100, dtype=torch.long)
    loss = PlainDiceCrossEntropyLoss()(labels_as_logits(torch.zeros_like(labels), 2), labels)
    assert loss.item() == pytest.approx(1 - 1 / 10001 + SURE, rel=1e-5)


def test_undecided_logits_of_one_region():
    # p = 0.5 everywhere, y = 1 at half of 6 pixels: 1 - (2 * 1.5 + 1) / (3 + 3 + 1), and log 2
    target = torch.tensor([[[1, 1, 1, 0, 0, 0]]])
    loss = PlainDiceCrossEntropyLoss(regions=True)(torch.zeros(1, 1, 6), target)
    assert loss.item() == pytest.approx(3 / 7 + math.log(2))


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("ignore", [False, True])
def test_labels_agree_with_numpy(ignore, batch_dice):
    logits, labels = torch.randn(2, 3, 5, 4), torch.randint(0, 4 if ignore else 3, (2, 1, 5, 4))
    loss = PlainDiceCrossEntropyLoss(ignore_label=3 if ignore else None, batch_dice=batch_dice)(logits, labels.short())
    one_hot = np.eye(4)[labels[:, 0].reshape(2, -1)].transpose(0, 2, 1)[:, :3]
    mask = labels[:, 0].reshape(2, -1).numpy() != 3
    expected = reference(logits.double().reshape(2, 3, -1).numpy(), one_hot, mask, regions=False, batch_dice=batch_dice)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("kind", [torch.bool, torch.float32, torch.int16])
@pytest.mark.parametrize("ignore", [False, True])
def test_regions_agree_with_numpy(ignore, kind, batch_dice):
    logits, target = torch.randn(2, 3, 5, 4), (torch.rand(2, 4 if ignore else 3, 5, 4) < 0.4).to(kind)
    loss = PlainDiceCrossEntropyLoss(True, 4 if ignore else None, batch_dice=batch_dice)(logits, target)
    flat = target.reshape(2, -1, 20).numpy().astype(float)
    mask = flat[:, 3] == 0 if ignore else np.ones((2, 20), bool)
    expected = reference(
        logits.double().reshape(2, 3, -1).numpy(), flat[:, :3], mask, regions=True, batch_dice=batch_dice
    )
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("regions", [False, True])
def test_batch_that_is_ignored_entirely_has_zero_loss_and_gradient(regions):
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    target = torch.ones(2, 4, 4, 4) if regions else torch.full((2, 1, 4, 4), 3)
    loss = PlainDiceCrossEntropyLoss(regions=regions, ignore_label=3)(logits, target)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("regions", [False, True])
def test_gradient_is_right(regions):
    logits = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    target = torch.rand(2, 2, 3, 3) < 0.5 if regions else torch.randint(0, 2, (2, 1, 3, 3))
    assert torch.autograd.gradcheck(lambda x: PlainDiceCrossEntropyLoss(regions=regions)(x, target), logits)


def test_cross_entropy_weight_scales_the_cross_entropy_alone():
    logits, labels = torch.randn(1, 2, 6), torch.randint(0, 2, (1, 1, 6))
    none, one, two = (PlainDiceCrossEntropyLoss(cross_entropy_weight=w)(logits, labels) for w in (0.0, 1.0, 2.0))
    torch.testing.assert_close(one - none, torch.nn.functional.cross_entropy(logits, labels[:, 0]))
    torch.testing.assert_close(two - one, one - none)


def test_half_precision_sums_do_not_overflow():
    # 2 ** 17 foreground pixels are more than float16 holds
    logits, target = torch.full((1, 1, 2**17), 10.0, dtype=torch.float16), torch.ones(1, 1, 2**17)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = PlainDiceCrossEntropyLoss(regions=True)(logits, target)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(0, abs=1e-4)
