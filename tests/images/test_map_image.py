"""Maps lie where their image lies."""

import numpy as np
import SimpleITK
from label_cases import PLAIN_DATASET, write_image

from nnunet_ext.images.grid import Grid, grid_difference
from nnunet_ext.images.map_image import write_map
from nnunet_ext.images.reader import read_image_grid
from nnunet_ext.labels.label_image import read_label_image


def test_map_has_the_grid_of_a_rotated_image(tmp_path):
    image = SimpleITK.GetImageFromArray(np.zeros((2, 3, 4), np.uint8))
    image.SetSpacing((1.0, 2.0, 3.0))
    image.SetOrigin((5.0, -7.0, 11.0))
    image.SetDirection((0.0, -1.0, 0.0, 0.8, 0.0, -0.6, 0.6, 0.0, 0.8))
    SimpleITK.WriteImage(image, str(tmp_path / "a.nii.gz"))
    grid = read_label_image(tmp_path / "a.nii.gz", PLAIN_DATASET).grid
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    write_map(tmp_path / "map.nii.gz", values, grid)
    assert grid_difference(read_image_grid(tmp_path / "map.nii.gz", PLAIN_DATASET), grid) is None
    written = SimpleITK.ReadImage(str(tmp_path / "map.nii.gz"))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(written), values)
    np.testing.assert_allclose(written.GetOrigin(), (5.0, -7.0, 11.0), atol=1e-6)


def test_plane_is_a_volume_of_one_slice(tmp_path):
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_map(tmp_path / "map.nii.gz", values, Grid((2, 3), (2.0, 0.5), None))
    written = SimpleITK.ReadImage(str(tmp_path / "map.nii.gz"))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(written), values[None])
    assert written.GetSpacing()[:2] == (0.5, 2.0)


def test_label_images_of_the_same_grid_and_map_agree(tmp_path):
    write_image(tmp_path / "b.nii.gz", np.zeros((2, 3, 4), np.uint8), spacing=(1.5, 1.5, 4.0), origin=(-9.0, 2.0, 1.0))
    grid = read_label_image(tmp_path / "b.nii.gz", PLAIN_DATASET).grid
    write_map(tmp_path / "map.nii.gz", np.zeros((2, 3, 4), np.uint8), grid)
    assert grid_difference(read_image_grid(tmp_path / "map.nii.gz", PLAIN_DATASET), grid) is None


def test_map_lies_right_where_nnunets_reader_turns_the_axes(tmp_path):
    labels = np.zeros((2, 3, 4), np.uint8)
    labels[1, 2, 3] = 1
    image = SimpleITK.GetImageFromArray(labels)
    image.SetOrigin((5.0, -7.0, 11.0))
    image.SetDirection((0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0))
    SimpleITK.WriteImage(image, str(tmp_path / "a.nii.gz"))
    content = PLAIN_DATASET | {"overwrite_image_reader_writer": "NibabelIOWithReorient"}
    read = read_label_image(tmp_path / "a.nii.gz", content)
    assert read.labels.shape == (2, 4, 3)
    write_map(tmp_path / "map.nii.gz", read.labels, read.grid)
    written = SimpleITK.ReadImage(str(tmp_path / "map.nii.gz"))
    (index,) = np.argwhere(SimpleITK.GetArrayFromImage(written))
    place = written.TransformIndexToPhysicalPoint(index[::-1].tolist())
    np.testing.assert_allclose(place, image.TransformIndexToPhysicalPoint((3, 2, 1)), atol=1e-5)
