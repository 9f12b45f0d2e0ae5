"""Training with a paper's augmentation in place of nnU-Net's."""

from typing import Any

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

from nnunet_ext.host.trainer import PatchCutting
from nnunet_ext.trainers.base import MethodTrainer


class PaperAugmentationTrainer(MethodTrainer):
    """Base of trainers whose paper mirrors and changes intensities, but does not rotate, scale or deform."""

    def augmentation(self, mirror_axes: Any, masked_channels: list[int]) -> list[BasicTransform]:
        """The paper's transforms.

        Args:
            mirror_axes: Spatial axes that nnU-Net mirrors.
            masked_channels: Channels whose background nnU-Net has set to 0; it must stay 0.
        """
        raise NotImplementedError

    def patch_cutting(self, nnunets: PatchCutting) -> PatchCutting:
        """No rotation, so that patches are cut at their final size; mirroring of all axes."""
        return nnunets._replace(slice_by_slice=False, size=self.configuration_manager.patch_size)

    def own_training_transforms(
        self,
        patch_size: Any,
        rotation_for_DA: Any,  # noqa: N803 - nnU-Net passes some by name
        deep_supervision_scales: Any,
        mirror_axes: Any,
        do_dummy_2d_data_aug: bool,
        use_mask_for_norm: Any = None,
        **labels: Any,
    ) -> ComposeTransforms:
        """The paper's augmentation, then what nnU-Net does to labels in validation as well."""
        masked = [channel for channel, used in enumerate(use_mask_for_norm or []) if used]
        validation = self.get_validation_transforms(deep_supervision_scales, **labels)
        return ComposeTransforms([*self.augmentation(mirror_axes, masked), validation])
