"""Augmentation of Myronenko's paper."""

import numpy as np
import torch
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

from nnunet_ext.augmentation.autoencoder import shift_scale_and_mirror


def sample() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    segmentation = torch.randint(0, 3, (1, 6, 6, 6), generator=generator)
    segmentation[:, 0] = -1  # outside the brain
    image = torch.where(segmentation < 0, 0.0, 1 + torch.rand(2, 6, 6, 6, generator=generator))
    return {"image": image, "segmentation": segmentation}


def test_image_and_labels_are_mirrored_together_on_each_axis_half_of_the_time():
    torch.manual_seed(0)
    mirror = ComposeTransforms(shift_scale_and_mirror(0, 0, (0, 1, 2), []))
    before, seen = sample(), []
    for _ in range(200):
        after = mirror(**{name: tensor.clone() for name, tensor in before.items()})
        for code in range(8):
            axes = [axis + 1 for axis in range(3) if code >> axis & 1]
            if torch.equal(after["segmentation"], before["segmentation"].flip(axes)):
                assert torch.equal(after["image"], before["image"].flip(axes))
                seen.append([axis in axes for axis in (1, 2, 3)])
    assert len(seen) == 200
    assert np.abs(np.mean(seen, axis=0) - 0.5).max() < 0.12


def test_intensities_are_scaled_and_shifted_within_the_papers_ranges():
    np.random.seed(1)
    augment = ComposeTransforms(shift_scale_and_mirror(0.1, 0.1, None, []))
    before, scales = sample()["image"][:, 1:], []
    for _ in range(200):
        after = augment(image=before.clone())["image"]
        for old, new in zip(before, after, strict=True):
            scale = (new.max() - new.min()) / (old.max() - old.min())
            shift = (new.mean() / scale - old.mean()) / old.std()
            assert abs(shift) <= 0.1 + 1e-4
            scales.append(scale.item())
    assert 0.9 - 1e-4 <= min(scales) < 0.92
    assert 1.08 < max(scales) <= 1.1 + 1e-4
    assert all(abs(scale - 1) > 1e-6 for scale in scales)  # every channel of every sample
    assert scales[0] != scales[1]


def test_masked_background_stays_zero():
    augment = ComposeTransforms(shift_scale_and_mirror(0.1, 0.1, (0, 1, 2), [0]))
    after = augment(**sample())
    outside = after["segmentation"][0] < 0
    assert not after["image"][0, outside].any()
    assert after["image"][1, outside].all()
