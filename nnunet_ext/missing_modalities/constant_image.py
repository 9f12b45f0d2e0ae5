"""An image that has one value everywhere, on the grid and in the format of another."""

from pathlib import Path

import nibabel
import numpy as np
import SimpleITK

from nnunet_ext.files.written_image import check_written

NIFTI = (".nii.gz", ".nii")


def write_constant(template: Path, target: Path, value: float) -> None:
    """Write an image that has one value everywhere.

    Args:
        template: Image whose grid and file format it takes.
        target: File to write.
        value: Intensity; other than 0 it is stored as 32-bit float.
    """
    dtype = np.float32 if value else np.uint8
    if template.name.endswith(NIFTI):
        # nibabel, because it keeps both of the header's orientations and takes axes that are not orthogonal
        image = nibabel.load(template)
        header = image.header.copy()
        header.set_data_dtype(dtype)
        header.set_slope_inter(1, 0)
        nibabel.save(type(image)(np.full(image.shape, value, dtype), image.affine, header), target)
        return
    like = SimpleITK.ReadImage(str(template))
    array = np.full(SimpleITK.GetArrayViewFromImage(like).shape, value, dtype)
    constant = SimpleITK.GetImageFromArray(array)
    constant.CopyInformation(like)
    SimpleITK.WriteImage(constant, str(target), useCompression=True)
    check_written(target)
