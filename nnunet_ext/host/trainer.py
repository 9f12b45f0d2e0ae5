"""nnU-Net's trainer, with what is inside it under names that say what for."""

from typing import Any, NamedTuple

from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoDA import nnUNetTrainerNoDA

from nnunet_ext.host.torch_internals import uncompiled

__all__ = [
    "DeepSupervisionWrapper",
    "HostTrainer",
    "PatchCutting",
    "nnUNetTrainer",
    "nnUNetTrainerNoDA",
    "plans_in_checkpoints",
]


class PatchCutting(NamedTuple):
    """How training patches are cut out of a case.

    Attributes:
        rotation: Angles in radian that patches are rotated by.
        slice_by_slice: Whether a patch is augmented slice by slice.
        size: Voxels of a patch before it is rotated and cut to its final size.
        mirror_axes: Spatial axes to mirror, in training and in prediction.
    """

    rotation: Any
    slice_by_slice: bool
    size: Any
    mirror_axes: Any


class HostTrainer(nnUNetTrainer):
    """What the base of this package's trainers derives from."""

    network: Any

    @property
    def log_curves(self) -> dict[str, list]:
        """Name -> a value an epoch; saved in checkpoints. nnU-Net logs to names that are in it, and only to these."""
        return self.logger.local_logger.my_fantastic_logging

    @property
    def made_with(self) -> dict[str, Any]:
        """Arguments of the constructor, for checkpoints; those of a checkpoint that nnU-Net has loaded replace them."""
        return self.my_init_kwargs

    @made_with.setter
    def made_with(self, arguments: dict[str, Any]) -> None:
        self.my_init_kwargs = arguments

    @property
    def unwrapped_network(self) -> Any:
        """The network itself, out of DDP's and torch.compile's wrappers."""
        return uncompiled(self.network.module if self.is_ddp else self.network)

    def patch_cutting(self, nnunets: PatchCutting) -> PatchCutting:
        """How training patches are cut; override to change it.

        Args:
            nnunets: What nnU-Net would do.
        """
        return nnunets

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> PatchCutting:  # noqa: N802
        """``patch_cutting``, where nnU-Net's data loaders ask for it."""
        return self.patch_cutting(PatchCutting(*super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()))


def plans_in_checkpoints(trainer: nnUNetTrainer) -> dict[str, Any]:
    """Plans that a trainer writes into its checkpoints; once it has loaded one, those of that checkpoint."""
    return trainer.my_init_kwargs["plans"]
