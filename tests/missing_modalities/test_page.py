"""The page's tables are the stored rows."""

import json

from subset_tables import PAGE, RESULTS, STUDIES, name_of, number, rendered, signed, tables

REGIONS = ("whole_tumor", "tumor_core", "enhancing_tumor")


def words(scores):
    return "/".join(number(scores[region]) for region in REGIONS) + f", {scores['mean']:.3f}"


def test_table_of_the_longer_pair_is_the_stored_rows():
    page = PAGE.read_text(encoding="utf-8")
    stored = json.loads((RESULTS / "missing_modalities_phantom_cpu.json").read_text())
    plain, dropout = (
        next(row for row in stored["rows"] if bool(row["modality_dropout"]) is dropped) for dropped in (False, True)
    )
    for subset in plain["subsets"]:
        dots = " | ".join("●" if name in subset.split("+") else "○" for name in ("T1", "T1ce", "T2", "FLAIR"))
        assert f"| {dots} | {words(plain['subsets'][subset])} | {words(dropout['subsets'][subset])} |" in page
    assert f"{words(plain['mean_over_subsets'])} | {words(dropout['mean_over_subsets'])} |" in page


def test_tables_of_all_trainers_are_the_stored_rows():
    page = PAGE.read_text(encoding="utf-8")
    assert page == rendered(page), "Run: python tools/subset_tables.py"
    for study in STUDIES:
        assert f"`benchmarks/results/{study}.json`" in page


def test_a_table_pairs_a_trainer_with_itself_without_dropout():
    def row(trainer, dropout, one, both, **settings):
        subsets = {"T1": {"lesion": one, "mean": one}, "T2": {"lesion": 0, "mean": 0},
                   "T1+T2": {"lesion": both, "mean": both}}  # fmt: skip
        return {"trainer": trainer, "modality_dropout": dropout, "settings": settings, "subsets": subsets,
                "mean_over_subsets": {"lesion": one, "mean": one}}  # fmt: skip

    pairing = "ModalityPairingTrainer"
    lines = tables({"rows": [
        row("ModalityDropoutTrainer", 0, 0.25, 0.5),
        row(pairing, "uniform", 0.5, 0.75, warmup_epochs=1),
        row(pairing, "uniform", 0.125, 1.0, empty_branch="leave_out"),
        row(pairing, 0, 0.375, 0.875, warmup_epochs=1),
        row("AttentionFusionTrainer", "uniform", 0.5, 0.5),
    ]})  # fmt: skip
    assert "| pairing | .38 | .50 | +12.5 | .88 | .75 | -12.5 |" in lines
    assert "| pairing, empty_branch=leave_out | .38 | .12 | -25.0 | .88 | 1.00 | +12.5 |" in lines
    assert "| attention |  | .50 |  |  | .50 |  |" in lines
    assert "| ● | ○ | .25 | .50 | .12 | .50 |" in lines
    assert "| ● | ● | .50 | .75 | 1.00 | .50 |" in lines


def test_names_tell_variants_apart():
    row = {"trainer": "AttentionFusionTrainer", "settings": {"initial_lr": 0.001, "presence_aware": True}}
    assert name_of(row | {"modality_dropout": "uniform"}) == "attention, presence_aware=true"
    assert name_of(row | {"modality_dropout": 0.5}) == "attention, presence_aware=true, modality_dropout=0.5"
    assert (number(0.5), number(1.0), signed(-0.0125)) == (".50", "1.00", "-1.2")
