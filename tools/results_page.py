"""docs/results.md, made from the rows in benchmarks/results/*.yaml.

    python tools/results_page.py

copies rows measured elsewhere (../shared/results/*.yaml, where there are any that are not here yet), and writes the
page anew. It depends on the files in benchmarks/results alone: ``published.yaml`` has the papers' figures, files with a
``source`` have rows from elsewhere, and all others are ``results.yaml`` of studies (``nnunet_ext workflow --study``).
To these ``remarks`` may be added: what a reader should know and see. The curves of NAME.yaml are docs/results/NAME.png.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from nnunet_ext.evaluation.markdown import format_number, markdown_table
from nnunet_ext.study.write import (
    SMOKE_STEPS,
    budget_words,
    cost_cells,
    is_at_equal_time,
    is_smoke_scale,
    score_cells,
    time_words,
)

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = CHECKOUT / "docs" / "results.md"
RESULTS = CHECKOUT / "benchmarks" / "results"
ELSEWHERE = CHECKOUT.parent / "shared" / "results"
PUBLISHED = "published.yaml"
PICTURES = "results"  # below docs
INTRODUCTION = """# Results

Made by `python tools/results_page.py` from the rows in `benchmarks/results/*.yaml`; a test fails where page and rows
differ. Rows of ours are those of [`nnunet_ext workflow --study`](workflow.md#a-study-trainers-at-equal-steps), which
anyone can repeat with the command that stands beside them.

**All rows are smoke scale**: hundreds of times less training than the papers', small networks, few and small images,
one CPU. They show that all parts work together, and what happens in a situation that was made for a method; none of
them says how accurate it is on patients. Nothing was run on a GPU or at a published size, and no study on the papers'
data, so no claim of a paper is confirmed or refuted here. What was not run has no row.

Subsets of the modalities: [missing modalities](missing_modalities.md#what-it-gains-measured).
"""


def copy_from_elsewhere(source: Path = ELSEWHERE, target: Path = RESULTS) -> list[Path]:
    """Copy files of rows that are not among the results yet; they must say where they come from.

    Raises:
        ValueError: A file has no ``source`` line.
    """
    new = [file for file in sorted(source.glob("*.yaml")) if not (target / file.name).exists()]
    for file in new:
        if not yaml.safe_load(file.read_text(encoding="utf-8")).get("source"):
            raise ValueError(f"{file} has no line `source:` that says where its rows come from.")
        shutil.copyfile(file, target / file.name)
    return new


def rendered(results: Path = RESULTS) -> str:
    """The whole page."""
    files = {file.name: yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted(results.glob("*.yaml"))}
    papers = files.pop(PUBLISHED)["papers"]
    elsewhere = {name: content for name, content in files.items() if "source" in content}
    studies = {name: content for name, content in files.items() if name not in elsewhere}
    rows = [row for study in studies.values() for row in study["rows"]]
    if large := [name for name, study in studies.items() if not is_smoke_scale(study["rows"])]:
        raise ValueError(f"The introduction calls all rows smoke scale, and {large[0]} is not. Rewrite it.")
    parts = [INTRODUCTION, "## Theirs and ours", "", *_papers(papers, rows)]
    for name, study in studies.items():
        parts += [*_study(name, study["rows"], study.get("remarks", ""))]
    for name, content in elsewhere.items():
        parts += [*_rows_from_elsewhere(name, content)]
    return "\n".join(parts).rstrip() + "\n"


def _papers(papers: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = [
        "Dice, of tumours whole tumour / tumour core / enhancing tumour. *Gain*: theirs against the network that the "
        "paper compares with, ours against plain nnU-Net at equal steps, or equal wall time where it says so (95 % "
        "interval over seeds and cases). *Difference*: ours minus theirs.",
        "",
    ]
    for paper in papers:
        own = [row for row in rows if row["trainer"] == paper["trainer"] and row["name"] == paper["trainer"]]
        without = paper["without"]
        gain = "not printed"
        if without:
            gain = f"{_signed(a - b for a, b in zip(paper['dice'], without['dice'], strict=True))} ({without['name']})"
        lines += [f"### {paper['title']}", "", f"Theirs: {_dice(paper['dice'])}, gain {gain}; {paper['data']}.", ""]
        if not own:
            lines += ["Ours: not run.", ""]
            continue
        table = [
            [row["dataset"] + ", equal wall time" * is_at_equal_time(row), *_beside(paper, row), why(paper, row)]
            for row in own
        ]
        headings = ["ours on", "Dice", "difference", "gain", "why it differs"]
        lines += [*markdown_table(headings, table), ""]
    return lines


def _beside(paper: dict[str, Any], row: dict[str, Any]) -> list[str]:
    """Our Dice, its difference to the paper's, and our gain."""
    ours = [score["dice"]["mean"] for score in row["scores"].values()]
    comparable = [name.replace(" ", "_") for name in row["scores"]] == paper["regions"]
    difference = _signed(a - b for a, b in zip(ours, paper["dice"], strict=True)) if comparable else "other regions"
    gains = " / ".join(
        f"{_signed([region['dice']['mean']])} ({_signed(region['dice']['interval'], ' to ')})"
        for region in row.get("minus_plain", {}).values()
    )
    return [_dice(ours), difference, gains or "not measured"]


def why(paper: dict[str, Any], row: dict[str, Any]) -> str:
    """Reasons for a difference, never empty: the data always, and what the row says was otherwise than in the paper."""
    cases = f"{row['num_cases']} {'case' if row['num_cases'] == 1 else 'cases'}"
    reasons = [f"other data ({cases}, {len(row['seeds'])} {'seed' if len(row['seeds']) == 1 else 'seeds'})"]
    if row["steps"] < SMOKE_STEPS:
        reasons.append(f"smoke scale: {row['steps']} steps")
    reasons += [f"{name} {ours} for {theirs}" for name, (ours, theirs) in row["plans_unlike_paper"].items()]
    budget = ("num_epochs", "num_iterations_per_epoch", "num_val_iterations_per_epoch", "save_every")
    reasons += [f"{key}={value}" for key, value in row["settings_unlike_paper"].items() if key not in budget]
    return "; ".join(reasons)


def _study(name: str, rows: Sequence[dict[str, Any]], remarks: str) -> list[str]:
    first = rows[0]
    plans, seeds = first["plans"], ", ".join(map(str, first["seeds"]))
    patch = "x".join(map(str, plans["patch_size"]))
    spacing = " x ".join(f"{side:g}" for side in plans["spacing"])
    picture = f"{PICTURES}/{name.removesuffix('.yaml')}.png"
    curves = [f"![pseudo Dice over steps]({picture})", ""] if (PAGE.parent / picture).exists() else []
    versions = ", ".join(f"{key} {value}" for key, value in first["versions"].items())
    return [
        f"## {first['dataset']}{', smoke scale' if is_smoke_scale(rows) else ''}",
        "",
        f"{budget_words(rows).capitalize()}, batch {plans['batch_size']}, patch {patch} of {spacing} mm, width "
        f"{plans['features_of_first_stage']}; {first['num_cases']} validation cases of fold "
        f"{', '.join(first['folds'])}, seeds {seeds}.",
        f"{first['device']}, {versions}, commit {first['commit']}; fingerprint {first['fingerprint']}; empty masks "
        f"`{first['convention']}`, HD95 `{first['hd95_definition']}`; rows: `benchmarks/results/{name}`.",
        "",
        *[" ".join(remarks.split()), ""] * bool(remarks),
        *[f"Equal wall time: {time_words(rows)}.", ""] * is_at_equal_time(first),
        *markdown_table(*score_cells(rows)),
        "",
        *markdown_table(*cost_cells(rows)),
        "",
        *curves,
        f"`{first['command']}`",
        "",
    ]


def _rows_from_elsewhere(name: str, content: dict[str, Any]) -> list[str]:
    budget = content["budget"]
    smoke = ", smoke scale" if budget["steps"] < SMOKE_STEPS else ""
    plain = next((row["dice"] for row in content["rows"] if row["trainer"] == "nnUNetTrainer"), None)
    cells = [
        [
            row["trainer"],
            ", ".join(f"{key}={value}" for key, value in row["settings"].items()),
            _dice(row["dice"]),
            _signed(a - b for a, b in zip(row["dice"], plain, strict=True)) if plain else "",
            row.get("note", ""),
        ]
        for row in content["rows"]
    ]
    return [
        f"## Measured elsewhere: {name.removesuffix('.yaml').replace('_', ' ')}{smoke}",
        "",
        f"Source: {' '.join(content['source'].split())}",
        "",
        f"{', '.join(f'{key} {value}' for key, value in budget.items())}. {content['metric']}. {content['remarks']}",
        "",
        *markdown_table(["", "settings", "Dice", "minus nnUNetTrainer", "note"], cells),
        "",
    ]


def _dice(values: Sequence[float]) -> str:
    return " / ".join(format_number(value) for value in values)


def _signed(values: Any, between: str = " / ") -> str:
    return between.join("n/a" if value is None else f"{value:+.3f}" for value in values)


if __name__ == "__main__":
    for copied in copy_from_elsewhere():
        print(f"Copied {copied}")
    PAGE.write_text(rendered(), encoding="utf-8")
