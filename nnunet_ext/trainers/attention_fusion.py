"""Trainers of attention fusion (Li et al., MICCAI 2019) and of the nine systems of its Table 1 it is compared with."""

from dataclasses import replace
from typing import Any, ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from nnunet_ext.architectures import AttentionFusionUNet, fusion_system
from nnunet_ext.host.trainer import nnUNetTrainerNoDA
from nnunet_ext.losses import PlainDiceCrossEntropyLoss
from nnunet_ext.plans.modalities import channel_index, channel_names, resolve_master
from nnunet_ext.plans.network_entry import PlansError, network_path, resolved_configuration
from nnunet_ext.plans.settings import STRICT, SettingsError, TrainingSettings
from nnunet_ext.trainers.base import MethodTrainer, PublishedSize
from nnunet_ext.trainers.schedules import EpochScheduler, halving

KNOWN_MASTER = "T1ce"  # Sec. 2: T1C contributes most


@dataclass(frozen=True, config=STRICT)
class AttentionFusionSettings(TrainingSettings):
    """Settings of AttentionFusionTrainer and of the systems it is compared with."""

    changeable = TrainingSettings.changeable | {"epochs_per_halving"}
    num_epochs: int = Field(300, ge=1)  # not stated: our choice, ten halvings of the learning rate
    initial_lr: float = Field(1e-4, gt=0)  # Sec. 2, Implementation Details
    epochs_per_halving: int = Field(30, ge=1)  # Sec. 2, Implementation Details
    weight_decay: float = Field(0.0, ge=0)  # not stated: our choice, PyTorch's default for Adam
    cross_entropy_weight: float = Field(1.0, ge=0)  # alpha, Eq. 1
    dice_epsilon: float = Field(1.0, gt=0)  # epsilon, Eq. 1
    attention_reduction: int = Field(16, ge=1)  # r, Sec. 2, Implementation Details
    attention_dilation: int = Field(4, ge=1)  # d, Sec. 2, Implementation Details; voxels of a level's feature map
    batch_dice: bool = False  # Eq. 1: sums over the pixels of an image; true: of the batch
    # Batch norm instead of the plans' norm. Table 1's counts fit batch norm and affine instance norm alike; off: our
    # choice, because nnU-Net's batches are small
    batch_norm: bool = False
    # Channel name of the master modality; None: T1ce (Sec. 2: T1C) where the dataset has one, else the first channel
    # (not stated: our choice, because the paper has no other data)
    master_modality: str | None = None
    # Where the master is missing, make the heat map of another modality. Off: the paper has no missing modality
    presence_aware: bool = False
    heat_map_order: list[str] | None = None  # channel names; None: the master, then channel order


class AttentionFusionTrainer(MethodTrainer):
    """The proposed system: the master modality's attention map selects information in every modality."""

    paper = "Li et al., MICCAI 2019"
    adds = "one stream a modality, fused at every level under the master modality's attention map"
    network_class = AttentionFusionUNet
    settings_class = AttentionFusionSettings
    published_size = PublishedSize((256, 256), 4)  # Sec. 2, Implementation Details
    system: ClassVar[fusion_system.FusionSystem] = fusion_system.PROPOSED

    @classmethod
    def min_channels(cls) -> int:
        """One for the systems that read the master modality alone; the others fuse two or more."""
        return 1 if cls.system.reads == "master" else 2

    @classmethod
    def resolve_settings(
        cls, settings: AttentionFusionSettings, dataset_json: dict[str, Any], notes: list[str]
    ) -> AttentionFusionSettings:
        """Put the channel name of the master modality into the settings."""
        if cls.system.reads == "master" and settings.modality_dropout != 0:
            raise SettingsError(
                f"{cls.__name__} reads the master modality alone: modality_dropout has nothing to drop."
            )
        settings = super().resolve_settings(settings, dataset_json, notes)
        names = channel_names(dataset_json)
        master, is_guess = resolve_master(names, settings.master_modality, KNOWN_MASTER)
        notes.append(f"Master modality: {names[master]}")
        if is_guess:
            notes.append(
                f"No channel is known as {KNOWN_MASTER}, so the first one is the master. To choose another, set "
                '"master_modality" in the "nnunet_ext" block of the plans (nnunet_ext plan --help).'
            )
        settings = replace(settings, master_modality=names[master])
        return cls._resolve_heat_map_order(settings, names)

    @classmethod
    def _resolve_heat_map_order(cls, settings: AttentionFusionSettings, names: list[str]) -> AttentionFusionSettings:
        if not settings.presence_aware:
            if settings.heat_map_order is not None:
                raise SettingsError("heat_map_order has no effect without presence_aware=true.")
            return settings
        if cls.system.attention != "master":
            raise SettingsError(f"presence_aware is for the master's heat map, and {cls.__name__} has none.")
        streams = cls.system.streams(len(names), names.index(str(settings.master_modality)))
        default = [names[channel] for (channel,) in streams]
        order = [names[channel_index(name, names)] for name in settings.heat_map_order or default]
        if sorted(order) != sorted(default):
            raise SettingsError(f"heat_map_order must name each of {', '.join(default)} once, not {', '.join(order)}.")
        return replace(settings, heat_map_order=order)

    @classmethod
    def topology(cls, arch_kwargs: dict[str, Any]) -> dict[str, Any]:
        """Constructor arguments of this row's network from those of nnU-Net's U-Net."""
        return cls.system.topology_of(arch_kwargs)

    @classmethod
    def method_kwargs(
        cls,
        settings: AttentionFusionSettings,
        plans: dict[str, Any],
        configuration: str,
        dataset_json: dict[str, Any],
    ) -> dict[str, Any]:
        """Channels of each stream, attention and norm."""
        names = channel_names(dataset_json)
        architecture = resolved_configuration(plans, configuration)["architecture"]
        planned = architecture["arch_kwargs"]
        if architecture["network_class_name"] == network_path(cls.network_class):
            cls._check_row(plans["plans_name"], configuration, planned)
        assert settings.master_modality is not None  # resolve_settings has filled it in
        kwargs: dict[str, Any] = {
            "streams": cls.system.streams(len(names), names.index(settings.master_modality)),
            "n_modalities": len(names),
            "attention_reduction": settings.attention_reduction,
            "attention_dilation": settings.attention_dilation,
        }
        if settings.heat_map_order is not None:
            streams = [names[channel] for (channel,) in kwargs["streams"]]
            kwargs["heat_map_order"] = [streams.index(name) for name in settings.heat_map_order]
        if settings.batch_norm:
            dimension = len(planned["strides"][0])
            kwargs["norm_op"] = f"torch.nn.modules.batchnorm.BatchNorm{dimension}d"
            kwargs["norm_op_kwargs"] = {"eps": 1e-5, "affine": True}
        return kwargs

    @classmethod
    def _check_row(cls, plans_name: str, configuration: str, planned: dict[str, Any]) -> None:
        """All rows of Table 1 are one network class: its options tell whether the plans are those of this row."""
        own: dict[str, Any] = dict(cls.system.options)
        if "n_blocks_per_stage" not in planned:
            own["n_conv_per_stage"] = list(cls.system.n_conv_per_stage[: planned["n_stages"]])
        different = {name: planned.get(name) for name, value in own.items() if planned.get(name) != value}
        first, *others = planned["streams"]
        reads = "each" if others else "early" if len(first) > 1 else "master"
        if different or reads != cls.system.reads:
            raise PlansError(
                f"Configuration '{configuration}' of plans '{plans_name}' was made for another system than "
                f"{cls.__name__}'s: {different or planned['streams']}. Use plans made by nnUNetv2_plan_experiment."
            )

    def _build_loss(self) -> nn.Module:
        """Dice and cross entropy of Eq. 1."""
        return PlainDiceCrossEntropyLoss(
            self.label_manager.has_regions,
            self.label_manager.ignore_label,
            cross_entropy_weight=self.settings.cross_entropy_weight,
            epsilon=self.settings.dice_epsilon,
            batch_dice=self.settings.batch_dice,
        )

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, EpochScheduler]:
        """Adam with AMSGrad; the learning rate halves every so many epochs (Sec. 2, Implementation Details)."""
        optimizer = torch.optim.Adam(
            self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay, amsgrad=True
        )
        per_step = self.settings.epochs_per_halving
        return optimizer, EpochScheduler(optimizer, lambda epoch: halving(epoch, self.initial_lr, per_step))


class AttentionFusionTrainerNoDA(AttentionFusionTrainer, nnUNetTrainerNoDA):
    """The proposed system without augmentation, as the paper trains (Sec. 2, Implementation Details)."""

    adds = "attention fusion without data augmentation"


class SingleModalityUNetTrainer(AttentionFusionTrainer):
    """Table 1, U-Net (T1C): the U-Net on the master modality alone."""

    adds = "comparison: U-Net on the master modality alone"
    system = fusion_system.UNET


class AttentionUNetTrainer(AttentionFusionTrainer):
    """Table 1, U-Net + SA (T1C): the U-Net on the master modality alone, with attention."""

    adds = "comparison: U-Net with attention on the master modality alone"
    system = fusion_system.UNET_ATTENTION


class FuseNetTrainer(AttentionFusionTrainer):
    """Table 1, FuseNet: VGG16 encoders, the assistants' features added to the master's; no learned decoder."""

    adds = "comparison: VGG16 encoders whose features are added"
    system = fusion_system.FUSE_NET


class FuseNetConcatTrainer(AttentionFusionTrainer):
    """Table 1, FuseNetConcate: VGG16 encoders whose features the decoder reads side by side."""

    adds = "comparison: VGG16 encoders whose features are concatenated"
    system = fusion_system.FUSE_NET_CONCAT


class FuseOriginUNetTrainer(AttentionFusionTrainer):
    """Table 1, FuseOriginUNet: full-width U-Net encoders, the assistants' features concatenated into the master's."""

    adds = "comparison: full-width U-Net encoders, fused into the master's"
    system = fusion_system.FUSE_ORIGIN_UNET


class EarlyFuseUNetTrainer(AttentionFusionTrainer):
    """Table 1, EarlyFuseUNet: the U-Net with the modalities as input channels."""

    adds = "comparison: U-Net with the modalities as input channels"
    system = fusion_system.EARLY_FUSE_UNET


class LateFuseUNetTrainer(AttentionFusionTrainer):
    """Table 1, LateFuseUNet: separate encoders whose features the decoder reads side by side."""

    adds = "comparison: separate encoders, fused in the decoder"
    system = fusion_system.LATE_FUSE_UNET


class FuseUNetTrainer(AttentionFusionTrainer):
    """Table 1, FuseUNet: the proposed system without attention."""

    adds = "comparison: attention fusion without attention"
    system = fusion_system.FUSE_UNET


class FuseUNetAttentionTrainer(AttentionFusionTrainer):
    """Table 1, FuseUNet + SA: every modality is weighted by its own attention map."""

    adds = "comparison: attention fusion with an attention map a modality"
    system = fusion_system.FUSE_UNET_ATTENTION
