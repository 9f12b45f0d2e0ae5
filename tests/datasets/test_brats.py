"""Conversion of BraTS data sets of every year, and of predictions back."""

import errno
import gzip
import json
import os

import nibabel
import numpy as np
import pytest
import SimpleITK
from label_cases import BRATS_DATASET, PLAIN_DATASET, tumour, write_dataset_json

from nnunet_ext.datasets.brats import convert_brats
from nnunet_ext.datasets.brats_labels import convert_brats_labels, recognise_scheme
from nnunet_ext.errors import InputError
from nnunet_ext.files.atomic import PREFIX
from nnunet_ext.labels.dataset_labels import read_dataset_labels
from nnunet_ext.missing_modalities.presence import read_presence

LEGACY = {"T1": "_t1", "T1ce": "_t1ce", "T2": "_t2", "FLAIR": "_flair", "seg": "_seg"}
NEW = {"T1": "-t1n", "T1ce": "-t1c", "T2": "-t2w", "FLAIR": "-t2f", "seg": "-seg"}
CHANNELS = ("T1", "T1ce", "T2", "FLAIR")
AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])  # as BraTS writes it
LABELS_2023 = tumour().T
LABELS_2020 = np.where(LABELS_2023 == 3, 4, LABELS_2023)


def write(path, array, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


def write_case(folder, name, words=LEGACY, ending=".nii.gz", labels=LABELS_2020):
    """A case whose channels have the values 1, 2, 3 and 4 in the order of CHANNELS."""
    for value, channel in enumerate(CHANNELS, start=1):
        write(folder / f"{name}{words[channel]}{ending}", np.full(LABELS_2023.shape, value, dtype=np.int16))
    if labels is not None:
        write(folder / f"{name}{words['seg']}{ending}", labels.astype(np.uint8))


def convert(tmp_path, source="source", **kwargs):
    return convert_brats(tmp_path / source, tmp_path / "raw", 137, num_processes=1, **kwargs)


def check_converted(folder, name, labels=LABELS_2023):
    for index in range(4):
        image = nibabel.load(folder / "imagesTr" / f"{name}_{index:04d}.nii.gz")
        assert np.unique(image.dataobj).tolist() == [index + 1]
        np.testing.assert_array_equal(image.affine, AFFINE)
    np.testing.assert_array_equal(nibabel.load(folder / "labelsTr" / f"{name}.nii.gz").dataobj, labels)


WORDS_2012 = {"T1": "_T1", "T1ce": "_T1C", "T2": "_T2", "FLAIR": "_FLAIR", "seg": "_truth"}
LABELS_2013 = np.where((LABELS_2020 == 1) & (np.arange(14)[:, None, None] > 4), 3, LABELS_2020)  # part of the core

LAYOUTS = {
    "2013": ("HG/0001", "BRATS_HG0001", WORDS_2012, ".nii", LABELS_2013),
    "2018": ("HGG/Brats18_A_1", "Brats18_A_1", LEGACY, ".nii.gz", LABELS_2020),
    "2019": ("LGG/BraTS19_A_1", "BraTS19_A_1", LEGACY, ".nii", LABELS_2020),
    "2020": (
        "MICCAI_BraTS2020_TrainingData/BraTS20_Training_001",
        "BraTS20_Training_001",
        LEGACY,
        ".nii.gz",
        LABELS_2020,
    ),
    "2021": ("BraTS2021_00000", "BraTS2021_00000", LEGACY, ".nii.gz", LABELS_2020),
    "2023": ("BraTS-GLI-00000-000", "BraTS-GLI-00000-000", NEW, ".nii.gz", LABELS_2023),
    "flat": (".", "BraTS2021_00000", LEGACY, ".nii", LABELS_2020),
}


@pytest.mark.parametrize("year", LAYOUTS)
def test_layout_is_recognised(tmp_path, year):
    folder, name, *kind = LAYOUTS[year]
    write_case(tmp_path / "source" / folder, name, *kind)
    result = convert(tmp_path)
    assert result.folder.name == "Dataset137_BraTS"
    check_converted(result.folder, name)
    content = json.loads((result.folder / "dataset.json").read_text())
    assert list(content["channel_names"].values()) == list(CHANNELS)
    assert (content["numTraining"], content["file_ending"]) == (1, ".nii.gz")
    assert read_dataset_labels(result.folder / "dataset.json").is_brats


def write_metaimage(path, array, affine=AFFINE):
    image = SimpleITK.GetImageFromArray(array.T)
    lps = np.diag([-1, -1, 1, 1]) @ affine
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection(lps[:3, :3].ravel().tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path))


def write_case_of_2013(folder):
    """As the challenge distributed it: MetaImages in folders of their own, named by an anonymous number."""
    words = {"T1": "O.MR_T1.684", "T1ce": "O.MR_T1c.686", "T2": "O.MR_T2.685", "FLAIR": "O.MR_Flair.687"}
    for value, channel in enumerate(CHANNELS, start=1):
        name = f"VSD.Brain.XX.{words[channel]}"
        array = np.full(LABELS_2023.shape, value, dtype=np.int16)
        write_metaimage(folder / name.rpartition(".")[0] / f"{name}.mha", array)
    truth = "VSD.Brain_3more.XX.XX.OT.6560"
    write_metaimage(folder / truth / f"{truth}.mha", LABELS_2013.astype(np.int16))


def test_metaimages_of_2013_become_nifti_with_the_same_voxels(tmp_path):
    for grade in ("HG", "LG"):
        write_case_of_2013(tmp_path / "source" / grade / "0001")
    result = convert(tmp_path)
    assert (result.num_cases, result.scheme.enhancing, result.scheme.non_enhancing) == (2, 4, 3)
    for name in ("HG_0001", "LG_0001"):
        check_converted(result.folder, name)


def test_truncated_metaimage_is_named(tmp_path):
    write_case_of_2013(tmp_path / "source" / "0001")
    path = next((tmp_path / "source").rglob("*T1c*.mha"))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"T1c\.686\.mha: cannot be read, or is truncated"):
        convert(tmp_path)


def test_labels_of_2012_have_no_regions(tmp_path):
    write_case(tmp_path / "source", "BRATS_HG0001", WORDS_2012, labels=(LABELS_2020 > 0) + (LABELS_2020 == 1))
    with pytest.raises(InputError, match="In 2012 they are 1 oedema and 2 core"):
        convert(tmp_path)


def test_links_to_folders_and_files_are_followed(tmp_path):
    for name in "ABCD":
        write_case(tmp_path / "store" / name, name)
    source = tmp_path / "source"
    (source / "C").mkdir(parents=True)
    (tmp_path / "store" / "A").rename(source / "A")
    (source / "B").symlink_to(tmp_path / "store" / "B")
    for path in (tmp_path / "store" / "C").iterdir():
        (source / "C" / path.name).symlink_to(path)
    (source / "D").symlink_to(tmp_path / "store" / "D", target_is_directory=True)
    (source / "A" / "loop").symlink_to(source)
    result = convert(tmp_path)
    assert result.num_cases == 4
    for name in "ABCD":
        check_converted(result.folder, name)


def test_link_that_leads_nowhere_is_an_error(tmp_path):
    write_case(tmp_path / "source" / "A", "A")
    (tmp_path / "source" / "B").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match=r"source/B: a link to .*/gone, which does not exist"):
        convert(tmp_path)


def test_images_in_folders_of_their_own_name_are_found(tmp_path):
    write_case(tmp_path / "flat", "A", ending=".nii")
    for path in (tmp_path / "flat").iterdir():
        (tmp_path / "source" / "A" / path.name).mkdir(parents=True)
        path.rename(tmp_path / "source" / "A" / path.name / path.name)
    check_converted(convert(tmp_path).folder, "A")


def test_segmentation_of_another_stem_belongs_to_the_case_of_its_folder(tmp_path):
    folder = tmp_path / "source" / "BraTS20_Training_355"
    write_case(folder, "BraTS20_Training_355", ending=".nii")
    (folder / "BraTS20_Training_355_seg.nii").rename(folder / "W39_1998.09.19_Segm.nii")
    check_converted(convert(tmp_path).folder, "BraTS20_Training_355")


def test_copied_files_are_the_same_bytes(tmp_path):
    write_case(tmp_path / "source", "A", NEW, labels=LABELS_2023)
    write_case(tmp_path / "plain", "A", NEW, ".nii", labels=LABELS_2023)
    folder = convert(tmp_path).folder
    assert (folder / "imagesTr/A_0001.nii.gz").read_bytes() == (tmp_path / "source/A-t1c.nii.gz").read_bytes()
    assert (folder / "labelsTr/A.nii.gz").read_bytes() == (tmp_path / "source/A-seg.nii.gz").read_bytes()
    folder = convert_brats(tmp_path / "plain", tmp_path / "raw", 138, num_processes=1).folder
    with gzip.open(folder / "imagesTr/A_0003.nii.gz") as stream:
        assert stream.read() == (tmp_path / "plain/A-t2f.nii").read_bytes()


def test_cases_without_segmentation_become_test_images(tmp_path):
    write_case(tmp_path / "source" / "A", "A")
    write_case(tmp_path / "validation" / "V", "V", labels=None)
    convert(tmp_path)
    folder = convert(tmp_path, "validation").folder
    assert sorted(path.name for path in (folder / "imagesTs").iterdir()) == [f"V_000{i}.nii.gz" for i in range(4)]
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 1


def test_resection_cavity_becomes_a_fourth_region(tmp_path):
    labels = LABELS_2023.copy()
    labels[0, 0, :3] = 4
    write_case(tmp_path / "source", "BraTS-GLI-02405-100", NEW, labels=labels)
    folder = convert(tmp_path).folder
    content = json.loads((folder / "dataset.json").read_text())
    assert content["labels"]["resection cavity"] == [4]
    assert content["regions_class_order"] == [2, 1, 3, 4]
    check_converted(folder, "BraTS-GLI-02405-100", labels)


@pytest.mark.parametrize(
    ("values", "naming", "enhancing", "expected"),
    [
        ({0, 1, 2, 4}, "legacy", None, 4),
        ({0, 1, 2}, "legacy", None, 4),
        ({0, 1, 2, 3}, "2023", None, 3),
        ({0, 1, 2}, "2023", None, 3),
        ({0, 1, 2, 3}, "legacy", 3, 3),
        ({0, 1, 2, 4}, "2023", 4, 4),
        ({0, 1, 2, 3, 4}, "2012", None, 4),
        ({0, 1, 2, 4}, "2012", None, 4),
        ({0, 1, 2}, "2012", 4, 4),
        ({0, 1, 2, 3}, "2012", 3, 3),
    ],
)
def test_enhancing_label_is_recognised(values, naming, enhancing, expected):
    assert recognise_scheme(values, naming, ["A"], enhancing).enhancing == expected


@pytest.mark.parametrize(
    ("values", "naming", "name", "message"),
    [
        ({0, 1, 2, 3}, "legacy", "A", "--enhancing-label 3"),
        ({0, 1, 2, 3, 4}, "legacy", "A", "beside 4"),
        ({0, 1, 2, 4}, "2023", "A", "only label 4"),
        ({0, 5}, "2023", "A", r"\[5\]"),
        ({0, 1, 2, 3}, "2012", "A", "without 4"),
        ({0, 1, 2, 3, 4}, "2023", "BraTS-PED-00001-000", "PED"),
    ],
)
def test_contradicting_labels_are_never_guessed(values, naming, name, message):
    with pytest.raises(InputError, match=message):
        recognise_scheme(values, naming, [name])


def test_paediatric_labels_are_taken_at_the_users_word_for_2023_alone():
    assert recognise_scheme({0, 1, 2, 3}, "2023", ["BraTS-PED-00001-000"], 3).enhancing == 3
    with pytest.raises(InputError, match="2024"):
        recognise_scheme({0, 1, 2, 3, 4}, "2023", ["BraTS-PED-00001-000"], 3)


@pytest.mark.parametrize(("words", "style", "labels"), [(LEGACY, "2020", LABELS_2020), (NEW, "2023", LABELS_2023)])
def test_round_trip_is_exact(tmp_path, words, style, labels):
    write_case(tmp_path / "source", "A", words, labels=labels)
    folder = convert(tmp_path).folder
    (written,) = convert_brats_labels(folder / "labelsTr", tmp_path / "back", style, num_processes=1)
    back, source = nibabel.load(written), nibabel.load(tmp_path / "source" / f"A{words['seg']}.nii.gz")
    np.testing.assert_array_equal(back.dataobj, source.dataobj)
    assert back.header == source.header


def test_labels_of_another_conversion_are_translated_by_its_regions(tmp_path):
    labels = {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": [3]}
    write_dataset_json(tmp_path / "pred", {**BRATS_DATASET, "labels": labels})
    swapped = np.array([0, 2, 1, 3], dtype=np.uint8)[LABELS_2023]
    write(tmp_path / "pred" / "A.nii.gz", swapped)
    (written,) = convert_brats_labels(tmp_path / "pred", tmp_path / "out", "2020", num_processes=1)
    np.testing.assert_array_equal(nibabel.load(written).dataobj, LABELS_2020)


def test_predictions_that_cannot_be_translated_leave_nothing_written(tmp_path):
    write_dataset_json(tmp_path / "pred")
    write(tmp_path / "pred" / "A.nii.gz", LABELS_2023)
    write(tmp_path / "pred" / "B.nii.gz", LABELS_2020)
    with pytest.raises(InputError, match=r"B\.nii\.gz: label values \[4\]"):
        convert_brats_labels(tmp_path / "pred", tmp_path / "out", "2020", num_processes=1)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="another folder"):
        convert_brats_labels(tmp_path / "pred", tmp_path / "pred", "2020", num_processes=1)
    write_dataset_json(tmp_path / "pred", PLAIN_DATASET)
    with pytest.raises(InputError, match="three BraTS regions"):
        convert_brats_labels(tmp_path / "pred", tmp_path / "out", "2020", num_processes=1)


def test_all_problems_are_listed_and_nothing_is_written(tmp_path):
    source = tmp_path / "source"
    for name in "ABCDEF":
        write_case(source / name, name)
    (source / "A" / "A_t2.nii.gz").unlink()
    write(source / "B" / "B_t1.nii.gz", np.zeros((3, 4, 5), dtype=np.int16))
    write(source / "C" / "C_seg.nii.gz", LABELS_2020, AFFINE + np.eye(4)[:, [3, 0, 1, 2]])
    (source / "D" / "D_flair.nii.gz").write_bytes((source / "D" / "D_flair.nii.gz").read_bytes()[:-9])
    write_case(source / "again" / "E", "E")
    with pytest.raises(InputError) as caught:
        convert(tmp_path)
    assert "'A' has no T2" in str(caught.value)
    assert "'E' is in several folders" in str(caught.value)
    write(source / "A" / "A_t2.nii.gz", np.zeros(LABELS_2023.shape, dtype=np.int16))
    for path in (source / "again" / "E").iterdir():
        path.unlink()
    with pytest.raises(InputError) as caught:
        convert(tmp_path)
    for message in ("B_t1ce.nii.gz: shape", "C_seg.nii.gz: other affine", "D_flair.nii.gz: truncated"):
        assert message in str(caught.value)
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_truncated_image_is_named(tmp_path, ending):
    write_case(tmp_path / "source", "A", ending=ending)
    path = tmp_path / "source" / f"A_t2{ending}"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=rf"A_t2{ending}: truncated"):
        convert(tmp_path)


def test_unknown_label_value_is_an_error(tmp_path):
    write_case(tmp_path / "source", "A", labels=LABELS_2020 * 2)
    with pytest.raises(InputError, match=r"\[8\] are not BraTS labels"):
        convert(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda source: write_case(source / "B", "B", labels=None), "no segmentation for case 'B'"),
        (lambda source: write_case(source / "B", "B", NEW, labels=LABELS_2023), "Convert them separately"),
        (lambda source: write(source / "A" / "A_t1.nii", LABELS_2020), "several files for T1"),
        (lambda source: write(source / "A" / "A_t1n.nii", LABELS_2020), "several files for T1"),
        (lambda source: write(source / "B" / "B_seg.nii", LABELS_2020), "a segmentation without images"),
    ],
)
def test_confused_source_is_an_error(tmp_path, spoil, message):
    write_case(tmp_path / "source" / "A", "A")
    spoil(tmp_path / "source")
    with pytest.raises(InputError, match=message):
        convert(tmp_path)


def test_rerun_after_an_interruption_completes_the_data_set(tmp_path):
    write_case(tmp_path / "source" / "A", "A")
    folder = convert(tmp_path).folder
    kept = (folder / "imagesTr" / "A_0000.nii.gz").stat().st_mtime_ns
    left = folder / "imagesTr" / f"{PREFIX}of_a_killed_run"
    left.mkdir()
    (folder / "imagesTr" / "A_0002.nii.gz").rename(left / "A_0002.nii.gz")
    (folder / "dataset.json").unlink()
    result = convert(tmp_path)
    check_converted(folder, "A")
    assert (folder / "imagesTr" / "A_0000.nii.gz").stat().st_mtime_ns == kept
    assert sorted(path.name for path in (folder / "imagesTr").iterdir()) == [f"A_000{i}.nii.gz" for i in range(4)]
    assert (result.num_already_there, convert(tmp_path).num_already_there) == (0, 1)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("time", [1e9, 2e9])
def test_changed_source_replaces_the_copy_whatever_its_age(tmp_path, ending, time):
    write_case(tmp_path / "source", "A", ending=ending)
    folder = convert(tmp_path).folder
    path = tmp_path / "source" / f"A_t1{ending}"
    write(path, np.full(LABELS_2023.shape, 9, dtype=np.int16))
    os.utime(path, (time, time))
    assert convert(tmp_path).num_already_there == 0
    assert np.unique(nibabel.load(folder / "imagesTr" / "A_0000.nii.gz").dataobj).tolist() == [9]


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("size", [5, 60])
def test_truncated_target_is_written_anew(tmp_path, ending, size):
    write_case(tmp_path / "source", "A", ending=ending)
    target = convert(tmp_path).folder / "imagesTr" / "A_0001.nii.gz"
    time = target.stat().st_mtime_ns
    target.write_bytes(target.read_bytes()[:size])
    os.utime(target, ns=(time, time))
    convert(tmp_path)
    check_converted(target.parent.parent, "A")


def test_foreign_label_in_the_target_is_refused(tmp_path):
    write_case(tmp_path / "source", "A")
    folder = convert(tmp_path).folder
    write(folder / "labelsTr" / "Z.nii.gz", LABELS_2023)
    with pytest.raises(InputError, match=r"labelsTr: holds files that are not in the source, for example Z\.nii\.gz"):
        convert(tmp_path)


@pytest.mark.parametrize("name", ["a/b c", "", "..", "a b"])
def test_name_that_is_no_folder_name_is_refused(tmp_path, name):
    write_case(tmp_path / "source", "A")
    with pytest.raises(InputError, match="letters, digits"):
        convert(tmp_path, name=name)
    assert not (tmp_path / "raw").exists()


def test_folder_without_enhancing_tumour_is_warned_about(tmp_path):
    write_case(tmp_path / "source" / "A", "A", labels=np.where(LABELS_2020 == 4, 1, LABELS_2020))
    assert convert(tmp_path).warnings == ("no case has enhancing tumour (label 4); a model cannot learn it.",)
    write_case(tmp_path / "source" / "B", "B")
    assert convert(tmp_path).warnings == ()


@pytest.mark.parametrize("place", ["images", "labels"])
def test_full_disk_is_one_message(tmp_path, monkeypatch, place):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name in "ABC":
        write_case(tmp_path / "source", name)
    if place == "images":
        monkeypatch.setattr("shutil.copyfile", full)
        call = convert
    else:
        folder = convert(tmp_path).folder
        monkeypatch.setattr("nibabel.save", full)

        def call(path):
            return convert_brats_labels(folder / "labelsTr", path / "back", "2020", num_processes=1)

    with pytest.raises(InputError, match="No space left on device") as caught:
        call(tmp_path)
    assert len(caught.value.problems) == 1


def test_target_with_other_contents_is_refused(tmp_path):
    write_case(tmp_path / "source", "A")
    write_case(tmp_path / "other", "B")
    convert(tmp_path)
    with pytest.raises(InputError, match=r"A_0000\.nii\.gz"):
        convert(tmp_path, "other")
    with pytest.raises(InputError, match="137 is taken by Dataset137_BraTS"):
        convert(tmp_path, name="Other")
    with pytest.raises(InputError, match="1 to 999"):
        convert_brats(tmp_path / "source", tmp_path / "raw", 1000)


@pytest.mark.parametrize(("folder", "message"), [("nowhere", "no such folder"), ("empty", "no files named")])
def test_source_without_cases_is_an_error(tmp_path, folder, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        convert(tmp_path, folder)


def test_cases_without_some_modalities_are_completed_if_allowed(tmp_path):
    write_case(tmp_path / "source" / "A", "BraTS_A")
    write_case(tmp_path / "source" / "B", "BraTS_B")
    (tmp_path / "source" / "B" / "BraTS_B_t2.nii.gz").unlink()
    (tmp_path / "source" / "B" / "BraTS_B_t1.nii.gz").unlink()
    with pytest.raises(InputError, match=r"case 'BraTS_B' has no T1, T2 image\. \(--allow-missing"):
        convert(tmp_path)
    result = convert(tmp_path, allow_missing=True)
    assert "1 of 2 cases lack a modality" in result.warnings[0]
    images = result.folder / "imagesTr"
    assert read_presence(images) == (list(CHANNELS), {"BraTS_A": list(CHANNELS), "BraTS_B": ["T1ce", "FLAIR"]})
    values = [
        np.unique(nibabel.load(images / f"BraTS_B_{channel:04d}.nii.gz").dataobj).tolist() for channel in range(4)
    ]
    assert values == [[0], [2], [0], [4]]
    np.testing.assert_array_equal(nibabel.load(images / "BraTS_B_0000.nii.gz").affine, AFFINE)
    check_converted(result.folder, "BraTS_A")
    # the modality is found later
    write(tmp_path / "source" / "B" / "BraTS_B_t2.nii.gz", np.full(LABELS_2023.shape, 3, np.int16))
    convert(tmp_path, allow_missing=True)
    assert np.unique(nibabel.load(images / "BraTS_B_0002.nii.gz").dataobj).tolist() == [3]
