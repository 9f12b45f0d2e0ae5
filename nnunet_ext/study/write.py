"""What a study leaves: ``results.yaml``, ``study.md``, ``curves.png`` and ``curves.csv``."""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml
from matplotlib.figure import Figure

from nnunet_ext.evaluation.evaluate import write_csv
from nnunet_ext.evaluation.markdown import format_number, markdown_table
from nnunet_ext.evaluation.summary import METRICS as HEADINGS
from nnunet_ext.files.atomic import atomic_files, write_text_atomically
from nnunet_ext.files.figure import save_figure
from nnunet_ext.study.repeats import Repeats, group_repeats
from nnunet_ext.study.rows import METRICS, rows_of_study
from nnunet_ext.trained.model_folder import read_model
from nnunet_ext.version import commit

SMOKE_STEPS = 10_000  # fewer steps than this are called smoke scale: nnU-Net's default is 250,000


def write_study(
    models: Sequence[Path],
    output: Path,
    command: str = "",
    num_processes: int | None = None,
    equal_time: bool = False,
) -> list[dict[str, Any]]:
    """Compare trained models at equal steps, or at equal wall time; all files are written, or none.

    Args:
        models: Model folders, all folds trained and validated.
        output: Folder to write; made where it does not exist.
        command: Command line that made the study, for the rows.
        num_processes: Parallel processes for scoring; None takes one a processor, at most 8.
        equal_time: Whether the trainings were to take equally long, with numbers of steps that differ.

    Returns:
        The rows of ``results.yaml``.

    Raises:
        InputError: Folds are missing or differ, steps differ without ``equal_time``, or there are several data sets.
    """
    entries = group_repeats([read_model(folder) for folder in models], equal_time)
    origin = {"equal_time": equal_time, "commit": commit(), "command": command}
    rows = [row | origin for row in rows_of_study(entries, num_processes)]
    curves = curves_of(entries)
    with atomic_files(output) as new:
        text = yaml.safe_dump({"rows": rows}, sort_keys=False, allow_unicode=True, width=120)
        write_text_atomically(new / "results.yaml", text)
        write_text_atomically(new / "study.md", study_page(rows))
        write_csv(curves, new / "curves.csv")
        save_figure(draw_curves(curves, over="seconds" if equal_time else "step"), new / "curves.png")
    return rows


def is_smoke_scale(rows: Sequence[dict[str, Any]]) -> bool:
    """Whether even the longest training of a study has too few steps to say how accurate a method is."""
    return max(row["steps"] for row in rows) < SMOKE_STEPS


def is_at_equal_time(row: dict[str, Any]) -> bool:
    """Whether a row is of a study at equal wall time; those of before there were any do not say."""
    return bool(row.get("equal_time"))


def budget_words(rows: Sequence[dict[str, Any]]) -> str:
    """How much the trainings of a study had: ``400 steps``, or ``equal wall time, 150 to 400 steps``."""
    fewest, most = min(row["steps"] for row in rows), max(row["steps"] for row in rows)
    steps = f"{most} steps" if fewest == most else f"{fewest} to {most} steps"
    return f"equal wall time, {steps}" if is_at_equal_time(rows[0]) else steps


def time_words(rows: Sequence[dict[str, Any]]) -> str:
    """How equal the times of the trainings came out."""
    seconds = [row["cost"]["training_seconds"] for row in rows]
    if None in seconds:
        return "training times were not logged"
    low, high = min(seconds), max(seconds)
    more = 100 * (high / low - 1)
    return f"trainings took {low:.1f} to {high:.1f} s, the longest {more:.1f} % more than the shortest"


def score_cells(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of scores and differences: a row a training, region and metric."""
    cells = []
    for row in rows:
        for region, metrics in row["scores"].items():
            for metric in METRICS:
                score = metrics[metric]
                difference = row.get("minus_plain", {}).get(region, {}).get(metric)
                cells.append([
                    row["name"], region, HEADINGS[metric], interval_words(score),
                    " / ".join(format_number(value) for value in score["of_seeds"]),
                    interval_words(difference) if difference else "",
                    format_number(difference["wilcoxon_p"]) if difference else "",
                ])  # fmt: skip
    return ["", "Region", "Metric", "Mean (95 %)", "Each seed", "Minus plain (95 %)", "p"], cells


def cost_cells(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of costs: a row a training; at equal time with its steps and what it took."""
    headings = ["", "Parameters", "Operations a step", "Memory of a step", "Seconds a step"]
    cells = [
        [
            row["name"],
            f"{row['cost']['parameters'] / 1e6:.2f} M",
            f"{row['cost']['operations_per_step'] / 1e9:.1f} G",
            f"{row['cost']['memory_of_step'] / 2**20:.0f} MiB",
            format_number(row["cost"]["seconds_per_step"]),
        ]
        for row in rows
    ]
    if is_at_equal_time(rows[0]):
        headings += ["Steps", "Seconds of training"]
        for row, of_row in zip(rows, cells, strict=True):
            of_row += [str(row["steps"]), format_number(row["cost"]["training_seconds"])]
    return headings, cells


def interval_words(value: dict[str, Any]) -> str:
    """A mean with its interval, ``0.500 (0.400 to 0.600)``."""
    low, high = value["interval"]
    words = format_number(value["mean"])
    return words if low is None else f"{words} ({format_number(low)} to {format_number(high)})"


def study_page(rows: Sequence[dict[str, Any]]) -> str:
    """The study as a Markdown page."""
    first = rows[0]
    plans = first["plans"]
    seeds = ", ".join(map(str, first["seeds"]))
    equal_time = is_at_equal_time(first)
    parts = [
        f"# {first['dataset']}, {budget_words(rows)}",
        "",
        *[f"- equal wall time: {time_words(rows)}"] * equal_time,
        f"- {first['num_cases']} validation cases of fold {', '.join(first['folds'])}; seeds {seeds}; a case counts "
        "once, with its mean over the seeds",
        f"- {plans['configuration']}, patch {plans['patch_size']}, batch {plans['batch_size']}",
        f"- empty masks: `{first['convention']}`; HD95: `{first['hd95_definition']}`",
        "- intervals: 95 %, bootstrap over seeds and cases; p: Wilcoxon over the cases, paired, not corrected",
        *(["- **Smoke scale**: shows that all parts work, not how accurate a method is"] * is_smoke_scale(rows)),
        "",
        *markdown_table(*score_cells(rows)),
        "",
        *markdown_table(*cost_cells(rows)),
        "",
        "Operations and memory are counted; seconds are those of the epochs, with loading of data and validation.",
        "",
        *(
            f"- {row['name']}, unlike its paper: "
            + (", ".join(f"{name}={value}" for name, value in row["settings_unlike_paper"].items()) or "nothing")
            for row in rows
        ),
        "",
        f"![pseudo Dice over {'time' if equal_time else 'steps'}](curves.png)",
        "",
    ]
    return "\n".join(parts)


def curves_of(entries: Sequence[Repeats]) -> pd.DataFrame:
    """Pseudo Dice over steps: ``name``, ``step``, ``pseudo_dice``, and ``seconds`` since the start."""
    return pd.DataFrame(
        [
            {"name": entry.name, "step": epoch * entry.steps_per_epoch, "pseudo_dice": value, "seconds": seconds}
            for entry in entries
            for epoch, (value, seconds) in enumerate(zip_longest(entry.curve(), entry.seconds_since_start()), start=1)
        ]
    )


def draw_curves(curves: pd.DataFrame, over: Literal["step", "seconds"]) -> Figure:
    """All trainings over steps, or over the seconds since their start, on one axis."""
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for name, of_name in curves.groupby("name", sort=False):
        marker = "." if len(of_name) == 1 else None
        axes.plot(of_name[over], of_name["pseudo_dice"], marker=marker, label=name)
    words = {"step": "training steps", "seconds": "training time [s]"}
    axes.set(xlabel=words[over], ylabel="pseudo Dice, mean over regions, folds and seeds")
    axes.legend(fontsize=8)
    return figure
