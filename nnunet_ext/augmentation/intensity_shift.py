"""Additive intensity shift, uniform in units of the channel's standard deviation."""

import torch
from batchgeneratorsv2.helpers.scalar_type import sample_scalar
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform
from torch import Tensor


class IntensityShiftTransform(ImageOnlyTransform):
    """Adds to each channel a number drawn uniformly from a range, times the standard deviation of that channel.

    batchgeneratorsv2 has a normally distributed shift only, in absolute intensities.

    Args:
        shift_range: Lowest and highest shift, in standard deviations of the channel's non-zero voxels.
    """

    def __init__(self, shift_range: tuple[float, float]):
        super().__init__()
        self.shift_range = shift_range

    def get_parameters(self, **data_dict: Tensor) -> dict[str, list[float]]:
        """One shift a channel, in standard deviations."""
        return {"shifts": [sample_scalar(self.shift_range) for _ in data_dict["image"]]}

    def _apply_to_image(self, img: Tensor, **params: list[float]) -> Tensor:
        for channel, shift in zip(img, params["shifts"], strict=True):
            tissue = channel[channel != 0]  # zero is the background and what nnU-Net pads with
            if tissue.numel() > 1:
                channel += shift * torch.std(tissue)
        return img
