"""Means split by the modalities that each case had."""

import pandas as pd
import pytest
from label_cases import tumour, write_dataset_json, write_folder
from typer.testing import CliRunner

from nnunet_ext.cli import app
from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.by_modalities import split_by_modalities
from nnunet_ext.missing_modalities.presence import write_presence


def rows(**dice):
    metrics = [{"case": case, "region": "core", "dice": value} for case, value in dice.items()]
    return pd.DataFrame(metrics).assign(convention="nan", hd95_definition="pooled")


def test_means_are_over_the_cases_that_had_the_same_modalities():
    split = split_by_modalities(
        rows(a=0.9, b=0.5, c=0.7, d=0.1), {"a": ["T1", "T2"], "b": ["T2"], "c": ["T2"], "d": ["T1"]}
    )
    # fewest modalities first; (.5 + .7) / 2 = .6
    assert split["modalities"].tolist() == ["T1", "T2", "T1+T2"]
    assert split["dice"].tolist() == pytest.approx([0.1, 0.6, 0.9])
    assert split["n"].tolist() == [1, 2, 1]


def test_case_whose_modalities_are_not_known_is_refused():
    with pytest.raises(InputError, match="these cases had: b"):
        split_by_modalities(rows(a=1.0, b=1.0), {"a": ["T1"]})


def test_command_writes_the_split_and_a_later_call_without_removes_it(tmp_path):
    write_dataset_json(tmp_path)
    write_folder(tmp_path / "labels", {"a": tumour(), "b": tumour()})
    write_folder(tmp_path / "predicted", {"a": tumour(), "b": tumour(1)})
    (tmp_path / "images").mkdir()
    write_presence(tmp_path / "images", ["T1ce", "FLAIR"], {"a": ["T1ce", "FLAIR"], "b": ["FLAIR"]})
    arguments = [str(tmp_path / name) for name in ("labels", "predicted")] + ["-o", str(tmp_path / "out"), "-np", "1"]
    run = CliRunner().invoke(app, ["evaluate", *arguments, "--by-modalities", str(tmp_path / "images")])
    assert run.exit_code == 0, run.output
    split = pd.read_csv(tmp_path / "out" / "by_modalities.csv")
    assert split.query("modalities == 'T1ce+FLAIR'")["dice"].tolist() == [1, 1, 1]
    assert (split.query("modalities == 'FLAIR'")["dice"] < 1).all()
    assert "| FLAIR | whole tumor | 1 |" in (tmp_path / "out" / "summary.md").read_text()
    assert CliRunner().invoke(app, ["evaluate", *arguments]).exit_code == 0
    assert not (tmp_path / "out" / "by_modalities.csv").exists()
