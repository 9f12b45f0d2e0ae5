"""Tables in README.md, docs and benchmarks/README.md, from the numbers that the benchmarks stored.

    python tools/measured_tables.py

writes them between their two lines in each page; a test compares the pages with the numbers.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from nnunet_ext.planning.memory_share import MOST, fitted_share, held_bytes, read_memory_share
from nnunet_ext.study.write import interval_words, is_smoke_scale

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- begin {name}: python tools/measured_tables.py -->", "<!-- end {name} -->"
NOT_MEASURED = "not measured yet"

# What each method is for, as its paper says; what it was worth on data is in docs/results.md.
WHEN = {
    "nnUNetTrainer": "always, as the baseline that a method has to beat",
    "ModalityPairingTrainer": "the channels fall into groups that show the same (FLAIR and T2; T1 and T1ce)",
    "AutoencoderRegularizedTrainer": "few cases, and a GPU for patches that hold most of the organ",
    "BiFPNTrainer": "as the next, without the gate",
    "BiFPNClassifierTrainer": "lesions in few slices, and false positives in the others",
    "NestedUNetTrainer": "as the next, without the gate",
    "NestedUNetClassifierTrainer": "the same at full resolution, where memory and time allow",
    "AttentionFusionTrainer": "one channel leads (T1ce), and the others add to it; 2d in the paper",
}


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def stored(results: Path, name: str) -> dict[str, Any]:
    """A file of results; empty where it was not measured."""
    file = results / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else {}


def costs(results: Path) -> str:
    """Memory, operations and time of each method, and when to take it."""
    estimated, timed = stored(results, "costs"), stored(results, "overview_cpu")
    ratios = {row["network"]: row["train_time_ratio"] for row in timed["results"]}
    plain = estimated["rows"][0]["default"]["operations"]
    rows = []
    for row in estimated["rows"]:
        default, published = row["default"], row.get("published")
        size = "" if published is None else f"{'x'.join(map(str, published['patch']))}, batch {published['batch']}: "
        rows.append(
            [
                f"`{row['trainer']}`",
                _gigabytes(default),
                "" if published is None else f"{size}{_gigabytes(published)}",
                f"{default['operations'] / plain:.2f}",
                f"{ratios[row['trainer']]:.2f}",
                WHEN[row["trainer"]],
            ]
        )
    settings, environment = timed["settings"], timed["environment"]
    return "\n".join(
        [
            markdown(
                [
                    "trainer",
                    "memory, GB (estimated)",
                    "at the paper's size, GB (estimated)",
                    "operations a step, to plain nnU-Net's (counted)",
                    "time a step, to plain nnU-Net's (measured on a CPU)",
                    "when",
                ],
                rows,
            ),
            "",
            "Memory: bytes of all tensors alive in a training step in mixed precision, 10^9 bytes a GB, "
            "[the planner's estimate](docs/planning.md), at nnU-Net's default 128x128x128, batch 2, width 32, four "
            "channels and three regions, and at the paper's patch (Z, Y, X); operations at the former.",
            f"Time: {environment['device']}, {environment['threads']} thread, torch {environment['torch']}, "
            f"patch {settings['side']}^3, batch 2, width {settings['base']}, all networks in turn in one run. "
            f"On a GPU: [{'measured' if stored(results / 'gpu', 'steps') else NOT_MEASURED}](docs/gpu.md).",
        ]
    )


def dead_regions(results: Path, name: str) -> str:
    """Short trainings a learning rate and way to draw the weights: how many of their regions died, and their Dice."""
    content = stored(results, name)
    if not content:
        return f"{NOT_MEASURED.capitalize()}."
    trainings: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in content["rows"]:
        changed = {key: value for key, value in row["settings"].items() if key != "initial_lr"}
        words = f"`{row['trainer']}`" + "".join(f", {key}={value:g}" for key, value in changed.items())
        weights = {"he": "He everywhere, as before", "own": "as now"}[row["weights"]]
        trainings.setdefault((words, weights, f"{row['settings']['initial_lr']:g}"), []).append(row)
    several = len({weights for _, weights, _ in trainings}) > 1
    rows = [
        [
            weights if several else words,
            rate,
            f"{sum(sum(row['dead']) for row in of_one)} of {sum(len(row['dead']) for row in of_one)}",
            f"{100 * mean(mean(row['saturated_at_start']) for row in of_one):.0f} %",
            f"{max(max(row['largest_logit']) for row in of_one):.0f}",
            " / ".join(f"{mean(dice):.2f}" for dice in zip(*(row["dice"] for row in of_one), strict=True)),
        ]
        for (words, weights, rate), of_one in trainings.items()
    ]
    headings = ["initial_lr", "dead regions", "saturated in the first step", "largest logit", "mean Dice, WT / TC / ET"]
    settings, environment = content["settings"], content["environment"]
    return "\n".join(
        [
            markdown(["first weights" if several else "trainer", *headings], sorted(rows)),
            "",
            f"{settings['steps']} steps of batch 2, patch 24^3, width {settings['base']}, noisy phantoms, one in four "
            f"with an enhancing tumour, {max(map(len, trainings.values()))} training(s) a row, scored on eight unseen "
            f"phantoms; {environment['device']}, torch {environment['torch']} (`benchmarks/dead_regions.py` says "
            "what is called dead).",
        ]
    )


def _gigabytes(row: dict[str, Any]) -> str:
    return f"{row['estimated_bytes'] / 1e9:.1f}"


def gpu(results: Path) -> str:
    """What `make gpu` has stored, part by part."""
    parts: dict[str, Callable[[dict[str, Any]], str]] = {
        "memory": _memory,
        "steps": _steps,
        "networks": _networks,
        "convolutions": _convolutions,
        "epoch": _epoch,
        "study": _study,
    }
    titles = {
        "memory": "Memory of a training step against the planner's estimate",
        "steps": "Training step and inference against plain nnU-Net, and against the device's limit",
        "networks": "Networks against their references",
        "convolutions": "Grouped and depthwise convolutions",
        "epoch": "An epoch with real data loading",
        "study": "Study at equal steps, on phantoms",
    }
    lines = []
    for part, table in parts.items():
        content = stored(results, part)
        lines += [f"### {titles[part]}", ""]
        if not content:
            lines += [f"{NOT_MEASURED.capitalize()}.", ""]
            continue
        environment = ", ".join(f"{name} {value}" for name, value in content["environment"].items())
        lines += [table(_succeeded(content)), "", f"{environment}; {_scale(content['scale'])}.", ""]
        failed = [name for name, rows in content["units"].items() if "error" in rows]
        if failed:
            lines += [f"Out of memory: {', '.join(failed)}.", ""]
    return "\n".join(lines)


def _succeeded(content: dict[str, Any]) -> dict[str, Any]:
    return {name: rows for name, rows in content["units"].items() if "error" not in rows}


def _scale(scale: dict[str, Any]) -> str:
    return f"patch {scale['side']}^3 where no other is given, width {scale['base']}"


def memory_share_of_plans() -> str:
    """The share of the memory that plans fill, and where it comes from."""
    share = read_memory_share()
    source = f"[measured](gpu.md) on {share.device}, torch {share.torch}"
    if share.device is None:
        source = f"our choice, {NOT_MEASURED} on a GPU"
    return f"Tensors get {100 * share.share:.0f} % of the target: {source}."


def _memory(units: dict[str, Any]) -> str:
    rows = [
        [
            name,
            "x".join(map(str, row["patch"])),
            str(row["batch"]),
            f"{row['estimated_bytes'] / 1e9:.2f}",
            f"{row['allocated_bytes'] / 1e9:.2f}" if "allocated_bytes" in row else "",
            f"{held_bytes(row) / 1e9:.2f}",
            f"{row['estimated_bytes'] / held_bytes(row):.2f}",
        ]
        for name, row in units.items()
    ]
    table = markdown(
        [
            "trainer",
            "patch",
            "batch",
            "estimated, GB",
            "allocated, GB",
            "reserved (on a CPU: counted), GB",
            "estimated / it",
        ],
        rows,
    )
    share = fitted_share(units)
    if share is None:
        return table
    return (
        f"{table}\n\nTensors may get {100 * share:.0f} % of the memory, by the least of the last column, rounded "
        f"down and at most {100 * MOST:.0f} %; the planner gives them {read_memory_share()}."
    )


def _steps(units: dict[str, Any]) -> str:
    rows = []
    for name, (_, row) in units.items():
        limits = [
            f"{row[f'{kind}_seconds'] / row[f'{kind}_limit_seconds']:.1f}" if f"{kind}_limit_seconds" in row else ""
            for kind in ("train", "infer")
        ]
        rows.append(
            [
                name,
                f"{row['train_seconds']:.4f}",
                f"{row['train_time_ratio']:.2f}",
                limits[0],
                f"{row['infer_seconds']:.4f}",
                f"{row['infer_time_ratio']:.2f}",
                limits[1],
            ]
        )
    return markdown(
        ["trainer", "step, s", "to nnU-Net's", "times the limit", "inference, s", "to nnU-Net's", "times the limit"],
        rows,
    )


def _networks(units: dict[str, Any]) -> str:
    rows = [
        [
            unit,
            row["network"],
            f"{row['median_seconds']:.4f}",
            f"{row['time_ratio']:.2f}",
            f"{row['operations_ratio']:.2f}",
            f"{row['memory_ratio']:.2f}",
        ]
        for unit, of_unit in units.items()
        for row in of_unit
    ]
    return markdown(["", "network", "s", "time ratio", "operations ratio", "memory ratio"], rows)


def _convolutions(units: dict[str, Any]) -> str:
    rows = [
        [unit, row["convolution"], f"{row['median_seconds']:.5f}", f"{row['time_ratio']:.2f}"]
        for unit, of_unit in units.items()
        for row in of_unit
    ]
    return markdown(["", "convolution", "forward and backward, s", "ratio"], rows)


def _epoch(units: dict[str, Any]) -> str:
    rows = [
        [
            name,
            str(row["steps"]),
            f"{row['epoch_seconds']:.1f}",
            f"{row['step_seconds']:.4f}",
            f"{100 * row['steps_share_of_epoch']:.0f} %",
        ]
        for name, row in units.items()
    ]
    return markdown(["trainer", "steps", "epoch, s", "step alone, s", "the training steps' share of the epoch"], rows)


def _study(units: dict[str, Any]) -> str:
    if "comparison" not in units:
        return f"Not compared yet. Trained: {', '.join(units)}."
    compared = units["comparison"]
    regions = list(compared[0]["scores"])
    rows = [
        [
            row["name"],
            *(interval_words(row["scores"][region]["dice"]) for region in regions),
            " / ".join(f"{row['minus_plain'][region]['dice']['mean']:+.3f}" for region in regions)
            if "minus_plain" in row
            else "",
            f"{row['cost']['seconds_per_step']:.3f}",
            f"{row['cost']['memory_of_step'] / 1e9:.2f}",
        ]
        for row in compared
    ]
    headings = [f"Dice, {region}" for region in regions]
    table = markdown(["", *headings, "minus plain nnU-Net", "step, s", "memory (estimated), GB"], rows)
    first = compared[0]
    scale = (
        "**Smoke scale**: shows that all of them train, validate and can be compared, not how accurate one is. "
        if is_smoke_scale(compared)
        else ""
    )
    return (
        f"{table}\n\n{scale}{first['steps']} steps of batch {first['plans']['batch_size']}, seed 0, "
        f"{first['num_cases']} validation case(s), means with bootstrap intervals over them; seconds with data "
        "loading and the epochs' validation. Settings are the papers' but for the steps and a warm-up of one epoch."
    )


# page -> name of the block -> what stands in it
BLOCKS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"costs": lambda: costs(RESULTS)},
    "docs/methods/autoencoder.md": {
        "dead_regions": lambda: dead_regions(RESULTS, "dead_regions_autoencoder_cpu"),
        "dead_regions_long": lambda: dead_regions(RESULTS, "dead_regions_autoencoder_500_steps_cpu"),
    },
    "benchmarks/README.md": {"dead_regions_others": lambda: dead_regions(RESULTS, "dead_regions_others_cpu")},
    "docs/planning.md": {"memory_share": memory_share_of_plans},
    "docs/gpu.md": {"gpu": lambda: gpu(RESULTS / "gpu")},
}


def replaced(page: str, name: str, block: str) -> str:
    """The page with this block in place of its own."""
    begin, end = BEGIN.format(name=name), END.format(name=name)
    before, rest = page.split(begin)
    return f"{before}{begin}\n{block}\n{end}{rest.split(end)[1]}"


def write_pages() -> None:
    """Write all blocks anew."""
    for page, blocks in BLOCKS.items():
        file = ROOT / page
        text = file.read_text(encoding="utf-8")
        for name, block in blocks.items():
            text = replaced(text, name, block())
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_pages()
