"""Augmentation of Myronenko's paper (Sec. 3.7)."""

from collections.abc import Sequence

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform

from nnunet_ext.augmentation.intensity_shift import IntensityShiftTransform


def shift_scale_and_mirror(
    shift: float, scale: float, mirror_axes: Sequence[int] | None, masked_channels: Sequence[int]
) -> list[BasicTransform]:
    """Intensity shift and scale of each channel and mirror flips, each axis with probability 0.5.

    Args:
        shift: Largest shift up or down, in standard deviations of the channel; 0.1 in the paper.
        scale: Largest relative change of the intensities; 0.1 in the paper.
        mirror_axes: Spatial axes to mirror; all in the paper.
        masked_channels: Channels whose background nnU-Net has set to 0; it stays 0.
    """
    transforms: list[BasicTransform] = [
        IntensityShiftTransform((-shift, shift)),
        MultiplicativeBrightnessTransform((1 - scale, 1 + scale), synchronize_channels=False, p_per_channel=1),
    ]
    if mirror_axes:
        transforms.append(MirrorTransform(tuple(mirror_axes)))
    if masked_channels:
        transforms.append(MaskImageTransform(list(masked_channels), channel_idx_in_seg=0, set_outside_to=0))
    return transforms
