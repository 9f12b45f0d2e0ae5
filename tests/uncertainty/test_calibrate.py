"""``nnunet_ext calibrate`` and ``apply-calibration`` on folders as nnU-Net leaves them."""

import json
import shutil

import numpy as np
import pytest
from label_cases import BRATS_DATASET, PLAIN_DATASET, read_image, write_folder
from saved_predictions import THREE_CLASSES, two_classes, write_predictions
from scipy.special import expit, logit

from nnunet_ext.errors import InputError
from nnunet_ext.uncertainty import calibrate as module
from nnunet_ext.uncertainty.apply_calibration import apply_calibration
from nnunet_ext.uncertainty.calibrate import box_around, calibrate
from nnunet_ext.uncertainty.calibration_file import read_calibration
from nnunet_ext.uncertainty.calibration_tally import TEMPERATURES, UNCHANGED, tally

SHAPE = (8, 10, 12)
FACTORS = {"a": 2.0, "b": 2.0, "c": 4.0}  # by which each fold's only case is too sure of itself


def drawn(factor, seed):
    """Probabilities whose logits are too large by a factor, and the truth."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=2, size=SHAPE)
    truth = generator.uniform(size=SHAPE) < expit(logits)
    return expit(factor * logits).astype(np.float32), truth.astype(np.uint8)


@pytest.fixture
def study(tmp_path):
    """Three folds of one case each, and the references."""
    root = tmp_path / "data"
    for index, (case, factor) in enumerate(FACTORS.items()):
        values, truth = drawn(factor, index)
        write_predictions(root / f"fold_{index}" / "validation", PLAIN_DATASET, {case: two_classes(values)})
        write_folder(tmp_path / "labelsTr", {case: truth})
    (root / "dataset.json").write_text(json.dumps(PLAIN_DATASET))
    (root / "plans.json").write_text("{}")
    for path in root.glob("fold_*/validation/dataset.json"):
        path.unlink()
    return root


def run(study, **kwargs):
    return calibrate([study], study.parent / "labelsTr", study.parent / "calibration.json", num_processes=1, **kwargs)


def test_temperatures_of_all_folds_and_of_all_but_each(study):
    result = run(study)
    assert result == read_calibration(study.parent / "calibration.json")
    assert (study.parent / "calibration.png").stat().st_size > 1000
    scores = json.loads((study.parent / "calibration.json").read_text())["held_out"]["lesion"]["after"]
    assert scores["ece"] == result.held_out["lesion"].after.ece
    assert [fold.cases for fold in result.folds] == [["a"], ["b"], ["c"]]
    # without fold c, all logits are twice as large as they should be
    assert result.folds[2].temperatures == pytest.approx([2], rel=0.1)
    assert 2 < result.folds[0].temperatures[0] < 4
    assert 2 < result.temperatures[0] < 4
    assert result.voxels == 3 * np.prod(SHAPE)


def test_scores_are_of_each_fold_with_the_temperature_of_the_others(study):
    result = run(study)
    nll = brier = 0.0
    for index, fold in enumerate(result.folds):
        values, truth = drawn(FACTORS[fold.cases[0]], index)
        inside, outside = values.astype(np.float64), (1 - values).astype(np.float64)
        logits = np.log(inside) - np.log(np.maximum(outside, 2.0**-149))
        tempered = expit(logits / fold.temperatures[0])
        nll -= np.log(expit(np.where(truth, logits, -logits) / fold.temperatures[0])).sum()
        brier += ((tempered - truth) ** 2).sum()
    after, before = result.held_out["lesion"].after, result.held_out["lesion"].before
    assert after.nll == pytest.approx(nll / result.voxels, rel=1e-3)
    assert after.brier == pytest.approx(brier / result.voxels, rel=1e-3)
    assert after.nll < before.nll
    assert after.ece < before.ece


def test_regions_have_a_temperature_each(tmp_path):
    for fold in range(2):
        parts = [drawn(factor, 10 * fold + index) for index, factor in enumerate((0.5, 1.0, 4.0))]
        write_predictions(tmp_path / f"fold_{fold}", BRATS_DATASET, {f"case_{fold}": [values for values, _ in parts]})
        # oedema, necrosis and enhancing tumour cannot be drawn alone: the truth of the first region decides
        write_folder(tmp_path / "labelsTr", {f"case_{fold}": 2 * parts[0][1]})
    result = calibrate(
        [tmp_path / "fold_0", tmp_path / "fold_1"], tmp_path / "labelsTr", tmp_path / "c.json", num_processes=1
    )
    assert list(result.held_out) == ["whole tumor", "tumor core", "enhancing tumor"]
    assert len(result.temperatures) == 3
    assert result.temperatures[0] == pytest.approx(0.5, rel=0.1)
    assert result.temperatures[2] == 8  # there is none, whatever the probabilities say


def test_only_the_surroundings_count_and_ignored_voxels_do_not(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MARGIN", 1)
    monkeypatch.setattr(module, "VOXELS_AT_ONCE", 7)
    truth = np.zeros((9, 9, 9), np.uint8)
    truth[4, 4, 4], truth[4, 4, 5], truth[0, 0, 0] = 1, 2, 2
    content = PLAIN_DATASET | {"labels": {"background": 0, "lesion": 1, "ignore": 2}}
    values = two_classes(np.full((9, 9, 9), 0.2))
    folder = write_predictions(tmp_path / "fold_0", content, {"a": values, "empty": values})
    write_folder(tmp_path / "labelsTr", {"a": truth, "empty": 0 * truth})
    labels = module.read_member(folder).labels
    saved = module.read_member(folder).cases
    counted = module.tally_case(saved["a"], tmp_path / "labelsTr" / "a.nii.gz", labels)
    assert counted.voxels == 27 - 1
    expected = tally(values[:, 0, 0, :1].repeat(26, axis=1), np.array([1] + [0] * 25), exclusive=True)
    np.testing.assert_allclose(counted.objective, expected.objective)
    assert module.tally_case(saved["empty"], tmp_path / "labelsTr" / "empty.nii.gz", labels) is None


def test_box_is_cut_at_the_border_of_the_image():
    mask = np.zeros((30, 30), bool)
    mask[2, 15] = True
    assert box_around(mask) == (slice(0, 13), slice(5, 26))
    assert box_around(mask & False) is None


def test_case_in_two_folds_is_refused(study):
    for path in (study / "fold_0" / "validation").iterdir():
        shutil.copy(path, study / "fold_1" / "validation")
    with pytest.raises(InputError, match=r"Case 'a' is in .*fold_0.* and in .*fold_1"):
        run(study)
    assert not (study.parent / "calibration.json").exists()


def test_two_models_of_the_same_cases_are_refused(study):
    shutil.copytree(study, study.parent / "other")
    with pytest.raises(InputError, match="Case 'a' is in"):
        calibrate([study, study.parent / "other"], study.parent / "labelsTr", study.parent / "c.json")


def test_test_cases_are_refused(study):
    (study.parent / "imagesTs").mkdir()
    (study.parent / "imagesTs" / "b_0000.nii.gz").touch()
    with pytest.raises(InputError, match=r"validation/b: a test case"):
        run(study)
    (study.parent / "labelsTr").rename(study.parent / "labelsTs")
    with pytest.raises(InputError, match="labelsTs: test data"):
        calibrate([study], study.parent / "labelsTs", study.parent / "c.json")


def test_one_fold_is_refused(study):
    with pytest.raises(InputError, match="Only one fold"):
        calibrate([study / "fold_0" / "validation"], study.parent / "labelsTr", study.parent / "c.json")


def test_case_without_reference_is_refused(study):
    (study.parent / "labelsTr" / "b.nii.gz").unlink()
    with pytest.raises(InputError, match=r"b\.nii\.gz: no reference"):
        run(study)


def test_cases_of_the_cross_validation_get_the_temperature_of_the_other_folds(study):
    result = run(study)
    done = apply_calibration(study.parent / "calibration.json", study, study.parent / "out", num_processes=1)
    assert (done.new, done.fitted, done.problems) == ([], ["a", "b", "c"], [])
    values, _ = drawn(FACTORS["c"], 2)
    written = np.load(study.parent / "out" / "c.npz")["probabilities"]
    expected = expit(logit(values[values < 0.99].astype(np.float64)) / result.folds[2].temperatures[0])
    np.testing.assert_allclose(written[1][values < 0.99], expected, rtol=1e-4)
    assert written.dtype == np.float32


def test_folder_is_what_nnunet_reads_and_labels_are_the_same(study):
    run(study)
    new = write_predictions(
        study.parent / "new", PLAIN_DATASET, {"x": two_classes(drawn(3.0, 9)[0]), "y": two_classes(drawn(3.0, 8)[0])}
    )
    done = apply_calibration(study.parent / "calibration.json", new, study.parent / "out", num_processes=1)
    assert done.new == ["x", "y"]
    assert done.problems == [f"No {new / 'plans.json'}: name one with -plans_json where nnU-Net's commands ask for it."]
    assert sorted(path.name for path in (study.parent / "out").iterdir()) == [
        "dataset.json", "x.nii.gz", "x.npz", "x.pkl", "y.nii.gz", "y.npz", "y.pkl",
    ]  # fmt: skip
    for case in "xy":
        written = np.load(study.parent / "out" / f"{case}.npz")["probabilities"]
        np.testing.assert_array_equal(written.argmax(0), read_image(study.parent / "out" / f"{case}.nii.gz"))
        np.testing.assert_allclose(written.sum(0), 1, rtol=1e-5)


def test_calibration_of_other_regions_is_refused(study):
    run(study)
    other = write_predictions(study.parent / "new", THREE_CLASSES, {"x": np.full((3, 2, 2, 2), 1 / 3)})
    with pytest.raises(InputError, match=r"is for the classes lesion, but .* has the classes core, rim"):
        apply_calibration(study.parent / "calibration.json", other, study.parent / "out", num_processes=1)
    assert not (study.parent / "out").exists()


def test_file_that_calibrate_does_not_write_is_refused(study):
    run(study)
    path = study.parent / "calibration.json"
    content = json.loads(path.read_text())
    for spoil in ({"temperatures": [0.0]}, {"temperatures": [1.0, 2.0]}, {"regions": None}, {"x": 1}):
        path.write_text(json.dumps(content | spoil))
        with pytest.raises(InputError, match=r"calibration\.json: not what `nnunet_ext calibrate` writes"):
            read_calibration(path)


def test_unchanged_probabilities_are_the_scores_before(study):
    result = run(study)
    expected = [tally(two_classes(drawn(factor, index)[0]).reshape(2, -1), drawn(factor, index)[1].ravel(), True)
                for index, factor in enumerate(FACTORS.values())]  # fmt: skip
    total = sum(one.at([UNCHANGED]).nll[0] for one in expected)
    assert result.held_out["lesion"].before.nll == pytest.approx(total / result.voxels)
    assert set(result.temperatures) <= set(TEMPERATURES.tolist())
