"""Tables of docs/missing_modalities.md, made from the rows of benchmarks/missing_modalities.py.

    python tools/subset_tables.py

writes them anew: of each data set that was measured, every set of modalities, and what dropout gains and costs.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = CHECKOUT / "docs" / "missing_modalities.md"
RESULTS = CHECKOUT / "benchmarks" / "results"
STUDIES = ("missing_modalities_small_phantom_cpu", "missing_modalities_lesions_cpu")
BEGIN, END = "<!-- begin {}: python tools/subset_tables.py -->", "<!-- end {} -->"
# What only shortens a schedule of hundreds of epochs: the same in all rows of a trainer
SHORTENING = ("warmup_epochs", "initial_lr", "epochs_per_halving")
SHORT_NAMES = {
    "ModalityDropoutTrainer": "U-Net",
    "ModalityPairingTrainer": "pairing",
    "BiFPNClassifierTrainer": "BiFPN, gate",
    "AttentionFusionTrainer": "attention",
    "AutoencoderRegularizedTrainer": "autoencoder",
}


def name_of(row: dict[str, Any]) -> str:
    """Short name of a row: the method, and settings that are not the default's."""
    others = [f"{name}={json.dumps(value)}" for name, value in row["settings"].items() if name not in SHORTENING]
    words = [SHORT_NAMES[row["trainer"]], *(other.replace('"', "") for other in others)]
    if isinstance(row["modality_dropout"], float) and row["modality_dropout"]:
        words.append(f"modality_dropout={row['modality_dropout']}")
    return ", ".join(words)


def number(value: float) -> str:
    """Two digits, as ``.87``."""
    return f"{value:.2f}".replace("0.", ".", 1)


def signed(value: float) -> str:
    """A difference in points, hundredths of Dice."""
    return f"{100 * value:+.1f}"


def tables(content: dict[str, Any]) -> list[str]:
    """Lines of the two tables of a data set, and how they were measured.

    Args:
        content: What ``benchmarks/missing_modalities.py`` has stored.
    """
    rows = content["rows"]
    subsets = list(rows[0]["subsets"])
    regions = [region for region in rows[0]["mean_over_subsets"] if region != "mean"]
    dropped = [row for row in rows if row["modality_dropout"]]
    without = {name_of(row): row for row in rows if not row["modality_dropout"]}
    plain = without["U-Net"]
    return [*_gains(dropped, without, subsets[-1]), "", *_subsets([plain, *dropped], subsets, regions)]


def _gains(dropped: Sequence[dict[str, Any]], without: dict[str, dict[str, Any]], all_of_them: str) -> list[str]:
    lines = [
        "| | 15 sets, without dropout | with | gain | all modalities, without | with | difference |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in dropped:
        # a variant of what dropout does is compared with the trainer without dropout
        other = without.get(SHORT_NAMES[row["trainer"]])
        cells = []
        for key in ("mean_over_subsets", None):
            value, reference = (
                (source[key] if key else source["subsets"][all_of_them])["mean"] if source else None
                for source in (row, other)
            )
            cells += ["", number(value), ""] if other is None else [
                number(reference), number(value), signed(value - reference)
            ]  # fmt: skip
        lines.append(f"| {name_of(row)} | {' | '.join(cells)} |")
    return lines


def _subsets(rows: Sequence[dict[str, Any]], subsets: Sequence[str], regions: Sequence[str]) -> list[str]:
    names = subsets[-1].split("+")
    headings = [name_of(row) for row in rows]
    headings[0] += " without dropout"
    lines = [
        f"| {' | '.join([*names, *headings])} |",
        f"| {' | '.join([*['---'] * len(names), *['---:'] * len(rows)])} |",
    ]
    for subset in subsets:
        dots = ["●" if name in subset.split("+") else "○" for name in names]
        lines.append(f"| {' | '.join([*dots, *(number(row['subsets'][subset]['mean']) for row in rows)])} |")
    for region in [*(regions if len(regions) > 1 else []), "mean"]:
        title = ["mean" if region == "mean" else f"mean, {region.replace('_', ' ')}", *[""] * (len(names) - 1)]
        cells = [*title, *(number(row["mean_over_subsets"][region]) for row in rows)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def replaced(page: str, study: str, lines: Sequence[str]) -> str:
    """The page with these lines between the marks of a study."""
    begin, end = BEGIN.format(study), END.format(study)
    before, rest = page.split(begin)
    return before + "\n".join([begin, "", *lines, "", end]) + rest.split(end)[1]


def rendered(page: str) -> str:
    """The page with all tables made anew."""
    for study in STUDIES:
        page = replaced(page, study, tables(json.loads((RESULTS / f"{study}.json").read_text(encoding="utf-8"))))
    return page


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
