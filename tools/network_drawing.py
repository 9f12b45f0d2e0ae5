"""Draws a network from its own structure: which modules run, what they make, and who reads it.

Boxes are modules as the network calls them; lines are read from PyTorch's graph of the backward pass, so that nothing
in a drawing is written by hand.
"""

import math
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor, nn

IMAGE, OUTPUT = "image", "output"
BOX = (2.6, 0.8)  # width and height in units of the drawing
COLUMN, ROW = 3.0, 1.25  # distance of neighbours
UNIT = 0.5  # inches
POINTS, LETTERS = 6.5, 22  # size of the text, and letters that fit a box
NOT_SHOWN = "auxiliary.seg_layers."  # of names, where nnU-Net's rules ask for it
VOXELS_A_LEVEL = 3  # log2; halved along three axes
COLOURS = ("#dbe9f6", "#fde6cf", "#dcefdc", "#f6dbe3", "#e8e0f3", "#efeada")  # one for each of the network's parts


class Box(NamedTuple):
    """A module that ran.

    Attributes:
        name: Its name in the network.
        shape: Of its first output, without the batch.
        reads: Names of the boxes whose outputs it reads, and ``"image"``.
    """

    name: str
    shape: tuple[int, ...]
    reads: frozenset[str]


def boxes_of(network: nn.Module, image: Tensor) -> list[Box]:
    """The modules of a network in the order in which they run in training.

    A module that makes features of several sizes is opened, one that keeps to one size is a box.

    Args:
        network: In training mode.
        image: ``(B, channels, *spatial)``.
    """
    modules = _to_draw(network, image)
    image = image.detach().requires_grad_(True)
    made: dict[Any, str] = {}
    boxes: dict[str, Box] = {}

    def remember(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            outputs = [tensor for tensor in _tensors(output) if tensor.grad_fn is not None]
            if not outputs:
                return
            reads = frozenset(source for tensor in outputs for source in _sources(tensor.grad_fn, made, image))
            for tensor in outputs:
                made[tensor.grad_fn] = name
            earlier = boxes.get(name)  # modules that run once a stream or branch are one box
            shape = tuple(outputs[0].shape[1:]) if earlier is None else earlier.shape
            boxes[name] = Box(name, shape, (reads | (earlier.reads if earlier else frozenset())) - {name})

        return hook

    handles = [module.register_forward_hook(remember(name)) for name, module in modules.items()]
    output = network(image)
    for handle in handles:
        handle.remove()
    # what the network computes of the logits behind its last modules
    logits = _tensors(getattr(output, "logits", output))
    ends = [tensor for tensor in logits if tensor.grad_fn is not None and tensor.grad_fn not in made]
    if ends:
        reads = frozenset(source for tensor in ends for source in _sources(tensor.grad_fn, made, image))
        boxes[OUTPUT] = Box(OUTPUT, tuple(ends[0].shape[1:]), reads)
    return list(boxes.values())


def _to_draw(network: nn.Module, image: Tensor) -> dict[str, nn.Module]:
    """Modules to draw: the outermost ones whose inside has one spatial size, or nothing further inside."""
    sizes: dict[str, set[tuple[int, ...]]] = {}
    names = {module: name for name, module in network.named_modules()}

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        name = names[module]
        for tensor in _tensors(output):
            if tensor.ndim == image.ndim:
                for outer in _outer_names(name):
                    sizes.setdefault(outer, set()).add(tuple(tensor.shape[2:]))
        sizes.setdefault(name, set())

    handles = [module.register_forward_hook(hook) for module in names]
    with torch.no_grad():
        network(image)
    for handle in handles:
        handle.remove()

    def inside(prefix: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        for name, child in module.named_children():
            path = f"{prefix}{name}"
            one_size = len(sizes.get(path, ())) <= 1
            if path in sizes and type(child) not in (nn.ModuleList, nn.ModuleDict) and (one_size or _is_leaf(child)):
                yield path, child
            else:
                yield from inside(f"{path}.", child)

    return dict(inside("", network))


def _is_leaf(module: nn.Module) -> bool:
    return not any(True for _ in module.children())


def _outer_names(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)


def _sources(start: Any, made: dict[Any, str], image: Tensor) -> Iterator[str]:
    """Names of what a step of the backward graph reads, as far back as the nearest outputs of boxes."""
    seen, stack = {start}, [function for function, _ in start.next_functions]
    while stack:
        function = stack.pop()
        if function is None or function in seen:
            continue
        seen.add(function)
        if function in made:
            yield made[function]
        elif getattr(function, "variable", None) is image:
            yield IMAGE
        else:
            stack += [behind for behind, _ in function.next_functions]


def draw_network(boxes: list[Box], path: Path, title: str) -> None:
    """Write the drawing: downwards as the modules depend on each other, lower resolutions further to the right.

    Args:
        boxes: Of :func:`boxes_of`.
        path: Image to write; matplotlib knows the format by its ending.
        title: Above the drawing.
    """
    rows: dict[str, int] = {IMAGE: 0}
    for box in boxes:
        rows[box.name] = max((rows.get(source, 0) for source in box.reads), default=0) + 1
    full = max(math.prod(box.shape[1:]) for box in boxes)
    columns: dict[str, int] = {IMAGE: 0}
    taken = {(0, 0)}
    for box in boxes:
        column = round(math.log2(full / math.prod(box.shape[1:])) / VOXELS_A_LEVEL)
        while (column, rows[box.name]) in taken:
            column += 1
        taken.add((column, rows[box.name]))
        columns[box.name] = column
    parts = list(dict.fromkeys(box.name.split(".")[0] for box in boxes))
    width, height = (max(columns.values()) + 1) * COLUMN, (max(rows.values()) + 1) * ROW
    figure = Figure(figsize=(UNIT * width, UNIT * height + 0.4))
    axes = figure.add_axes((0.0, 0.0, 1.0, UNIT * height / (UNIT * height + 0.4)))
    axes.set(xlim=(-COLUMN / 2, width - COLUMN / 2), ylim=(ROW / 2 - height, ROW / 2))
    axes.set_title(title, fontsize=10)
    axes.axis("off")
    for box in boxes:
        for source in sorted(box.reads):
            axes.annotate(
                "",
                (columns[box.name] * COLUMN, -rows[box.name] * ROW + BOX[1] / 2),
                (columns[source] * COLUMN, -rows[source] * ROW - BOX[1] / 2),
                arrowprops={"arrowstyle": "-|>", "color": "0.45", "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0},
                zorder=1,
            )
    for box in [Box(IMAGE, (), frozenset()), *boxes]:
        x, y = columns[box.name] * COLUMN, -rows[box.name] * ROW
        colour = "white" if box.name == IMAGE else COLOURS[parts.index(box.name.split(".")[0]) % len(COLOURS)]
        style = {"facecolor": colour, "edgecolor": "0.3", "linewidth": 0.7, "zorder": 2}
        corner = (x - BOX[0] / 2, y - BOX[1] / 2)
        axes.add_patch(FancyBboxPatch(corner, *BOX, boxstyle="round,pad=0,rounding_size=0.1", **style))
        size = "x".join(str(number) for number in box.shape[1:])
        below = f"\n{box.shape[0]} ch, {size}" if size else (f"\n{box.shape[0]}" if box.shape else "")
        axes.text(x, y, _wrapped(box.name) + below, ha="center", va="center", fontsize=POINTS, zorder=3)
    figure.savefig(path, dpi=110)


def _wrapped(name: str) -> str:
    """A module's name in lines that fit a box, broken at its dots."""
    words = name.removeprefix(NOT_SHOWN).replace(".", ". ")
    return textwrap.fill(words, LETTERS, break_long_words=False).replace(". ", ".")
