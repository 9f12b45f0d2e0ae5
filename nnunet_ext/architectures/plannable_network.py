"""Base of the networks: what nnU-Net's planners ask a network for."""

from collections.abc import Sequence

from torch import nn

from nnunet_ext.counting.tensor_bytes import training_feature_map_size


class PlannableNetwork(nn.Module):
    """Network whose memory nnU-Net's planners can ask for; subclasses set ``input_channels``."""

    input_channels: int

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Values that a training step of one sample holds at its peak; nnU-Net's planners ask networks for it.

        Args:
            input_size: Spatial size of the input, in voxels; the training patch for a network that is built for one.
        """
        return training_feature_map_size(self, self.input_channels, input_size)
