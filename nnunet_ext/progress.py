"""Progress of what takes longer than a few seconds: bar, case and remaining time, on standard error."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Item = TypeVar("Item")
LONGEST_NAME = 30  # characters


def track(
    items: Iterable[Item], description: str, total: int | None = None, name: Callable[[Item], str] | None = None
) -> Iterator[Item]:
    """The items one by one, with a progress bar where standard error is a terminal; it disappears at the end.

    Args:
        items: What to go through.
        description: Words in front of the bar, for example ``"Scoring"``.
        total: Number of items; None asks ``items`` for its length. Where nobody knows it, the time so far is shown
            instead of the time that remains.
        name: Name of an item, shown behind the bar from when it is taken on.
    """
    console = Console(stderr=True)
    if not console.is_terminal:  # Rich would write empty lines into logs
        yield from items
        return
    number = len(items) if total is None and isinstance(items, Sequence) else total
    with _bar(console, number) as progress:
        task = progress.add_task(description, total=number, item="")
        for item in items:
            if name is not None:
                progress.update(task, item=_shortened(name(item)))
            yield item
            progress.advance(task)


@contextmanager
def steps(description: str, total: int | None = None) -> Iterator[Callable[[str], None]]:
    """A progress bar whose steps say themselves what begins: call the function with its name.

    Args:
        description: Words in front of the bar.
        total: Number of steps; None where nobody knows it before the end, as for :func:`track`.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda name: None
        return
    with _bar(console, total) as progress:
        task = progress.add_task(description, total=total, item="")
        begun = False

        def begin(name: str) -> None:
            nonlocal begun
            progress.update(task, advance=1 if begun else 0, item=_shortened(name))
            begun = True

        yield begin


def _bar(console: Console, total: int | None) -> Progress:
    times = (TimeElapsedColumn(),) if total is None else (TimeRemainingColumn(), TextColumn("left"))
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        *times,
        TextColumn("{task.fields[item]}", markup=False),
        console=console,
        transient=True,
    )


def _shortened(name: str) -> str:
    """A name that leaves the bar its line; its end tells cases apart."""
    return name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"
