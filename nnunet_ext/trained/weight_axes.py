"""What the axes of a network's weights stand for: input channels, segmentation channels, reconstructed channels."""

from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import nn

from nnunet_ext.architectures.method_network import BranchedNetwork
from nnunet_ext.host.plans import PlansManager, input_channels
from nnunet_ext.host.trainer import nnUNetTrainer
from nnunet_ext.plans.network_entry import resolved_configuration


class PlannedNetwork:
    """Network that plans describe for a data set, built as nnU-Net's prediction builds it.

    Args:
        trainer: Trainer whose ``build_network_architecture`` builds it.
        plans: Content of a plans file, which a trainer of this package has prepared; not changed.
        configuration: Its configuration.
        dataset_json: Content of ``dataset.json``.

    Attributes:
        class_name: Name of the network's class, without its module.
        arch_kwargs: Its arguments in the plans.
        num_inputs: Input channels, a cascade's one-hot channels included.
        num_outputs: Segmentation channels.
    """

    def __init__(
        self, trainer: type[nnUNetTrainer], plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any]
    ):
        self._trainer, self._plans, self._configuration = trainer, deepcopy(plans), configuration
        manager = PlansManager(self._plans)
        planned = manager.get_configuration(configuration)
        self.class_name: str = planned.network_arch_class_name.rpartition(".")[2]
        self.arch_kwargs: dict[str, Any] = planned.network_arch_init_kwargs
        self.num_inputs: int = input_channels(manager, planned, dataset_json)
        self.num_outputs: int = manager.get_label_manager(dataset_json).num_segmentation_heads

    def build(self, more_inputs: int = 0, more_outputs: int = 0, more_images: int = 0) -> nn.Module:
        """The network, its weights drawn.

        Args:
            more_inputs: Input channels beside those that there are.
            more_outputs: Segmentation channels beside those that there are.
            more_images: Channels to reconstruct beside those that there are.
        """
        plans = deepcopy(self._plans)
        if more_images:
            entry = resolved_configuration(plans, self._configuration)["architecture"]
            entry["arch_kwargs"]["image_channels"] += more_images
            plans["configurations"][self._configuration]["architecture"] = entry
        manager = PlansManager(plans)
        return self._trainer.build_network_architecture(
            manager,
            manager.get_configuration(self._configuration),
            self.num_inputs + more_inputs,
            self.num_outputs + more_outputs,
            enable_deep_supervision=False,
        )

    def without_values(self, **more: int) -> nn.Module:
        """The network, its weights not computed; arguments as of ``build``."""
        with torch.device("meta"):
            return self.build(**more)


class WeightAxes(NamedTuple):
    """Weights whose sizes come from the data set.

    Attributes:
        kernels: Weights of first layers -> input channels along their second axis.
        heads: Weights of segmentation heads and slice classifiers -> segmentation channels along their first axis.
        images: Weights that give a reconstruction -> modality channels along their first axis.
    """

    kernels: dict[str, list[int]]
    heads: dict[str, list[int]]
    images: dict[str, list[int]]


def weight_axes(network: PlannedNetwork, built: nn.Module) -> WeightAxes:
    """What comes from the data set: the axes that grow when the network is built for a channel more.

    So it is found for any network that plans can name. Branches of this package's networks say who reads what.

    Args:
        network: Network to look at.
        built: It, built without values.
    """
    shapes, wider = _shapes(built), _shapes(network.without_values(more_inputs=1))
    kernels = {name: list(range(shapes[name][1])) for name in _grown(shapes, wider)}
    if isinstance(built, BranchedNetwork):
        kernels = {name: built.channels_read(name) for name in kernels}
    outputs = list(range(network.num_outputs))
    # slice classifiers have no output for the background, which comes first
    with_output = _shapes(network.without_values(more_outputs=1))
    heads = {name: outputs[-shapes[name][0] :] for name in _grown(shapes, with_output)}
    images = {}
    if "image_channels" in network.arch_kwargs:
        with_image = _shapes(network.without_values(more_inputs=1, more_images=1))
        images = {name: list(range(shapes[name][0])) for name in _grown(wider, with_image)}
    return WeightAxes(kernels, heads, images)


def _shapes(built: nn.Module) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in built.state_dict().items()}


def _grown(shapes: dict[str, torch.Size], larger: dict[str, torch.Size]) -> list[str]:
    return [name for name, shape in shapes.items() if larger[name] != shape]
