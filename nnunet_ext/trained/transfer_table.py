"""What becomes of what when weights are moved, a row each."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from torch import Tensor

from nnunet_ext.trained.correspondence import HOSTED, Correspondence, Side, part_of
from nnunet_ext.trained.moved_weights import Moved, Origin, kernel_origin

NOT_LOADED = ".seg_layers."  # weights that nnU-Net leaves out of -pretrained_weights, whatever the file holds
HEADINGS = ("what", "there", "here", "fate", "how")


class Row(NamedTuple):
    """A line of the table.

    Attributes:
        what: Kind of weights.
        there: Name in the source; empty where it is new.
        here: Name in the target; empty where it is dropped.
        fate: What becomes of it.
        how: Details, or empty.
    """

    what: str
    there: str
    here: str
    fate: Literal["moved", "kept", "new", "dropped"]
    how: str = ""


def transfer_rows(source: Side, target: Side, same: Correspondence, moved: Moved) -> list[Row]:
    """Rows of branches, modalities, a cascade's previous stage, labels or regions, parts, and the rest.

    Args:
        source: Where weights come from.
        target: Where they go.
        same: What of the target is what of the source.
        moved: The weights.
    """
    return [
        *_branches(source, target, same.branches),
        *_modalities(source, target, same),
        *_previous_stage(source, target, same.channels),
        *_outputs(source, target, same.outputs),
        *[Row("part", part.removeprefix(HOSTED), "", "dropped") for part in sorted(same.dropped_parts)],
        *[Row("part", "", part.removeprefix(HOSTED), "new") for part in sorted(same.new_parts)],
        *[Row("part", "", part.removeprefix(HOSTED), "new", "other sizes there") for part in sorted(moved.unfit_parts)],
        _rest(target, moved.weights, same.new_parts | moved.unfit_parts),
    ]


def heads_not_loaded(weights: Mapping[str, Tensor]) -> list[str]:
    """Weights that nnU-Net does not take from the file: the segmentation heads of its own networks.

    Args:
        weights: Weights by name.
    """
    return [name for name in weights if NOT_LOADED in name]


def _branches(source: Side, target: Side, order: Sequence[int]) -> list[Row]:
    if len(order) < 2:
        return []
    there, here = source.named_branches(), target.named_branches()
    return [
        Row("branch", there[origin], here[branch], "moved", f"{origin + 1} -> {branch + 1}")
        for branch, origin in enumerate(order)
    ]


def _modalities(source: Side, target: Side, same: Correspondence) -> list[Row]:
    rows, moved = [], set()
    for channel, name in enumerate(target.modalities):
        kernel = next((kernel for kernel, read in target.axes.kernels.items() if channel in read), None)
        if kernel is None:
            continue  # a network that reads its master alone
        origin = kernel_origin(source, target, same, kernel)
        there = origin.known.get(channel)
        if there is not None:
            moved.add(there)
            rows.append(
                Row("modality", source.modalities[there], name, "moved", f"{there} -> {channel}{_times(origin)}")
            )
        else:
            mean = ", ".join(source.modalities[known] for known in origin.mean)
            elsewhere = "; it is in another branch there" if channel in same.channels else ""
            rows.append(Row("modality", "", name, "new", f"mean of {mean}{_times(origin)}{elsewhere}"))
    read = {channel for channels in source.axes.kernels.values() for channel in channels}
    return rows + [
        Row("modality", name, "", "dropped")
        for channel, name in enumerate(source.modalities)
        if channel in read and channel not in moved
    ]


def _times(origin: Origin) -> str:
    return f", times {len(origin.mean)}/{origin.images}" if origin.num_new else ""


def _previous_stage(source: Side, target: Side, same: Mapping[int, int]) -> list[Row]:
    rows = []
    for channel, labels in enumerate(target.previous_stage, len(target.modalities)):
        name = " + ".join(sorted(labels))
        known = channel in same
        rows.append(Row("previous stage", *((name, name, "moved") if known else ("", name, "new", "0"))))
    return rows + [
        Row("previous stage", " + ".join(sorted(labels)), "", "dropped")
        for channel, labels in enumerate(source.previous_stage, len(source.modalities))
        if channel not in same.values()
    ]


def _outputs(source: Side, target: Side, same: Mapping[int, int]) -> list[Row]:
    kinds = ["region" if side.labels.has_regions else "label" for side in (source, target)]
    why = "" if kinds[0] == kinds[1] else f"{kinds[0]}s there, {kinds[1]}s here"
    rows = [
        Row(kinds[1], source.outputs[same[row]], name, "kept", f"{same[row]} -> {row}")
        if row in same
        else Row(kinds[1], "", name, "new", why)
        for row, name in enumerate(target.outputs)
    ]
    return rows + [
        Row(kinds[0], name, "", "dropped") for row, name in enumerate(source.outputs) if row not in same.values()
    ]


def _rest(target: Side, weights: Mapping[str, Tensor], new_parts: set[str]) -> Row:
    special = target.axes.kernels.keys() | target.axes.heads.keys() | target.axes.images.keys()
    rest = [name for name in weights if name not in special and part_of(name) not in new_parts]
    return Row("all others", "", "", "kept", f"{len(rest)} tensors")
