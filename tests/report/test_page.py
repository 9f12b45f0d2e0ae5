"""The HTML report, from small model folders as nnU-Net leaves them."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from label_cases import tumour, write_folder, write_image

from nnunet_ext.errors import InputError
from nnunet_ext.report.learning_curves import learning_curves
from nnunet_ext.report.page import write_report
from nnunet_ext.testing import Case
from nnunet_ext.trained.model_folder import find_model_folders, read_model, settings_unlike_paper
from nnunet_ext.trainers import TRAINERS, ModalityPairingTrainer

LOG = {"train_losses": [0.2, -0.1], "val_losses": [0.3, 0.0], "ema_fg_dice": [0.1, 0.2], "lrs": [0.01, 0.005]}
COMPONENTS = {"loss_segmentation": [0.3, 0.1], "loss_modality_pairing": [-0.2, -0.4]}
CASE = replace(Case(), regions=True)


@pytest.fixture(autouse=True)
def no_nnunet_folders(monkeypatch):
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(name, raising=False)


def make_model(
    folder,
    predictions,
    trainer="ModalityPairingTrainer",
    settings=None,
    fold="0",
    references=None,
    plans_name="nnUNetPlans",
):
    """A model folder whose references lie in ``<folder>/gt``."""
    model = folder / f"{trainer}__{plans_name}__3d"
    validation = write_folder(model / f"fold_{fold}" / "validation", predictions)
    validation.mkdir(parents=True, exist_ok=True)
    if references is None:
        references = {case: tumour() for case in predictions}
    gt = write_folder(folder / "gt", references)
    entries = [{"reference_file": str(gt / f"{case}.nii.gz")} for case in predictions]
    (validation / "summary.json").write_text(json.dumps({"metric_per_case": entries}))
    plans = CASE.plans | {"plans_name": plans_name}
    if trainer == "ModalityPairingTrainer":
        plans |= {"nnunet_ext": settings or {}}
        plans = ModalityPairingTrainer.prepare_plans(plans, "3d", CASE.dataset_json)[0]
    (model / "plans.json").write_text(json.dumps(plans))
    (model / "dataset.json").write_text(json.dumps(CASE.dataset_json))
    torch.save({"logging": LOG | COMPONENTS}, model / f"fold_{fold}" / "checkpoint_final.pth")
    return model


def report(tmp_path, *results, **kwargs):
    write_report(results or [tmp_path], tmp_path / "report.html", num_processes=1, **kwargs)
    return (tmp_path / "report.html").read_text()


def test_page_needs_no_other_file_and_no_network(tmp_path):
    make_model(tmp_path, {"a": tumour(), "b": tumour(1)})
    page = report(tmp_path)
    assert set(re.findall(r'(?:src|href)="(.{5})', page)) == {"data:"}
    assert not re.search(r"https?://|<link|<script|@import|url\(", page)
    assert 'name="viewport"' in page


def test_page_holds_settings_curves_scores_and_plots(tmp_path):
    make_model(tmp_path, {"a": tumour(), "b": tumour(1)}, settings={"num_epochs": 2, "pairing_weight": 0.25})
    page = report(tmp_path)
    assert re.search(r"pairing_weight</th><td>0.25</td><td>0.5</td>", page)
    assert re.search(r"num_epochs</th><td>2</td><td>1000</td>", page)
    for title in ("Loss component: modality pairing", "Loss component: segmentation", "Learning rate"):
        assert f'alt="{title}"' in page
    assert re.search(r"enhancing_tumor</th><td>0.833</td>", page)  # Dice 1 and 2/3
    assert "HD95 [mm], pooled" in page
    assert "brats2020" in page
    assert page.count('alt="Box plot') == 6


def test_convention_and_definition_can_be_chosen(tmp_path):
    make_model(tmp_path, {"a": tumour()})
    page = report(tmp_path, convention="nan", hd95_choice="directed")
    assert "HD95 [mm], directed" in page
    assert "brats2020" not in page


def test_settings_of_the_paper_are_said_to_be_so(tmp_path):
    folder = make_model(tmp_path, {})
    assert settings_unlike_paper(read_model(folder)) == {}
    assert "All settings are the paper" in report(tmp_path)


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda trainer: trainer.__name__)
def test_only_what_a_user_sets_differs_from_the_paper(tmp_path, trainer):
    model = read_model(make_model(tmp_path, {}))
    for settings, expected in (({}, set()), ({"num_epochs": 7}, {"num_epochs"})):
        plans = trainer.prepare_plans(CASE.plans | {"nnunet_ext": settings}, "3d", CASE.dataset_json)[0]
        plans = json.loads(json.dumps(plans))
        assert set(settings_unlike_paper(replace(model, trainer=trainer.__name__, plans=plans)) or {}) == expected


def test_trainer_of_nnunet_has_no_paper(tmp_path):
    folder = make_model(tmp_path, {"a": tumour()}, trainer="nnUNetTrainer")
    assert settings_unlike_paper(read_model(folder)) is None
    assert "without a paper" in report(tmp_path)


def test_several_models_of_a_data_set_are_compared_on_common_cases(tmp_path):
    first = make_model(tmp_path / "x", {"a": tumour(), "b": tumour(), "c": tumour()})
    second = make_model(tmp_path / "y", {"a": tumour(1), "b": tumour(1)})
    page = report(tmp_path, first, second)
    assert "On the 2 validation cases that all 2 models have" in page
    assert re.search(r"enhancing_tumor</th><td>Dice</td><td>2</td><td>-0.333</td>", page)
    assert page.count('alt="Box plot') == 18


def test_folds_are_scored_together(tmp_path):
    make_model(tmp_path, {"a": tumour()})
    make_model(tmp_path, {"b": tumour()}, fold="1")
    page = report(tmp_path)
    assert "Cases: 2" in page
    assert "0 (2 epochs), 1 (2 epochs)" in page


def test_what_is_missing_is_said(tmp_path):
    folder = make_model(tmp_path, {"a": tumour(), "b": tumour()}, fold="all")
    (tmp_path / "gt" / "b.nii.gz").unlink()
    (folder / "fold_all" / "checkpoint_final.pth").rename(folder / "fold_all" / "checkpoint_latest.pth")
    page = report(tmp_path)
    assert "1 validation predictions have no reference" in page
    assert "Training of fold all has not finished" in page
    assert "validated on the cases it was trained on" in page
    assert "No overlays: the images were not found" in page


def test_fold_without_validation_still_shows_its_curves(tmp_path):
    make_model(tmp_path, {})
    page = report(tmp_path)
    assert "No validation predictions to score" in page
    assert 'alt="Loss"' in page


def test_references_can_be_named(tmp_path):
    make_model(tmp_path, {"a": tumour()})
    elsewhere = write_folder(tmp_path / "elsewhere", {"a": tumour(1)})
    page = report(tmp_path, reference=elsewhere)
    assert re.search(r"enhancing_tumor</th><td>0.667</td>", page)


def test_overlays_are_on_the_page(tmp_path):
    make_model(tmp_path, {"a": tumour(), "b": tumour(1)})
    for case in "ab":
        for channel in range(4):
            write_image(tmp_path / "images" / f"{case}_{channel:04d}.nii.gz", tumour().astype(np.float32))
    assert 'alt="Slices of a: best (Dice 1.000), b: worst' in report(tmp_path, images=tmp_path / "images")
    (tmp_path / "images" / "b_0002.nii.gz").unlink()
    assert re.search(r"No overlays: .*b_0002\.nii\.gz: no such file", report(tmp_path, images=tmp_path / "images"))


def test_names_are_escaped(tmp_path):
    make_model(tmp_path / "<b>", {"a": tumour()})
    assert "<b>" not in report(tmp_path)


def test_only_curves_that_were_logged_are_drawn(tmp_path):
    model = read_model(make_model(tmp_path, {}))
    fold = replace(model.folds[0], curves={"train_losses": [1.0], "val_losses": [1.0]})
    assert list(learning_curves([fold, replace(fold, curves={})])) == ["Loss"]
    assert learning_curves([]) == {}


def test_models_are_found_two_levels_below(tmp_path):
    folder = make_model(tmp_path / "Dataset999_Case", {})
    assert find_model_folders([tmp_path, folder]) == [folder.resolve()]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda model: (model / "fold_0" / "checkpoint_final.pth").write_bytes(b"no"),
            r"checkpoint_final\.pth: was cut off",
        ),
        (lambda model: (model / "plans.json").write_text("{"), r"plans\.json is no JSON"),
        (lambda model: (model / "dataset.json").unlink(), r"dataset\.json: cannot be read"),
        (lambda model: write_image(model / "fold_0" / "validation" / "a.nii.gz", tumour()[1:]), r"a\.nii\.gz: shape"),
    ],
)
def test_unusable_file_is_named_and_an_older_report_stays(tmp_path, spoil, message):
    model = make_model(tmp_path, {"a": tumour()})
    before = report(tmp_path)
    spoil(model)
    with pytest.raises(InputError, match=message):
        report(tmp_path)
    assert (tmp_path / "report.html").read_text() == before


def test_folder_without_a_model_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no trained model"):
        report(tmp_path)
    make_model(tmp_path, {})
    with pytest.raises(InputError, match="a file in a folder that exists"):
        write_report([tmp_path], tmp_path / "nowhere" / "report.html")


def test_repeated_runs_have_their_mean_and_deviation(tmp_path):
    # Dice 1 and 2/3, 2/3 and 2/3: runs' means .833 and .667
    make_model(tmp_path, {"a": tumour(), "b": tumour(1)}, plans_name="Run0")
    make_model(tmp_path, {"a": tumour(1), "b": tumour(1)}, plans_name="Run1", references={"a": tumour(), "b": tumour()})
    make_model(tmp_path, {"a": tumour(), "b": tumour()}, plans_name="Other", settings={"pairing_weight": 0.1})
    page = report(tmp_path)
    assert page.count("<h2>Repeated runs") == 1
    assert "Run0__3d, ModalityPairingTrainer__Run1__3d: the same but for the name of the plans" in page
    assert "On the 2 validation cases that all 2 runs have." in page
    assert re.search(r"enhancing_tumor</th><td>Dice</td><td>2</td><td>0.750 ± 0.118</td>", page)


def test_models_trained_otherwise_are_no_repeated_runs(tmp_path):
    make_model(tmp_path, {"a": tumour()}, plans_name="Run0")
    make_model(tmp_path, {"a": tumour()}, plans_name="Run1", settings={"num_epochs": 7})
    make_model(tmp_path, {"a": tumour()}, plans_name="Run1", trainer="nnUNetTrainer")
    assert "Repeated runs" not in report(tmp_path)
