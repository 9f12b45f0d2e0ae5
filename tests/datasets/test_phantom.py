"""Each property the phantom claims, read from its images."""

import json

import numpy as np
import pytest
import SimpleITK
from scipy import ndimage

from nnunet_ext.datasets import phantom_case, write_phantom_dataset
from nnunet_ext.datasets.phantom import CHANNELS, CORE, ENHANCING, OEDEMA, WHITE_MATTER

SEEDS = range(2)
SMALL = (20, 24, 28)
NOISE = 20 * 1.2  # largest standard deviation after the random intensity scale


def contrast(case, channel, inside, outside):
    """Difference of mean intensity of two masks, in standard deviations of the noise."""
    image = case.images[CHANNELS.index(channel)].astype(float)
    return (image[inside].mean() - image[outside].mean()) / NOISE


def neighbouring_white_matter(case):
    """White matter inside the oedema, and healthy white matter at most three voxels from it."""
    near = ndimage.binary_dilation(case.labels > 0, iterations=3) & (case.labels == 0)
    white = case.tissue == WHITE_MATTER
    return (case.labels == OEDEMA) & white, near & white


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("channel", ["T1", "T1ce"])
def test_oedema_looks_like_healthy_tissue_in_t1_and_t1ce(seed, channel):
    case = phantom_case(seed)
    assert abs(contrast(case, channel, *neighbouring_white_matter(case))) < 1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("channel", ["T2", "FLAIR"])
def test_oedema_is_bright_in_t2_and_flair(seed, channel):
    case = phantom_case(seed)
    assert contrast(case, channel, *neighbouring_white_matter(case)) > 8


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("label", [CORE, ENHANCING])
@pytest.mark.parametrize("channel", ["T2", "FLAIR"])
def test_core_and_rim_look_like_oedema_in_t2_and_flair(seed, label, channel):
    case = phantom_case(seed)
    inside = case.labels == label
    near = ndimage.binary_dilation(case.labels > 0, iterations=3) & (case.labels == OEDEMA)
    # the bias field is the only difference: at most 10 % of 850 either way, half of it over a few voxels
    assert abs(contrast(case, channel, inside, near)) < 3


@pytest.mark.parametrize("seed", SEEDS)
def test_rim_is_bright_in_t1ce_and_like_the_core_in_t1(seed):
    case = phantom_case(seed)
    rim, core = case.labels == ENHANCING, case.labels == CORE
    assert contrast(case, "T1ce", rim, core) > 15
    assert abs(contrast(case, "T1", rim, core)) < 1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("channel", ["T1", "T1ce"])
def test_core_is_dark_in_t1_and_t1ce(seed, channel):
    case = phantom_case(seed)
    _, white_matter = neighbouring_white_matter(case)
    assert contrast(case, channel, case.labels == CORE, white_matter) < -8


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shape", [(16, 16, 16), SMALL])
def test_no_label_is_missing_from_a_tiny_case(seed, shape):
    assert set(np.unique(phantom_case(seed, shape).labels)) == {0, CORE, OEDEMA, ENHANCING}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shape", [(28, 28, 28), (32, 40, 36)])
def test_core_lies_in_the_rim_and_the_rim_in_the_oedema(seed, shape):
    labels = phantom_case(seed, shape).labels
    assert set(np.unique(labels)) == {0, CORE, OEDEMA, ENHANCING}
    assert neighbours_of(labels == CORE, labels) == {ENHANCING}
    assert neighbours_of(np.isin(labels, [CORE, ENHANCING]), labels) == {OEDEMA}


@pytest.mark.parametrize("seed", SEEDS)
def test_case_without_rim_differs_only_where_the_rim_was(seed):
    with_rim, without_rim = phantom_case(seed), phantom_case(seed, enhancing=False)
    assert set(np.unique(without_rim.labels)) == {0, CORE, OEDEMA}
    changed = (with_rim.images != without_rim.images).any(axis=0)
    np.testing.assert_array_equal(changed, with_rim.labels == ENHANCING)


@pytest.mark.parametrize("seed", SEEDS)
def test_background_is_exactly_zero_and_brain_never(seed):
    case = phantom_case(seed)
    brain = case.tissue > 0
    assert brain.any()
    assert case.images[:, ~brain].max() == 0
    assert case.images[:, brain].min() >= 1
    assert not case.labels[~brain].any()


@pytest.mark.parametrize("channel", range(4))
def test_tissues_differ_and_intensities_drift_and_are_noisy(channel):
    case = phantom_case(3, (48, 48, 48))
    healthy = case.labels == 0
    image = case.images[channel].astype(float)
    means = [image[healthy & (case.tissue == tissue)].mean() for tissue in (1, 2, 3)]
    assert min(abs(a - b) for a, b in zip(means, means[1:] + means[:1], strict=True)) > 2 * NOISE
    white = ndimage.binary_erosion(healthy & (case.tissue == WHITE_MATTER))
    smooth = ndimage.gaussian_filter(image * white, 2) / np.maximum(ndimage.gaussian_filter(white * 1.0, 2), 1e-3)
    assert 10 < (image - smooth)[white].std() < 40  # noise
    assert np.ptp(smooth[white]) / image[white].mean() > 0.05  # bias field


def test_same_seed_gives_identical_arrays_and_another_seed_does_not():
    first, again, other = phantom_case(1, SMALL), phantom_case(1, SMALL), phantom_case(2, SMALL)
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert (first.images != other.images).any()
    assert (first.labels != other.labels).any()


def test_side_below_16_voxels_raises():
    with pytest.raises(ValueError, match="at least 16 voxels, got"):
        phantom_case(0, (15, 32, 32))


def test_written_dataset_is_complete_and_has_cases_without_rim(tmp_path):
    folder = tmp_path / "Dataset999_Phantom"
    write_phantom_dataset(folder, num_cases=4, shape=SMALL, seed=5, num_test_cases=3)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    cases = [("Tr", f"phantom_tr{i:03d}") for i in range(4)] + [("Ts", f"phantom_ts{i:03d}") for i in range(3)]
    images = {f"images{split}/{case}_{channel:04d}.nii.gz" for split, case in cases for channel in range(4)}
    assert names == {"dataset.json"} | images | {f"labels{split}/{case}.nii.gz" for split, case in cases}
    has_rim = [ENHANCING in read(folder / f"labels{split}/{case}.nii.gz") for split, case in cases]
    assert has_rim == [True, True, False, True, True, True, False]


def test_written_arrays_are_the_case_and_lie_in_one_space(tmp_path):
    write_phantom_dataset(tmp_path, num_cases=2, shape=SMALL, seed=5, num_test_cases=0)
    case = phantom_case((5, 0, 1), SMALL)
    label = SimpleITK.ReadImage(str(tmp_path / "labelsTr" / "phantom_tr001.nii.gz"))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(label), case.labels)
    for channel in range(4):
        image = SimpleITK.ReadImage(str(tmp_path / "imagesTr" / f"phantom_tr001_{channel:04d}.nii.gz"))
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), case.images[channel])
        assert image.GetSpacing() == label.GetSpacing() == (1.5, 1.5, 2.0)
        assert image.GetOrigin() == label.GetOrigin() != (0, 0, 0)


def test_first_cases_do_not_depend_on_the_number_of_cases(tmp_path):
    for name, count in (("small", 1), ("large", 3)):
        write_phantom_dataset(tmp_path / name, num_cases=count, shape=SMALL, num_test_cases=1)
    for file in ("imagesTr/phantom_tr000_0003.nii.gz", "labelsTs/phantom_ts000.nii.gz"):
        np.testing.assert_array_equal(read(tmp_path / "small" / file), read(tmp_path / "large" / file))


def test_nnunet_turns_predicted_regions_into_the_phantoms_labels(tmp_path):
    label_handling = pytest.importorskip("nnunetv2.utilities.label_handling.label_handling")
    write_phantom_dataset(tmp_path, num_cases=1, shape=SMALL, num_test_cases=0)
    description = json.loads((tmp_path / "dataset.json").read_text())
    manager = label_handling.LabelManager(description["labels"], description["regions_class_order"])
    labels = phantom_case((0, 0, 0), SMALL).labels
    regions = np.stack([np.isin(labels, region) for region in manager.foreground_regions]).astype(np.float32)
    np.testing.assert_array_equal(manager.convert_probabilities_to_segmentation(regions), labels)


def neighbours_of(mask, labels):
    return set(np.unique(labels[ndimage.binary_dilation(mask) & ~mask]))


def read(path):
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


@pytest.mark.parametrize("seed", range(4))
def test_small_lesions_are_in_four_slices_and_bright_in_t2_and_flair_alone(seed):
    case = phantom_case(seed, situation="small_lesions")
    slices = np.flatnonzero(case.labels.any(axis=(1, 2)))
    assert slices.max() - slices.min() < 4
    _, number = ndimage.label(case.labels, np.ones((3, 3, 3)))
    assert 1 <= number <= 3
    assert 5 < (case.labels > 0).sum() < 3 * 81  # a ball of radius 2.5 has 81 voxels
    near = ndimage.binary_dilation(case.labels > 0, iterations=2) & (case.labels == 0) & (case.tissue == WHITE_MATTER)
    inside = (case.labels > 0) & (case.tissue == WHITE_MATTER)
    for channel, low, high in (("T1", -3, 3), ("T1ce", -3, 3), ("T2", 6, 40), ("FLAIR", 6, 40)):
        assert low < contrast(case, channel, inside, near) < high


@pytest.mark.parametrize("seed", SEEDS)
def test_tumour_of_one_modality_is_seen_in_t1ce_alone(seed):
    case = phantom_case(seed, situation="one_modality")
    assert np.array_equal(case.labels > 0, phantom_case(seed).labels > 0)
    near = ndimage.binary_dilation(case.labels > 0, iterations=3) & (case.labels == 0) & (case.tissue == WHITE_MATTER)
    inside = (case.labels > 0) & (case.tissue == WHITE_MATTER)
    assert contrast(case, "T1ce", inside, near) > 6
    for channel in ("T1", "T2", "FLAIR"):
        image = case.images[CHANNELS.index(channel)].astype(float)
        assert abs(image[inside].mean() - image[near].mean()) < 0.3 * image[inside].std()


def test_situations_have_one_label(tmp_path):
    write_phantom_dataset(tmp_path / "d", num_cases=1, num_test_cases=0, situation="small_lesions", shape=(24, 24, 24))
    content = json.loads((tmp_path / "d" / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "lesion": 1}
    assert content["phantom"]["situation"] == "small_lesions"
    image = SimpleITK.ReadImage(str(tmp_path / "d" / "labelsTr" / "phantom_tr000.nii.gz"))
    assert set(np.unique(SimpleITK.GetArrayFromImage(image))) == {0, 1}
