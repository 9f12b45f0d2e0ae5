"""Base of this package's networks: what nnU-Net asks of each of them."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from dynamic_network_architectures.initialization.weight_init import InitWeights_He, init_last_bn_before_add_to_0
from torch import Tensor, nn

from nnunet_ext.counting.tensor_bytes import training_feature_map_size


class MethodNetwork(nn.Module):
    """Network of a method: initialization, the check of deep supervision, and the memory that planners ask for.

    Args:
        input_channels: Channels of the input.
        deep_supervision: Whether logits of lower resolutions are wanted in training.

    Attributes:
        has_deep_supervision: Whether the network can give logits of lower resolutions.
        negative_slope: Slope below 0 of the activation that He's initialization is for; 0 is ReLU.

    Raises:
        ValueError: Deep supervision of a network that has none.
    """

    has_deep_supervision: ClassVar[bool] = False
    negative_slope: ClassVar[float] = 0.0

    def __init__(self, input_channels: int, deep_supervision: bool):
        super().__init__()
        if deep_supervision and not self.has_deep_supervision:
            raise ValueError(f"{type(self).__name__} has no deep supervision: set deep_supervision to False.")
        self.input_channels = input_channels
        self.deep_supervision = deep_supervision

    @classmethod
    def initialize(cls, module: nn.Module) -> None:
        """He initialization of one module's convolutions, with biases of 0; nnU-Net applies it to every module.

        nnU-Net's residual blocks begin as their skips, as in its own networks.
        """
        InitWeights_He(cls.negative_slope)(module)
        init_last_bn_before_add_to_0(module)

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Values that a training step of one sample holds at its peak; nnU-Net's planners ask networks for it.

        Args:
            input_size: Spatial size of the input, in voxels; the training patch for a network that is built for one.
        """
        return training_feature_map_size(self, self.input_channels, input_size)


class BranchedNetwork(MethodNetwork):
    """Network whose modalities are read by branches of their own, so that its weights depend on who reads what.

    Attributes:
        branches: Modality channels that each branch reads.
        has_master: Whether the first branch has another part than the others.
    """

    branches: list[list[int]]
    has_master: bool

    def channels_read(self, kernel: str) -> list[int]:
        """Input channels that a weight of a first layer reads, in the order of its second axis.

        Args:
            kernel: Name of the weight.
        """
        raise NotImplementedError

    def in_other_order(self, weights: Mapping[str, Tensor], order: Sequence[int]) -> dict[str, Tensor]:
        """Weights with which the same network does the same, its branches in another order.

        Args:
            weights: Weights of this network by name; not changed.
            order: Which branch each one of the new order was.
        """
        raise NotImplementedError


def check_lengths(n_stages: int, **arguments: Sequence) -> None:
    """Raise ValueError unless each argument has an entry for every stage.

    Args:
        n_stages: Number of stages.
        **arguments: Constructor arguments by their names.
    """
    for name, entries in arguments.items():
        if len(entries) != n_stages:
            raise ValueError(f"{name} has {len(entries)} entries, not {n_stages}.")
