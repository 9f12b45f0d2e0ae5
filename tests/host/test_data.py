"""nnU-Net's data sets."""

import numpy as np
import SimpleITK

from nnunet_ext.host.data import (
    crossvalidation_split,
    image_readers,
    normalization_of,
    preprocessed_cases,
)


def test_nnunets_reader_comes_first_and_others_of_the_ending_follow(tmp_path):
    file = tmp_path / "image.nii.gz"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.ones((2, 3, 4), np.float32)), str(file))
    dataset_json = {"file_ending": ".nii.gz"}
    names = [reader.__name__ for reader in image_readers(dataset_json)]
    assert names[0] == "SimpleITKIO"
    assert len(set(names)) == len(names) > 1
    assert image_readers(dataset_json, file)[0]().read_images([str(file)])[0].shape == (1, 2, 3, 4)
    forced = dataset_json | {"overwrite_image_reader_writer": "NibabelIO"}
    assert image_readers(forced)[0].__name__ == "NibabelIO"


def test_normalization_by_channel_name():
    assert [normalization_of(name) for name in ("T1", "CT")] == ["ZScoreNormalization", "CTNormalization"]


def test_preprocessed_cases_are_sorted(tmp_path):
    for name in ("b", "a"):
        (tmp_path / f"{name}.b2nd").touch()
        (tmp_path / f"{name}_seg.b2nd").touch()
    assert preprocessed_cases(tmp_path) == ["a", "b"]


def test_split_is_that_of_nnunets_trainers():
    from sklearn.model_selection import KFold

    cases = [f"case_{number:02d}" for number in range(12)]
    split = crossvalidation_split(cases)
    # as nnUNetTrainer.do_split draws it
    drawn = KFold(n_splits=5, shuffle=True, random_state=12345).split(cases)
    assert [fold["val"] for fold in split] == [[cases[i] for i in validation] for _, validation in drawn]
    assert all(sorted(fold["train"] + fold["val"]) == cases for fold in split)
