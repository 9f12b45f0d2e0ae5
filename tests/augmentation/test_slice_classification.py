"""Augmentation of slice classification: ranges, probabilities, and image and labels moving together."""

import numpy as np
import pytest
import torch

from nnunet_ext.augmentation.slice_classification import mirror_scale_and_shift


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    np.random.seed(0)


def test_scale_and_shift_each_have_the_stated_probability():
    _, scaling, shifting = mirror_scale_and_shift(0.1, 0.1, 0.8, (0, 1, 2), ())
    for transform in (scaling, shifting):
        image = torch.randn(1, 4, 4)
        changed = [not torch.equal(transform(image=image.clone())["image"], image) for _ in range(1000)]
        assert np.mean(changed) == pytest.approx(0.8, abs=0.04)


def test_scales_fill_their_range():
    scaling = mirror_scale_and_shift(0.1, 0.1, 1, None, ())[0]
    scales = torch.stack([scaling(image=torch.ones(2, 2, 2))["image"] for _ in range(300)])
    assert 0.9 <= scales.min() < 0.91
    assert 1.09 < scales.max() <= 1.1
    assert (scales != 1).all()  # every channel, where it is applied


def test_shifts_fill_their_range_in_standard_deviations():
    shifting = mirror_scale_and_shift(0.1, 0.1, 1, None, ())[1]
    image = 5 * torch.randn(1, 8, 8)
    shifts = [(shifting(image=image.clone())["image"] - image)[0, 0, 0] / image.std() for _ in range(300)]
    assert -0.1 <= min(shifts) < -0.09
    assert 0.09 < max(shifts) <= 0.1


def test_image_and_segmentation_are_mirrored_together_along_every_axis():
    mirroring = mirror_scale_and_shift(0.1, 0.1, 0.8, (0, 1, 2), ())[0]
    segmentation = torch.randint(0, 3, (1, 6, 6, 6), dtype=torch.int16)
    seen = set()
    for _ in range(60):
        sample = mirroring(image=segmentation.float(), segmentation=segmentation.clone())
        assert torch.equal(sample["image"].to(torch.int16), sample["segmentation"])
        seen.add(sample["segmentation"].numpy().tobytes())
    assert len(seen) == 8


def test_masked_background_stays_zero():
    image, segmentation = torch.ones(2, 4, 4), torch.ones(1, 4, 4, dtype=torch.int16)
    image[:, 0], segmentation[:, 0] = 0, -1  # nnU-Net marks what lies outside the mask with -1
    sample = {"image": image, "segmentation": segmentation}
    for transform in mirror_scale_and_shift(0.1, 0.1, 1, None, (0, 1)):
        sample = transform(**sample)
    assert not sample["image"][:, 0].any()
    assert sample["image"][:, 1:].all()
