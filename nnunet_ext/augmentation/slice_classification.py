"""Augmentation of Nguyen et al. (Sec. 3.1)."""

from collections.abc import Sequence

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform

from nnunet_ext.augmentation.intensity_shift import IntensityShiftTransform


def mirror_scale_and_shift(
    scale: float, shift: float, probability: float, mirror_axes: Sequence[int] | None, masked_channels: Sequence[int]
) -> list[BasicTransform]:
    """Mirror flips, each axis with probability 0.5, then intensity scale and intensity shift of each channel.

    Args:
        scale: Largest relative change of the intensities; 0.1 in the paper.
        shift: Largest shift up or down, in standard deviations of the channel; 0.1 in the paper.
        probability: Of the scale, and of the shift, for each sample; 0.8 in the paper.
        mirror_axes: Spatial axes to mirror; all in the paper.
        masked_channels: Channels whose background nnU-Net has set to 0; it stays 0.
    """
    scaling = MultiplicativeBrightnessTransform((1 - scale, 1 + scale), synchronize_channels=False)
    transforms: list[BasicTransform] = [MirrorTransform(tuple(mirror_axes))] if mirror_axes else []
    transforms.append(RandomTransform(scaling, probability))
    transforms.append(RandomTransform(IntensityShiftTransform((-shift, shift)), probability))
    if masked_channels:
        transforms.append(MaskImageTransform(list(masked_channels), channel_idx_in_seg=0, set_outside_to=0))
    return transforms
