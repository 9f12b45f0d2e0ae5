"""The table of smoke trainings on residual-encoder plans is the stored rows."""

import json

from workspace import CHECKOUT

PAGE = CHECKOUT / "docs" / "methods" / "host_networks.md"


def dice_of_rows(name):
    stored = json.loads((CHECKOUT / "benchmarks" / "results" / f"host_networks_{name}_cpu.json").read_text())
    return {
        row["name"]: (row["trainer"], "/".join(f"{v:.2f}" for v in row["mean_dice"].values())) for row in stored["rows"]
    }


def test_table_is_the_stored_rows():
    phantom, lesions = dice_of_rows("phantom"), dice_of_rows("lesions")
    page = PAGE.read_text()
    assert len(phantom) == 6
    for name, (trainer, dice) in phantom.items():
        assert f"| {name} | {trainer} | {dice} | {lesions.get(name, (trainer, ''))[1]} |" in page
