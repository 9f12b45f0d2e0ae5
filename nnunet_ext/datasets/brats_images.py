"""Reading the images of BraTS: NIfTI, and the MetaImage files (``.mha``) of 2012 to 2015."""

from pathlib import Path

import nibabel
import numpy as np
import SimpleITK

from nnunet_ext.errors import InputError
from nnunet_ext.images.reader import check_complete

METAIMAGE = ".mha"


def read_brats_image(path: Path) -> nibabel.Nifti1Image:
    """An image of three dimensions; a MetaImage becomes NIfTI with the same voxels at the same places.

    Raises:
        InputError: The file is unreadable or truncated, or has not three dimensions.
    """
    if path.suffix == METAIMAGE:
        return _read_metaimage(path)
    check_complete(path)
    try:
        image = nibabel.load(path)
    except Exception as error:  # nibabel has several of its own, the operating system adds others
        raise InputError(f"{path}: cannot be read ({error}).") from None
    if len(image.shape) != 3:
        raise InputError(f"{path}: {len(image.shape)} dimensions {image.shape}, expected 3.")
    return image


def read_brats_labels(path: Path) -> tuple[np.ndarray, nibabel.Nifti1Image]:
    """A label map as it is stored, and its image.

    Raises:
        InputError: The file is unreadable or truncated, or holds values that are not whole numbers.
    """
    image = read_brats_image(path)
    try:
        labels = np.asanyarray(image.dataobj)
    except Exception as error:  # as above
        raise InputError(f"{path}: cannot be read ({error}).") from None
    if not (np.isfinite(labels).all() and (labels == np.rint(labels)).all()):
        raise InputError(f"{path}: not a label image, its values are not all whole numbers.")
    return labels, image


def _read_metaimage(path: Path) -> nibabel.Nifti1Image:
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"{path}: cannot be read, or is truncated ({reason}).") from None
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"{path}: {image.GetDimension()} dimensions, expected 3 with one value a voxel.")
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # left-posterior-superior to right-anterior-superior
    array = SimpleITK.GetArrayFromImage(image).T
    if array.dtype.kind in "iu" and array.dtype.itemsize > 4:
        raise InputError(f"{path}: whole numbers of {8 * array.dtype.itemsize} bits, which NIfTI readers do not know.")
    converted = nibabel.Nifti1Image(array, affine)
    converted.set_qform(affine, "scanner")
    converted.set_sform(affine, "scanner")
    return converted
