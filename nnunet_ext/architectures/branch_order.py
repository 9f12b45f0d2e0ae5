"""Weights of branches in another order: features of branches that lie side by side along an axis of a weight."""

from collections.abc import Sequence

import torch
from torch import Tensor


def in_order(weight: Tensor, axis: int, order: Sequence[int], width: int | None = None) -> Tensor:
    """A weight whose branches' parts along an axis have another order; what lies behind them stays.

    Args:
        weight: Any weight.
        axis: Axis along which the branches lie side by side, from its beginning.
        order: Which branch each one of the new order was.
        width: Length of one branch's part; None: the axis holds nothing but the branches.
    """
    width = weight.shape[axis] // len(order) if width is None else width
    *parts, rest = weight.split([*[width] * len(order), weight.shape[axis] - width * len(order)], axis)
    return torch.cat([*(parts[branch] for branch in order), rest], axis)


def item_in_order(name: str, prefix: str, order: Sequence[int]) -> str:
    """Name of the weight whose place a weight takes, where each branch has an item of a list: ``prefix.1.weight``.

    Args:
        name: Name of a weight below ``prefix``.
        prefix: Name of the list.
        order: Which branch each one of the new order was.
    """
    branch, _, rest = name.removeprefix(f"{prefix}.").partition(".")
    return f"{prefix}.{order.index(int(branch))}.{rest}"
