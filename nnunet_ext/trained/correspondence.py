"""What of one network is what of another one: input channels, segmentation channels, branches; and whether they fit."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from nnunet_ext.architectures.method_network import BranchedNetwork
from nnunet_ext.errors import UserError
from nnunet_ext.labels.dataset_labels import DatasetLabels, common_label_name
from nnunet_ext.plans.modalities import channel_names, matching_names
from nnunet_ext.trained.weight_axes import PlannedNetwork, weight_axes

# Arguments that make two networks different ones. Weights' shapes would tell of some of them, but not as a user knows
# them, and not of strides.
TOPOLOGY = ("conv_op", "n_stages", "strides", "kernel_sizes", "features_per_stage", "norm_op", "nonlin")
ADVICE = "Give the target plans of the same network (docs/transfer.md says how)."


HOSTED = "auxiliary.seg_layers."  # where HostUNet keeps what it has beside nnU-Net's network


class TransferError(UserError):
    """Weights that cannot be moved."""


class Side:
    """A network, and the names of what it reads and segments.

    Args:
        network: The network.
        labels: Labels of its data set.

    Attributes:
        modalities: Names of its modality channels.
        outputs: Names of its segmentation channels.
        previous_stage: For each one-hot channel of a cascade, the common names of the labels or regions that it is of.
        axes: What its weights' axes stand for.
        built: The network without values.
        branches: Modality channels that each branch reads; empty for a network without branches.
    """

    def __init__(self, network: PlannedNetwork, labels: DatasetLabels):
        self.network, self.labels = network, labels
        self.modalities = channel_names(labels.content)
        if labels.has_regions:
            self.outputs = [region.name for region in labels.regions]
        else:
            by_value = sorted(labels.regions, key=lambda region: region.labels)
            self.outputs = ["background", *(region.name for region in by_value)]
        one_hot = sorted(labels.values - {0})[: network.num_inputs - len(self.modalities)]
        self.previous_stage = [
            frozenset(common_label_name(region.name) for region in labels.regions if value in region.labels)
            for value in one_hot
        ]
        self.built = network.without_values()
        self.axes = weight_axes(network, self.built)
        self.branches = self.built.branches if isinstance(self.built, BranchedNetwork) else []

    @property
    def training_only(self) -> tuple[str, ...]:
        """Parts of the network without which it predicts the same."""
        return tuple(getattr(self.built, "training_only", ()))

    def named_branches(self) -> list[str]:
        """Names of the modalities of each branch."""
        return [", ".join(self.modalities[channel] for channel in branch) for branch in self.branches]


class Correspondence(NamedTuple):
    """What of the target is what of the source.

    Attributes:
        channels: Input channel of the target -> that of the source; one-hot channels lie behind the modalities.
        outputs: Segmentation channel of the target -> that of the source.
        branches: Branch of the source that each branch of the target is; empty without branches.
        kernels: Weights of first layers -> input channels that the source's read, its branches in that order.
        new_parts: Parts of the network, see :func:`part_of`, that the target has alone: an autoencoder branch, say.
        dropped_parts: Those that the source has alone.
    """

    channels: dict[int, int]
    outputs: dict[int, int]
    branches: list[int]
    kernels: dict[str, list[int]]
    new_parts: set[str]
    dropped_parts: set[str]


def corresponding(
    source: Side, target: Side, weights: Mapping[str, Tensor], drawn: Mapping[str, Tensor]
) -> Correspondence:
    """What of the target is what of the source.

    Args:
        source: Where weights come from.
        target: Where they go.
        weights: Weights of the source by name.
        drawn: Weights of the target by name, as its network draws them.

    Raises:
        TransferError: Another topology; the message names the first difference.
        ModalityError: Names of channels or labels that cannot be told apart.
    """
    there, here = _parts(weights), _parts(drawn)
    _check_topology(source, target, weights, drawn)
    channels = _same_channels(source, target)
    branches = _same_branches(source, target, channels)
    return Correspondence(
        channels,
        _same_outputs(source, target),
        branches=branches,
        kernels=_kernels_in_order(source, branches),
        new_parts=here - there,
        dropped_parts=there - here,
    )


def part_of(name: str) -> str:
    """Part of a network that a weight is of: a top-level module, or one of those beside nnU-Net's own network.

    Args:
        name: Name of the weight.
    """
    if name.startswith(HOSTED):
        return HOSTED + name.removeprefix(HOSTED).partition(".")[0]
    return name.partition(".")[0]


def _parts(weights: Mapping[str, Tensor]) -> set[str]:
    return {part_of(name) for name in weights}


def _check_topology(source: Side, target: Side, weights: Mapping[str, Tensor], drawn: Mapping[str, Tensor]) -> None:
    both = _parts(weights) & _parts(drawn)
    lone = [name for name in weights if part_of(name) in both and name not in drawn]
    lone_here = [name for name in drawn if part_of(name) in both and name not in weights]
    classes = source.network.class_name, target.network.class_name
    has_heads = any(part_of(name) in both for name in target.axes.heads)
    if (classes[0] != classes[1] and (lone or lone_here)) or not has_heads:
        raise TransferError(f"The network is {classes[0]} there and {classes[1]} here. {ADVICE}")
    there, here = _as_users_know_it(source.network.arch_kwargs), _as_users_know_it(target.network.arch_kwargs)
    for name in TOPOLOGY:
        if there.get(name) != here.get(name):
            raise TransferError(f"{name} is {there.get(name)} there and {here.get(name)} here. {ADVICE}")
    if len(source.branches) != len(target.branches):
        named = [" / ".join(side.named_branches()) for side in (source, target)]
        raise TransferError(
            f"The network has {len(source.branches)} branches there ({named[0]}) and {len(target.branches)} here "
            f"({named[1]}). Branches cannot be added or left out."
        )
    if lone or lone_here:
        where = "there and not here" if lone else "here and not there"
        raise TransferError(f"The network has the weight {[*lone, *lone_here][0]} {where}. {ADVICE}")


def _as_users_know_it(arch_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as JSON has them, classes without their modules."""
    plain: dict[str, Any] = json.loads(json.dumps(arch_kwargs))
    return {name: value.rpartition(".")[2] if isinstance(value, str) else value for name, value in plain.items()}


def _same_channels(source: Side, target: Side) -> dict[int, int]:
    matches = matching_names(target.modalities, source.modalities)
    found = {here: there for here, there in enumerate(matches) if there is not None}
    for here, holders in enumerate(target.previous_stage, len(target.modalities)):
        if holders in source.previous_stage:
            found[here] = len(source.modalities) + source.previous_stage.index(holders)
    return found


def _same_outputs(source: Side, target: Side) -> dict[int, int]:
    if source.labels.has_regions != target.labels.has_regions:
        return {}  # a softmax needs other logits than a sigmoid
    matches = matching_names(target.outputs, source.outputs, common_label_name)
    return {here: there for here, there in enumerate(matches) if there is not None}


def _same_branches(source: Side, target: Side, same: Mapping[int, int]) -> list[int]:
    """For each branch of the target the one of the source with which it shares most modalities."""
    if not source.branches:
        return []
    if isinstance(source.built, BranchedNetwork) and source.built.has_master:
        _check_master(source, target, same)
        return [0, *(1 + branch for branch in _matched(source.branches[1:], target.branches[1:], same))]
    return _matched(source.branches, target.branches, same)


def _matched(there: Sequence[Sequence[int]], here: Sequence[Sequence[int]], same: Mapping[int, int]) -> list[int]:
    shared = [[len({same.get(channel) for channel in to} & {*of}) for of in there] for to in here]
    # where names do not tell branches apart, they stay in their places
    in_place = np.eye(len(here)) / (2 * len(here) + 1)
    return [int(branch) for branch in linear_sum_assignment(np.array(shared) + in_place, maximize=True)[1]]


def _check_master(source: Side, target: Side, same: Mapping[int, int]) -> None:
    there, here = source.branches[0][0], target.branches[0][0]
    if same.get(here) == there or not (there in same.values() or here in same):
        return
    known = [target.modalities[channel] for channel, origin in same.items() if origin == there]
    advice = f"master_modality={known[0]}" if known else "a master_modality that the source does not have"
    raise TransferError(
        f"The master modality is {source.modalities[there]} there and {target.modalities[here]} here, and no other "
        f"stream can take its place. Give the target plans with {advice} (nnunet_ext plan --help)."
    )


def _kernels_in_order(source: Side, order: Sequence[int]) -> dict[str, list[int]]:
    if not isinstance(source.built, BranchedNetwork):
        return source.axes.kernels
    names = list(source.axes.kernels)
    # numbers take the way that the weights take
    numbered = source.built.in_other_order({name: torch.tensor(index) for index, name in enumerate(names)}, order)
    return {name: source.axes.kernels[names[int(index)]] for name, index in numbered.items()}
