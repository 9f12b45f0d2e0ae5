"""The user's data: what is linked, what is held out, and what is refused."""

import json

import pytest

from nnunet_ext.demo.error import DemoError
from nnunet_ext.demo.own_data import dataset_name, link_dataset


def raw_dataset(folder, training, test=(), labelled=()):
    """A data set of two channels with these case names."""
    for split, images, labels in (("Tr", training, training), ("Ts", test, labelled)):
        for kind in ("images", "labels"):
            (folder / f"{kind}{split}").mkdir(parents=True)
        for name in images:
            for channel in range(2):
                (folder / f"images{split}" / f"{name}_{channel:04d}.nii.gz").write_text(f"{name} {channel}")
        for name in labels:
            (folder / f"labels{split}" / f"{name}.nii.gz").write_text(f"{name} label")
    write_json(folder, numTraining=len(training))
    return folder


def write_json(folder, **more):
    content = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "x": 1}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(content | more))


def cases(folder, kind):
    return sorted(path.name.removesuffix(".nii.gz") for path in (folder / kind).iterdir())


@pytest.mark.parametrize(("number", "held_out"), [(6, 1), (9, 1), (10, 2), (16, 3)])
def test_last_fifth_of_the_training_cases_is_held_out(tmp_path, number, held_out):
    names = [f"p{index:02d}" for index in range(number)]
    source, folder = raw_dataset(tmp_path / "own", names), tmp_path / "linked"
    link_dataset(source, folder)
    assert cases(folder, "labelsTr") == names[:-held_out]
    assert cases(folder, "labelsTs") == names[-held_out:]
    assert cases(folder, "imagesTs") == [f"{name}_000{channel}" for name in names[-held_out:] for channel in (0, 1)]
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == number - held_out


def test_links_lead_to_the_users_files(tmp_path):
    source, folder = raw_dataset(tmp_path / "own", [f"p{index}" for index in range(6)]), tmp_path / "linked"
    link_dataset(source, folder)
    assert (folder / "imagesTs" / "p5_0001.nii.gz").read_text() == "p5 1"
    assert (folder / "labelsTr" / "p0.nii.gz").resolve() == (source / "labelsTr" / "p0.nii.gz").resolve()
    assert json.loads((source / "dataset.json").read_text())["numTraining"] == 6


def test_test_cases_with_a_reference_are_used_and_no_training_case_is_held_out(tmp_path):
    names = [f"p{index}" for index in range(5)]
    source = raw_dataset(tmp_path / "own", names, test=["t0", "t1"], labelled=["t1"])
    link_dataset(source, tmp_path / "linked")
    assert cases(tmp_path / "linked", "labelsTr") == names
    assert cases(tmp_path / "linked", "labelsTs") == ["t1"]
    assert cases(tmp_path / "linked", "imagesTs") == ["t1_0000", "t1_0001"]


def test_cases_listed_in_dataset_json_are_found(tmp_path):
    source = tmp_path / "own"
    (source / "any").mkdir(parents=True)
    listed = {}
    for name in "abcdef":
        files = {
            "images": [f"any/{name}_t1.nii.gz", str(source / "any" / f"{name}_t2.nii.gz")],
            "label": f"any/{name}.nii.gz",
        }
        for file in (*files["images"], files["label"]):
            (source / file).write_text(file)
        listed[name] = files
    write_json(source, numTraining=6, dataset=listed)
    link_dataset(source, tmp_path / "linked")
    assert cases(tmp_path / "linked", "labelsTr") == list("abcde")
    assert (tmp_path / "linked" / "imagesTs" / "f_0000.nii.gz").read_text() == "any/f_t1.nii.gz"
    assert "dataset" not in json.loads((tmp_path / "linked" / "dataset.json").read_text())


def test_second_run_leaves_the_links_as_they_are(tmp_path):
    source, folder = raw_dataset(tmp_path / "own", [f"p{index}" for index in range(6)]), tmp_path / "linked"
    link_dataset(source, folder)
    before = folder.stat().st_mtime_ns
    link_dataset(source, folder)
    assert folder.stat().st_mtime_ns == before


@pytest.mark.parametrize("change", ["other source", "new case", "other labels"])
def test_links_to_other_data_are_not_taken_for_this_data(tmp_path, change):
    names = [f"p{index}" for index in range(6)]
    source, folder = raw_dataset(tmp_path / "own", names), tmp_path / "demo" / "raw" / "linked"
    link_dataset(source, folder)
    if change == "other source":
        source = raw_dataset(tmp_path / "other", names)
    elif change == "new case":
        source.rename(tmp_path / "old")
        source = raw_dataset(tmp_path / "own", [*names, "p7"])
    else:
        write_json(source, numTraining=6, labels={"background": 0, "y": 1})
    with pytest.raises(DemoError, match=r"made from other data\. Delete .*demo to start again"):
        link_dataset(source, folder)


@pytest.mark.parametrize(
    ("training", "message"), [(5, "has 5 training cases with a reference"), (0, "has 0 training cases")]
)
def test_too_few_cases_raise_and_nothing_is_written(tmp_path, training, message):
    source = raw_dataset(tmp_path / "own", [f"p{index}" for index in range(training)])
    with pytest.raises(DemoError, match=message):
        link_dataset(source, tmp_path / "linked")
    assert not (tmp_path / "linked").exists()


def test_case_with_a_missing_channel_is_named(tmp_path):
    source = raw_dataset(tmp_path / "own", [f"p{index}" for index in range(6)])
    (source / "imagesTr" / "p3_0001.nii.gz").unlink()
    with pytest.raises(DemoError, match=r"Case p3 .* has 1 images; dataset.json has 2 channels"):
        link_dataset(source, tmp_path / "linked")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist"), ("{", "is not valid JSON"), ('{"labels": {}}', "has no file_ending")],
)
def test_folder_that_is_no_raw_dataset_raises(tmp_path, content, message):
    if content:
        (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(DemoError, match=message):
        link_dataset(tmp_path, tmp_path / "linked")


def test_dataset_keeps_a_name_nnunet_accepts(tmp_path):
    assert dataset_name(tmp_path / "Dataset301_Glioma") == "Dataset301_Glioma"
    assert dataset_name(tmp_path / "my scans") == "Dataset998_Own"
