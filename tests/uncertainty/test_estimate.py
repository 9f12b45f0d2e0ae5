"""``nnunet_ext uncertainty`` on folders as nnU-Net leaves them."""

import json

import numpy as np
import pandas as pd
import pytest
from label_cases import BRATS_DATASET, PLAIN_DATASET, read_image, write_dataset_json
from saved_predictions import THREE_CLASSES, two_classes, write_prediction, write_predictions

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.uncertainty_folder import JOINT, read_uncertainty_folder
from nnunet_ext.uncertainty import estimate
from nnunet_ext.uncertainty.estimate import estimate_uncertainty

SHAPE = (3, 2, 2)
LOW, HIGH = np.full(SHAPE, 0.2), np.full(SHAPE, 0.8)
HIGH[0] = 0.4  # a slice that no member takes for a lesion


@pytest.fixture
def members(tmp_path):
    """Two members that disagree about case a, and agree about case b."""
    contents = ({"a": two_classes(LOW), "b": two_classes(HIGH)}, {"a": two_classes(HIGH), "b": two_classes(HIGH)})
    return [
        write_predictions(tmp_path / f"member_{index}", PLAIN_DATASET, cases, spacing=(1.0, 2.0, 3.0))
        for index, cases in enumerate(contents)
    ]


def run(members, output, **kwargs):
    return estimate_uncertainty(members, output, num_processes=1, **kwargs)


def test_maps_and_table_of_two_members(members, tmp_path):
    table = run(members, tmp_path / "out")
    out = read_uncertainty_folder(tmp_path / "out")
    assert out.regions == ("lesion",)
    assert sorted(path.name for path in out.folder.iterdir()) == [
        "cases.csv", "entropy", "mean", "mutual_information", "uncertainty.json", "variance",
    ]  # fmt: skip
    variance = read_image(out.map_file("variance", "lesion", "a"))
    np.testing.assert_allclose(variance, np.where(np.arange(3)[:, None, None] == 0, 0.01, 0.09) * np.ones(SHAPE))
    np.testing.assert_allclose(read_image(out.map_file("entropy", "lesion", "a"))[1:], 1, rtol=1e-6)
    pd.testing.assert_frame_equal(out.table(), table)
    rows = table.set_index("case")
    # mean of .2 and .8 is .5 in float32, which is not the larger one of two classes: background
    assert rows.loc["a", ["volume", "volume_low", "volume_high"]].tolist() == pytest.approx([0, 2.4, 45.6])
    assert rows.loc["b", ["volume", "volume_low", "volume_high"]].tolist() == pytest.approx([48, 48, 48])
    assert rows["expected_dice"].tolist() == [0, 1]
    assert rows["flagged"].tolist() == [True, False]
    assert np.isnan(rows.loc["a", "mean_confidence"])
    assert rows.loc["b", "mean_confidence"] == pytest.approx(0.8)


def test_whole_numbers_of_0_to_100(members, tmp_path):
    run(members, tmp_path / "out", percent=True)
    out = read_uncertainty_folder(tmp_path / "out")
    assert out.largest == 100
    variance = read_image(out.map_file("variance", "lesion", "a"))
    assert variance.dtype == np.uint8
    assert np.unique(variance).tolist() == [4, 36]


def test_pieces_give_what_the_whole_gives(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    content = {"labels": THREE_CLASSES, "regions": BRATS_DATASET}
    for name, dataset in content.items():
        draw = generator.dirichlet(np.ones(3), size=(2, 5, 4, 3)).transpose(0, 4, 1, 2, 3)
        folders = [
            write_predictions(tmp_path / name / str(index), dataset, {"a": values}) for index, values in enumerate(draw)
        ]
        whole = run(folders, tmp_path / name / "whole")
        monkeypatch.setattr(estimate, "VOXELS_AT_ONCE", 30)  # two slices of 4 x 3
        pd.testing.assert_frame_equal(run(folders, tmp_path / name / "pieces"), whole)
        monkeypatch.undo()
        files = sorted((tmp_path / name / "whole").rglob("*.nii.gz"))
        assert len(files) == (2 * 4 + 2 if name == "labels" else 3 * 4)
        for file in files:
            other = tmp_path / name / "pieces" / file.relative_to(tmp_path / name / "whole")
            np.testing.assert_array_equal(read_image(other), read_image(file))


def test_classes_have_joint_maps_and_confidence_of_the_chosen_class(tmp_path):
    certain = np.zeros((3, 1, 1, 2))
    certain[1], certain[2] = [[[0.6, 0.1]]], [[[0.3, 0.9]]]
    certain[0] = 1 - certain[1] - certain[2]
    folders = [write_predictions(tmp_path / name, THREE_CLASSES, {"a": certain}) for name in ("x", "y")]
    rows = run(folders, tmp_path / "out").set_index("region")
    assert rows["mean_confidence"].to_dict() == pytest.approx({"core": 0.6, "rim": 0.9})
    out = read_uncertainty_folder(tmp_path / "out")
    assert out.regions == ("core", "rim", JOINT)
    joint = read_image(out.map_file("entropy", JOINT, "a"))[0, 0]
    expected = -sum(p * np.log(p) for p in (0.6, 0.3, 0.1)) / np.log(3)
    assert joint[0] == pytest.approx(expected, rel=1e-5)


def test_regions_get_the_labels_that_nnunet_gives_them(tmp_path):
    # whole, core, enhancing: the enhancing voxel outside of the whole tumour is painted last and belongs to all three
    values = np.array([0.9, 0.1, 0.1, 0.2, 0.2, 0.8]).reshape(3, 1, 1, 2)
    folders = [write_predictions(tmp_path / name, BRATS_DATASET, {"a": values}) for name in ("x", "y")]
    rows = run(folders, tmp_path / "out").set_index("region")
    assert rows["volume"].to_dict() == {"whole tumor": 2, "tumor core": 1, "enhancing tumor": 1}
    assert rows.loc["whole tumor", "mean_confidence"] == pytest.approx(0.9)
    assert rows["expected_dice"].tolist() == [1, 1, 1]


def test_one_member_has_entropy_and_no_disagreement(members, tmp_path):
    table = run(members[:1], tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()} == {"mean", "entropy"}
    assert table["expected_dice"].isna().all()
    assert not table["flagged"].any()


def test_model_folder_is_all_its_folds(tmp_path):
    for model in ("x", "y"):
        write_dataset_json(tmp_path / model, PLAIN_DATASET)
        for fold, case in enumerate("ab"):
            write_prediction(tmp_path / model / f"fold_{fold}" / "validation", case, two_classes(HIGH))
    assert run([tmp_path / "x", tmp_path / "y"], tmp_path / "out")["case"].tolist() == ["a", "b"]
    write_prediction(tmp_path / "y" / "fold_1" / "validation", "a", two_classes(HIGH))
    with pytest.raises(InputError, match=r"Case 'a' is in .*fold_0.* and in .*fold_1"):
        run([tmp_path / "x", tmp_path / "y"], tmp_path / "out_2")


def _nan(members):
    values = two_classes(HIGH)
    values[0, 0, 0, 0] = np.nan
    np.savez_compressed(members[1] / "b.npz", probabilities=values)


def _lacking(members):
    (members[1] / "b.npz").unlink()


def _empty(members):
    for path in members[1].glob("*.npz"):
        path.unlink()


def _without_image(members):
    (members[1] / "b.nii.gz").unlink()


def _other_grid(members):
    write_prediction(members[1], "b", two_classes(HIGH), spacing=(1.0, 2.0, 4.0))


def _other_shape(members):
    np.savez_compressed(members[1] / "b.npz", probabilities=two_classes(HIGH[:2]))


def _other_channels(members):
    np.savez_compressed(members[1] / "b.npz", probabilities=np.stack([HIGH] * 3))


def _other_regions(members):
    write_dataset_json(members[1], PLAIN_DATASET | {"labels": {"background": 0, "tumour": 1}})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_nan, r"member_1/b\.npz: channel 0 holds values that are not finite"),
        (_lacking, r"member_1: lacks case 'b'"),
        (_empty, r"member_1: no probabilities .*--save_probabilities"),
        (_without_image, r"member_1/b\.nii\.gz: no such file beside the probabilities"),
        (_other_grid, r"member_1/b\.nii\.gz: spacing .* as in .*member_0/b\.nii\.gz"),
        (_other_shape, r"member_1/b\.npz: shape \(2, 2, 2\)"),
        (_other_channels, r"member_1/b\.npz: 3 channels, but dataset\.json has 2 labels"),
        (_other_regions, r"member_1: labels .*tumour.*, but .*member_0 has .*lesion"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_members_that_do_not_fit_are_refused_and_nothing_is_written(members, tmp_path, spoil, message):
    spoil(members)
    with pytest.raises(InputError, match=message):
        run(members, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["member_0", "member_1"]


def test_same_folder_twice_and_folders_in_use_are_refused(members, tmp_path):
    with pytest.raises(InputError, match="given twice"):
        run([members[0], members[0]], tmp_path / "out")
    with pytest.raises(InputError, match="exists already"):
        run(members, members[0])
    with pytest.raises(InputError, match="0 to 1, not 70"):
        run(members, tmp_path / "out", flag_below=70)


def test_settings_say_what_was_done(members, tmp_path):
    run(members, tmp_path / "out", flag_below=0.5)
    settings = json.loads((tmp_path / "out" / "uncertainty.json").read_text())
    assert settings["members"] == [str(folder) for folder in members]
    assert (settings["flag_below"], settings["largest"], settings["regions"]) == (0.5, 1, ["lesion"])
