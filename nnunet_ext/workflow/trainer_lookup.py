"""Trainers by name, this package's and those that nnU-Net finds."""

from contextlib import redirect_stdout
from io import StringIO

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from nnunet_ext.errors import UserError
from nnunet_ext.trainers import TRAINERS

OWN = {trainer.__name__: trainer for trainer in TRAINERS}


class UnknownTrainerError(UserError):
    """A trainer that is not found."""


def find_trainer(name: str) -> type[nnUNetTrainer]:
    """Trainer of this package, of nnU-Net, or of another folder that nnUNet_extTrainer names.

    Raises:
        UnknownTrainerError: There is none, or the search for it fails in somebody's module.
    """
    if name in OWN:
        return OWN[name]
    try:
        with redirect_stdout(StringIO()):  # nnU-Net reports where it searches
            return recursive_find_trainer_class_by_name(name)
    except RuntimeError:
        raise UnknownTrainerError(
            f"nnU-Net finds no trainer '{name}'. This package has {', '.join(sorted(OWN))}."
        ) from None
    except Exception as error:  # of a module that nnU-Net has imported on its search
        raise UnknownTrainerError(
            f"nnU-Net cannot look for trainer '{name}' ({type(error).__name__}: {error}). Run: nnunet_ext doctor"
        ) from error
