"""Uniform intensity shift in units of the channel's standard deviation."""

import numpy as np
import pytest
import torch

from nnunet_ext.augmentation.intensity_shift import IntensityShiftTransform


def image() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    channels = torch.randn(2, 8, 8, 8, generator=generator) * torch.tensor([1.0, 50.0]).view(2, 1, 1, 1)
    channels[:, :4] = 0  # half is background
    return channels


def test_shift_is_the_same_share_of_each_channels_tissue():
    before = image()
    after = IntensityShiftTransform((0.1, 0.1))(image=before.clone())["image"]
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new - old, (0.1 * old[4:].std()).expand_as(old), rtol=1e-4, atol=1e-4)


def test_channels_are_shifted_independently_within_the_range():
    np.random.seed(0)
    before, transform = image(), IntensityShiftTransform((-0.1, 0.1))
    shifts = []
    for _ in range(200):
        after = transform(image=before.clone())["image"]
        shifts.append([float((after - before)[c, 0, 0, 0] / before[c, 4:].std()) for c in range(2)])
    drawn = np.array(shifts)
    assert np.abs(drawn).max() <= 0.1 + 1e-6
    assert drawn.min() < -0.09
    assert drawn.max() > 0.09
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.2


@pytest.mark.parametrize("channel", [torch.zeros(4, 4, 4), torch.eye(4)[0].view(4, 1, 1)])
def test_channel_without_tissue_stays_as_it_is(channel):
    after = IntensityShiftTransform((0.1, 0.1))(image=channel[None].clone())["image"]
    assert torch.equal(after[0], channel)
