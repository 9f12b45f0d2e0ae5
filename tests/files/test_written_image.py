"""Images that were cut off while being written."""

import errno
import os

import numpy as np
import pytest
import SimpleITK

from nnunet_ext.errors import InputError
from nnunet_ext.files.atomic import atomic_path
from nnunet_ext.files.written_image import ROOM, check_written


def write_cut_off(path, part):
    image = SimpleITK.GetImageFromArray(np.random.default_rng(0).integers(0, 4, (9, 9, 9)).astype(np.uint8))
    SimpleITK.WriteImage(image, str(path), useCompression=True)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_what_simpleitk_cut_off_is_named(ending, part, tmp_path):
    write_cut_off(tmp_path / f"whole{ending}", 1.0)
    check_written(tmp_path / f"whole{ending}")
    write_cut_off(tmp_path / f"image{ending}", part)
    with pytest.raises(InputError, match=f"image{ending} was cut off while being written"):
        check_written(tmp_path / f"image{ending}")


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot take room on a disk")
def test_full_disk_is_the_reason_where_there_is_no_more_room(tmp_path, monkeypatch):
    def full(descriptor, start, size):
        assert size == ROOM
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)

    def write():
        with atomic_path(tmp_path / "image.nii.gz") as temporary:
            write_cut_off(temporary, 0.5)
            check_written(temporary)

    with pytest.raises(InputError, match=r"image\.nii\.gz cannot be written: the disk of .* is full"):
        write()
    assert list(tmp_path.iterdir()) == []
