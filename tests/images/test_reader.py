"""What nnU-Net's readers let through: files that are not whole, and files that are not one volume."""

import gzip

import imageio.v3 as imageio
import nibabel
import numpy as np
import pytest
import SimpleITK
from label_cases import write_image

from nnunet_ext.errors import InputError
from nnunet_ext.images.reader import read_image, read_image_grid


def dataset(ending=".nii.gz"):
    return {"channel_names": {"0": "T1"}, "labels": {"background": 0}, "file_ending": ending}


def volume(shape=(6, 7, 8)):
    return np.random.default_rng(0).integers(1, 1000, shape).astype(np.int16)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha", ".gipl", ".nii"])
def test_file_that_was_cut_off_raises(tmp_path, ending):
    file = tmp_path / f"a{ending}"
    write_image(file, volume())
    np.testing.assert_array_equal(read_image(file, dataset(ending)).array[0], volume())
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(InputError, match=rf"a{ending}: (truncated|cannot be read)"):
        read_image(file, dataset(ending))


def test_whole_gzip_file_of_a_short_image_raises(tmp_path):
    file = tmp_path / "a.nii.gz"
    write_image(file, volume())
    content = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(content[:-1]))
    with pytest.raises(InputError, match=rf"truncated, {len(content) - 1} bytes of {len(content)}"):
        read_image(file, dataset())
    file.write_bytes(gzip.compress(content))
    assert read_image(file, dataset()).grid.shape == (6, 7, 8)


@pytest.mark.parametrize("volumes", [1, 3])
def test_fourth_axis_raises(tmp_path, volumes):
    nibabel.save(nibabel.Nifti1Image(volume((8, 7, 6, volumes)), np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=rf"not 3-D but 4-D \(8 x 7 x 6 x {volumes}\)"):
        read_image(tmp_path / "a.nii.gz", dataset())


@pytest.mark.parametrize("ending", [".nii.gz", ".mha"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_colours_and_vectors_of_a_volume_raise(tmp_path, ending, dtype):
    colours = SimpleITK.GetImageFromArray(volume((4, 5, 6, 3)).astype(dtype), isVector=True)
    SimpleITK.WriteImage(colours, str(tmp_path / f"a{ending}"))
    with pytest.raises(InputError, match="3 values a voxel"):
        read_image(tmp_path / f"a{ending}", dataset(ending))


def test_picture_in_colours_has_its_channels(tmp_path):
    imageio.imwrite(tmp_path / "a.png", volume((5, 6, 3)).astype(np.uint8))
    assert read_image(tmp_path / "a.png", dataset(".png")).array.shape == (3, 1, 5, 6)
    with pytest.raises(InputError, match="3 values a voxel"):
        read_image_grid(tmp_path / "a.png", dataset(".png"))


def test_readers_print_nothing(tmp_path, capfd):
    imageio.imwrite(tmp_path / "a.tif", volume())
    assert read_image(tmp_path / "a.tif", dataset(".tif")).array.shape == (1, 6, 7, 8)
    assert capfd.readouterr().out == ""


def test_reader_that_takes_slanted_axes_is_tried_last(tmp_path):
    affine = np.eye(4)
    affine[0, 1] = 0.2
    nibabel.save(nibabel.Nifti1Image(volume(), affine), tmp_path / "a.nii.gz")
    write_image(tmp_path / "b.nii.gz", volume())
    readers = [read_image(tmp_path / f"{name}.nii.gz", dataset()).reader.__name__ for name in "ab"]
    assert readers == ["NibabelIO", "SimpleITKIO"]
