"""The HTML report, from small model folders as nnU-Net leaves them."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from label_cases import tumour, write_folder, write_image

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.lesions import LesionSettings
from nnunet_ext.evaluation.uncertainty_folder import UncertaintyFolder
from nnunet_ext.report.learning_curves import learning_curves
from nnunet_ext.report.page import write_report
from nnunet_ext.testing import Case
from nnunet_ext.trained.model_folder import find_model_folders, read_model
from nnunet_ext.trained.unlike_paper import plans_unlike_paper, settings_unlike_paper, unlike_paper
from nnunet_ext.trainers import (
    TRAINERS,
    AttentionFusionTrainer,
    AutoencoderRegularizedTrainer,
    ModalityPairingTrainer,
    health,
)
from nnunet_ext.trainers.health_findings import PATIENCE
from nnunet_ext.uncertainty.calibration_file import Calibration, HeldOut
from nnunet_ext.uncertainty.calibration_tally import NUM_BINS, Reliability

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
    log=None,
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
    times = {"epoch_start_timestamps": [0, 30, 60], "epoch_end_timestamps": [20, 42, 73]}
    weights = {"a": torch.zeros(1000, 250), "number": torch.zeros(5, dtype=torch.long)}
    torch.save(
        {"logging": LOG | COMPONENTS | times | (log or {}), "network_weights": weights},
        model / f"fold_{fold}" / "checkpoint_final.pth",
    )
    return model


def report(tmp_path, *results, **kwargs):
    write_report(results or [tmp_path], tmp_path / "report.html", num_processes=1, **kwargs)
    return (tmp_path / "report.html").read_text()


def test_page_needs_no_other_file_and_no_network(tmp_path):
    make_model(tmp_path, {"a": tumour(), "b": tumour(1)})
    page = report(tmp_path)
    assert set(re.findall(r'(?:src|href)="(.{5})', page)) == {"data:", "#mode"}
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


def test_lesion_wise_scores_and_surface_dice_are_on_the_page(tmp_path):
    make_model(tmp_path, {"a": tumour(), "b": tumour(1)})
    page = report(tmp_path, lesions=LesionSettings("brats2023", "met"), nsd=["1"])
    assert page.count("Lesion-wise Dice, brats2023 met") >= 2  # a table and a box plot
    assert "Surface Dice by area, 1 mm" in page
    assert "Lesions found by volume" in page
    # its panels are side by side: in a cell of the grid nobody could read them
    assert re.search(r'<figure class="wide"[^>]*><img [^>]*alt="Lesions found by volume, one panel a region"', page)
    assert page.count('<figure class="wide"') == 1
    assert "Lesions: brats2023 met" in page


def published_plans(trainer, **changes):
    """Plans with the patch, batch and width that a paper states; the images' axes are turned."""
    plan = CASE.plans["configurations"]["3d"]
    planned = {"features_per_stage": [32, 64, 128]}
    plan = plan | {"patch_size": [128, 160, 192], "batch_size": 1, **changes}
    plan["architecture"] = plan["architecture"] | {"arch_kwargs": plan["architecture"]["arch_kwargs"] | planned}
    plans = CASE.plans | {"configurations": {"3d": plan}, "transpose_forward": [0, 2, 1]}
    return json.loads(json.dumps(trainer.prepare_plans(plans, "3d", CASE.dataset_json)[0]))


def test_model_as_the_paper_has_it_is_said_to_be_so(tmp_path):
    folder = make_model(tmp_path, {}, trainer="AutoencoderRegularizedTrainer")
    (folder / "plans.json").write_text(json.dumps(published_plans(AutoencoderRegularizedTrainer)))
    assert unlike_paper(read_model(folder)) == {}
    assert "All settings are the paper" in report(tmp_path)


def test_patch_batch_and_width_that_differ_are_listed(tmp_path):
    page = report(tmp_path, make_model(tmp_path, {}))
    for name, own, paper in (
        ("patch_size", "[16, 16, 16]", "[128, 128, 128]"),
        ("features of the first stage", "4", "32"),
    ):
        assert f"{name}</th><td>{own}</td><td>{paper}</td>" in page
    assert "batch_size</th>" not in page  # two, as in the paper


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda trainer: trainer.__name__)
def test_published_width_is_that_of_nnunets_default_plans(tmp_path, trainer):
    model = read_model(make_model(tmp_path, {}))
    model = replace(model, trainer=trainer.__name__, plans=published_plans(trainer))
    assert "features of the first stage" not in plans_unlike_paper(model)
    thin = published_plans(trainer)
    thin["configurations"]["3d"]["architecture"]["arch_kwargs"]["features_per_stage"][0] = 1
    expected = trainer.published_size is not None
    assert ("features of the first stage" in plans_unlike_paper(replace(model, plans=thin))) == expected


def test_paper_of_slices_differs_from_volumes_in_dimensions(tmp_path):
    model = replace(read_model(make_model(tmp_path, {})), trainer="AttentionFusionTrainer")
    model = replace(model, plans=published_plans(AttentionFusionTrainer))
    assert plans_unlike_paper(model) == {"dimensions": (3, 2), "batch_size": (1, 4)}


def test_size_speed_and_machine_are_on_the_page(tmp_path):
    folder = make_model(tmp_path, {"a": tumour()})
    debug = {"gpu_name": "A GPU", "device": "cuda:0", "torch_version": "2.9", "cudnn_version": 9, "hostname": "secret"}
    (folder / "fold_0" / "debug.json").write_text(json.dumps(debug | {"nnunetv2_version": "2.8.1"}))
    page = report(tmp_path)
    assert "Parameters</th><td>0.25 M" in page
    assert "Time of an epoch</th><td>13 s" in page  # of 20, 12 and 13
    assert "Device</th><td>A GPU</td>" in page
    assert "Versions</th><td>nnunetv2 2.8.1, torch 2.9, cudnn 9</td>" in page
    assert "secret" not in page


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda trainer: trainer.__name__)
def test_only_what_a_user_sets_differs_from_the_paper(tmp_path, trainer):
    model = read_model(make_model(tmp_path, {}))
    for settings, expected in (({}, set()), ({"num_epochs": 7}, {"num_epochs"})):
        plans = trainer.prepare_plans(CASE.plans | {"nnunet_ext": settings}, "3d", CASE.dataset_json)[0]
        plans = json.loads(json.dumps(plans))
        assert set(settings_unlike_paper(replace(model, trainer=trainer.__name__, plans=plans))) == expected


def test_trainer_of_nnunet_has_no_paper(tmp_path):
    folder = make_model(tmp_path, {"a": tumour()}, trainer="nnUNetTrainer")
    assert unlike_paper(read_model(folder)) is None
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


def test_cases_are_listed_the_worst_first_with_links_to_their_overlays(tmp_path):
    predictions = {"good": tumour(), "empty": np.zeros_like(tumour()), "moved": tumour(3), "ill": tumour()}
    references = {case: tumour() for case in predictions} | {"ill": tumour(enhancing=False)}
    make_model(tmp_path, predictions, references=references)
    for case in predictions:
        for channel in range(4):
            write_image(tmp_path / "images" / f"{case}_{channel:04d}.nii.gz", tumour().astype(np.float32))
    (tmp_path / "images" / "moved_0002.nii.gz").unlink()
    page = report(tmp_path, images=tmp_path / "images")
    table = page.split("Cases, the worst first")[1].split("</table>")[0]
    rows = [re.sub("<[^>]*>", "|", row) for row in re.findall("<tr><th scope=.row.>.*?</tr>", table)]
    assert [row.strip("|").split("|")[0] for row in rows] == ["empty", "moved", "ill", "good"]
    assert "whole_tumor missed, tumor_core missed, enhancing_tumor missed" in rows[0]
    assert "tumor_core Dice 0.40, enhancing_tumor Dice 0.00" in rows[1]
    assert "enhancing_tumor where there is none" in rows[2]
    assert "3 of 4 cases fail" in table
    assert table.count('class="bad"') == 2 * (3 + 2 + 1)
    linked = re.findall(r'href="#(model-0-case-\d)">(\w+)', table)
    assert linked == [("model-0-case-0", "empty"), ("model-0-case-2", "ill"), ("model-0-case-3", "good")]
    for anchor, case in linked:
        assert re.search(f'id="{anchor}"><figcaption>{case}: ', page)
    assert page.count('border-color: limegreen">whole_tumor') == 1  # one legend for all
    assert re.search(r"No overlay of moved: .*moved_0002\.nii\.gz: no such file", page)


def test_page_of_many_cases_has_overlays_of_the_worst_and_the_median_and_the_best(tmp_path, monkeypatch):
    monkeypatch.setattr("nnunet_ext.report.cases.NUM_WORST", 2)
    predictions = {f"c{shift}": tumour(shift) for shift in range(5)}
    make_model(tmp_path, predictions)
    for case in predictions:
        for channel in range(4):
            write_image(tmp_path / "images" / f"{case}_{channel:04d}.nii.gz", tumour().astype(np.float32))
    page = report(tmp_path, images=tmp_path / "images")
    assert re.findall(r"<figcaption>(c\d): ", page) == ["c4", "c3", "c2", "c0"]


def test_means_of_all_models_stand_side_by_side(tmp_path):
    first = make_model(tmp_path / "x", {"a": tumour(), "b": tumour(1)})
    second = make_model(tmp_path / "y", {"a": tumour(), "b": tumour(enhancing=False)})
    page = report(tmp_path, first, second)
    # Dice 1 and 2/3, and 1 and 0
    assert "enhancing_tumor</th><td>Dice</td><td>0.833 ± 0.236</td><td>0.500 ± 0.707</td>" in page


def test_names_are_escaped(tmp_path):
    make_model(tmp_path / "<b>", {"a": tumour()})
    assert "<b>" not in report(tmp_path)


def test_only_curves_that_were_logged_are_drawn(tmp_path):
    model = read_model(make_model(tmp_path, {}))
    fold = replace(model.folds[0], curves={"train_losses": [1.0], "val_losses": [1.0]})
    assert list(learning_curves([fold, replace(fold, curves={})])) == ["Loss"]
    assert learning_curves([]) == {}


def test_region_that_does_not_learn_is_named_and_drawn(tmp_path):
    epochs = PATIENCE + 1
    log = {name: [[0.5, 0.1, 0.01]] * epochs for name in health.REGION_CURVES}
    log |= {name: [0.5] * epochs for name in health.STEP_CURVES}
    log[health.CALLED] = [[0.5, 0.1, 0.98]] * epochs
    make_model(tmp_path, {}, log=log)
    page = report(tmp_path)
    assert 'alt="Health of fold 0"' in page
    (note,) = re.findall(r"Fold 0: Region [^<]*", page)
    assert "enhancing_tumor" in note
    assert "is found nearly everywhere (98 % of the voxels are called so, 1 % are), since epoch 0." in note


def test_log_of_stock_nnunet_has_no_health(tmp_path):
    make_model(tmp_path, {})
    assert "Health" not in report(tmp_path)


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
    make_model(
        tmp_path,
        {"a": tumour(1), "b": tumour(1)},
        plans_name="Run1",
        settings={"seed": 1},
        references={"a": tumour(), "b": tumour()},
    )
    make_model(tmp_path, {"a": tumour(), "b": tumour()}, plans_name="Other", settings={"pairing_weight": 0.1})
    page = report(tmp_path)
    assert page.count("<h2>Repeated runs") == 1
    assert "Run0__3d, ModalityPairingTrainer__Run1__3d: the same but for the name of the plans and the seed" in page
    assert "On the 2 validation cases that all 2 runs have." in page
    assert re.search(r"enhancing_tumor</th><td>Dice</td><td>2</td><td>0.750 ± 0.118</td>", page)


def test_models_trained_otherwise_are_no_repeated_runs(tmp_path):
    make_model(tmp_path, {"a": tumour()}, plans_name="Run0")
    make_model(tmp_path, {"a": tumour()}, plans_name="Run1", settings={"num_epochs": 7})
    make_model(tmp_path, {"a": tumour()}, plans_name="Run1", trainer="nnUNetTrainer")
    assert "Repeated runs" not in report(tmp_path)


def write_certainty(folder, cases):
    """What `nnunet_ext uncertainty` and `nnunet_ext calibrate` write, for cases with their expected Dice."""
    regions = [name for name in CASE.dataset_json["labels"] if name != "background"]
    maps = UncertaintyFolder(folder / "certainty", tuple(regions), 1)
    rows = []
    for case, expected in cases.items():
        for region in regions:
            file = maps.map_file("entropy", region, case)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_image(file, np.full(tumour().shape, 0.5, np.float32))
            row = {"case": case, "region": region, "volume": 7.0, "volume_low": 6.0, "volume_high": 9.5}
            rows.append(row | {"expected_dice": expected, "mean_confidence": 0.8, "flagged": expected < 0.7})
    pd.DataFrame(rows).to_csv(maps.folder / "cases.csv", index=False)
    (maps.folder / "uncertainty.json").write_text(json.dumps({"regions": regions, "largest": 1}))
    one = Reliability(0.125, 0.25, 0.375, [50] * NUM_BINS, [0.5] * NUM_BINS, [0.4] * NUM_BINS)
    calibration = Calibration(
        nnunet_ext="0",
        regions=regions,
        exclusive=False,
        temperatures=[1.5] * len(regions),
        folds=[],
        held_out={region: HeldOut(before=one, after=replace(one, ece=0.0625)) for region in regions},
        voxels=1234,
        margin=10,
        without_foreground=[],
    )
    (folder / "calibration.json").write_text(calibration.model_dump_json())
    return {"uncertainty": maps.folder, "calibration": folder / "calibration.json"}


def test_flagged_cases_stand_beside_their_entropy_and_diagrams_above_them(tmp_path):
    predictions = {"sure": tumour(), "unsure": tumour(2), "lost": tumour(3)}
    make_model(tmp_path, predictions)
    for case in ("sure", "unsure"):
        for channel in range(4):
            write_image(tmp_path / "images" / f"{case}_{channel:04d}.nii.gz", tumour().astype(np.float32))
    certainty = write_certainty(tmp_path, {"sure": 0.9, "unsure": 0.6, "lost": 0.2})
    page = report(tmp_path, images=tmp_path / "images", **certainty)
    section = page.split('<section id="uncertainty">')[1].split("</section>")[0]
    assert section.count('alt="Reliability diagrams') == 1
    assert "whole_tumor, calibrated</th><td>0.062</td><td>0.250</td><td>0.375</td>" in section
    assert "Temperature of whole_tumor: 1.50" in section
    table = section.split("Cases to look at")[1].split("</table>")[0]
    assert "2 of 3 cases are flagged" in table
    rows = [re.sub("<[^>]*>", "|", row) for row in re.findall("<tr><th scope=.row.>.*?</tr>", table)]
    assert [row.strip("|").split("|")[0] for row in rows] == ["lost"] * 3 + ["unsure"] * 3
    assert "6.000 to 9.500" in rows[0]
    assert set(re.findall(r'href="#(uncertainty-case-\d)">(\w+)', table)) == {("uncertainty-case-1", "unsure")}
    assert re.findall(r'<figure class="overlay" id="(.*?)"><figcaption>(.*?)<', section) == [
        ("uncertainty-case-1", "unsure, with the entropy")
    ]
    assert re.search(r"No picture of lost: .*lost_0000\.nii\.gz: no such file", section)


def test_page_without_uncertainty_says_nothing_about_it(tmp_path):
    make_model(tmp_path, {"a": tumour()})
    assert "How sure the models are" not in report(tmp_path)
