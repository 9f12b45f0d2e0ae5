"""Base of this package's networks: what nnU-Net asks of each of them."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from dynamic_network_architectures.initialization.weight_init import InitWeights_He, init_last_bn_before_add_to_0
from torch import Tensor, nn

from nnunet_ext.architectures.sizes import unet_arguments, with_classes
from nnunet_ext.counting.tensor_bytes import training_feature_map_size

Network = TypeVar("Network", bound="MethodNetwork")


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
    def from_sizes(
        cls: type[Network],
        input_channels: int,
        num_classes: int,
        patch_size: Sequence[int],
        *,
        base_num_features: int = 32,
        strides: Sequence[Sequence[int]] | None = None,
        kernel_sizes: Sequence[Sequence[int]] | None = None,
        **options: Any,
    ) -> Network:
        """The network that nnU-Net would train for these sizes, initialized; widths are the paper's at a base of 32.

        Args:
            input_channels: Channels of the input.
            num_classes: Channels of the logits.
            patch_size: Voxels along each axis, two or three; where strides are not given, a multiple of what halving it
                down to 4 voxels needs. Networks without dense layers take inputs of other sizes too.
            base_num_features: Features of the first stage of nnU-Net's U-Net, by which all widths go.
            strides: Stride into each stage of nnU-Net's U-Net, for voxels of unequal spacing; None is for equal ones.
            kernel_sizes: Kernel of each stage; None is 3 everywhere.
            **options: Other arguments of the constructor, in place of those that are derived from the sizes.

        Raises:
            ValueError: Sizes that do not fit.
        """
        planned = unet_arguments(patch_size, base_num_features, strides=strides, kernel_sizes=kernel_sizes)
        derived = {**cls.topology(planned), **cls.size_options(input_channels, patch_size)}
        return cls.initialized(input_channels, num_classes, derived, options)

    @classmethod
    def initialized(
        cls: type[Network], input_channels: int, num_classes: int, derived: dict[str, Any], options: dict[str, Any]
    ) -> Network:
        """The network with weights drawn as nnU-Net draws them.

        Args:
            input_channels: Channels of the input.
            num_classes: Channels of the logits.
            derived: Constructor arguments as plans hold them.
            options: Constructor arguments in place of them.
        """
        arguments = {"input_channels": input_channels, "num_classes": num_classes, **with_classes(derived), **options}
        network = cls(**arguments)
        return network.apply(network.initialize)

    @classmethod
    def topology(cls, arch_kwargs: dict[str, Any]) -> dict[str, Any]:
        """Constructor arguments of this network from those of nnU-Net's U-Net, both as plans hold them.

        Args:
            arch_kwargs: Arguments of the U-Net; may be changed.

        Raises:
            ValueError: The U-Net has too few stages.
        """
        raise NotImplementedError

    @classmethod
    def size_options(cls, input_channels: int, patch_size: Sequence[int]) -> dict[str, Any]:
        """Constructor arguments beside the topology, of ``from_sizes`` alone: trainers have settings for them.

        Args:
            input_channels: Channels of the input.
            patch_size: Voxels along each axis.
        """
        return {}

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
