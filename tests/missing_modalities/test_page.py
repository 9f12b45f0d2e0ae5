"""The page's table is the stored rows."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
REGIONS = ("whole_tumor", "tumor_core", "enhancing_tumor")


def words(scores):
    return "/".join(f"{scores[region]:.2f}".lstrip("0") for region in REGIONS) + f", {scores['mean']:.3f}"


def test_table_of_gains_is_the_stored_rows():
    page = (ROOT / "docs" / "missing_modalities.md").read_text()
    stored = json.loads((ROOT / "benchmarks" / "results" / "missing_modalities_phantom_cpu.json").read_text())
    plain, dropout = (
        next(row for row in stored["rows"] if bool(row["modality_dropout"]) is dropped) for dropped in (False, True)
    )
    for subset in plain["subsets"]:
        dots = " | ".join("●" if name in subset.split("+") else "○" for name in ("T1", "T1ce", "T2", "FLAIR"))
        assert f"| {dots} | {words(plain['subsets'][subset])} | {words(dropout['subsets'][subset])} |" in page
    assert f"{words(plain['mean_over_subsets'])} | {words(dropout['mean_over_subsets'])} |" in page
