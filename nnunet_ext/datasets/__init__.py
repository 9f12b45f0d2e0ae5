"""Data sets in nnU-Net's raw format: BraTS, and the phantom."""

from nnunet_ext.datasets.phantom import PhantomCase, phantom_case, write_phantom_dataset

__all__ = ["PhantomCase", "phantom_case", "write_phantom_dataset"]
