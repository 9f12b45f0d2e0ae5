"""Small cases without images on disk, to test and time trainers with."""

from nnunet_ext.testing.case import CHANNELS, LABELS, Case
from nnunet_ext.testing.trainer import make_batch, make_trainer, training_transforms

__all__ = ["CHANNELS", "LABELS", "Case", "make_batch", "make_trainer", "training_transforms"]
