"""Data sets in nnU-Net's raw format: BraTS, the phantom, and writing a folder as a whole or not at all."""

from nnunet_ext.datasets.phantom import PhantomCase, phantom_case, write_phantom_dataset
from nnunet_ext.files.whole_folder import written_whole

__all__ = ["PhantomCase", "phantom_case", "write_phantom_dataset", "written_whole"]
