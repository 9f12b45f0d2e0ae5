"""Trainers by name, this package's and those that nnU-Net finds."""

from nnunet_ext.errors import UserError
from nnunet_ext.host import models
from nnunet_ext.trainers import TRAINERS

OWN = {trainer.__name__: trainer for trainer in TRAINERS}


class UnknownTrainerError(UserError):
    """A trainer that is not found."""


def find_trainer(name: str) -> type:
    """Trainer of this package, of nnU-Net, or of another folder that nnUNet_extTrainer names.

    Raises:
        UnknownTrainerError: There is none, or the search for it fails in somebody's module.
    """
    if name in OWN:
        return OWN[name]
    try:
        return models.find_trainer(name)
    except LookupError:
        raise UnknownTrainerError(
            f"nnU-Net finds no trainer '{name}'. This package has {', '.join(sorted(OWN))}."
        ) from None
    except Exception as error:  # of a module that nnU-Net has imported on its search
        raise UnknownTrainerError(
            f"nnU-Net cannot look for trainer '{name}' ({type(error).__name__}: {error}). Run: nnunet_ext doctor"
        ) from error
