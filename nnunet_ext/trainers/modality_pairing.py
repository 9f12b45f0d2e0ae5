"""Trainer of the modality-pairing method (Wang et al., BraTS 2020)."""

import json
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from nnunet_ext.architectures import ModalityPairingUNet
from nnunet_ext.architectures.modality_pairing import PairingOutput
from nnunet_ext.architectures.presence import present_modalities
from nnunet_ext.host.trainer import DeepSupervisionWrapper
from nnunet_ext.losses import CompositeLoss, ModalityPairingLoss
from nnunet_ext.plans.modalities import channel_names, resolve_groups
from nnunet_ext.plans.settings import STRICT, TrainingSettings
from nnunet_ext.trainers.base import MethodTrainer, PublishedSize
from nnunet_ext.trainers.schedules import EpochScheduler, poly, with_warmup

KNOWN_GROUPS = [["FLAIR", "T2"], ["T1ce", "T1"]]  # Sec. 2: branch A and branch B


@dataclass(frozen=True, config=STRICT)
class ModalityPairingSettings(TrainingSettings):
    """Settings of ModalityPairingTrainer."""

    changeable = TrainingSettings.changeable | {"warmup_epochs", "poly_exponent"}
    num_epochs: int = Field(1000, ge=1)  # Sec. 3.2
    initial_lr: float = Field(1e-2, gt=0)  # Sec. 3.2
    warmup_epochs: int = Field(20, ge=0)  # Sec. 3.2
    poly_exponent: float = Field(0.9, gt=0)  # Sec. 2, learning rate strategy
    pairing_weight: float = Field(0.5, ge=0)  # lambda_3, Eq. 5
    # Weight of the Dice and cross entropy of each branch's own classifier, averaged over branches. "The loss from both
    # main branches" (Sec. 2, Loss) can mean one a branch; off: our choice, because Eq. 5 is of one output
    branch_loss_weight: float = Field(default=0.0, ge=0)
    # Whether samples count in the correlation loss in which a branch has no modality left (modality_dropout). "keep":
    # our choice, because the correlation then teaches the empty branch what the other one sees
    empty_branch: Literal["keep", "leave_out"] = Field(default="keep")
    # Channel names of each branch; None: FLAIR and T2, T1ce and T1 (Sec. 2), also where the dataset lacks some of
    # these; else by kind or an even split (not stated: our choice, because the paper has no other data)
    modality_groups: list[list[str]] | None = None


class ModalityPairingTrainer(MethodTrainer):
    """Two (or more) densely connected U-Nets, one a group of modalities, and a correlation loss between them."""

    paper = "Wang et al., BraTS 2020 (2nd place)"
    adds = "one branch a modality group, densely connected; correlation loss between the branches"
    network_class = ModalityPairingUNet
    settings_class = ModalityPairingSettings
    deep_supervision = True
    published_size = PublishedSize((128, 128, 128), 2)  # Sec. 3.2

    @classmethod
    def min_channels(cls) -> int:
        """Two, since the branches pair modalities."""
        return 2

    @classmethod
    def resolve_settings(
        cls, settings: ModalityPairingSettings, dataset_json: dict[str, Any], notes: list[str]
    ) -> ModalityPairingSettings:
        """Put the channel names of each branch into the settings."""
        settings = super().resolve_settings(settings, dataset_json, notes)
        names = channel_names(dataset_json)
        groups, why = resolve_groups(names, settings.modality_groups, KNOWN_GROUPS)
        named = [[names[channel] for channel in group] for group in groups]
        notes.append(f"Modality groups: {named}")
        if why:
            notes.append(
                f"These groups are not the paper's (FLAIR and T2, T1ce and T1): {why}. To choose them, type: "
                f"nnunet_ext plan ... 'modality_groups={json.dumps(named)}'"
            )
        return replace(settings, modality_groups=named)

    @classmethod
    def method_kwargs(
        cls,
        settings: ModalityPairingSettings,
        plans: dict[str, Any],
        configuration: str,
        dataset_json: dict[str, Any],
    ) -> dict[str, Any]:
        """Channel indices of each branch, and whether it has a classifier of its own."""
        names = channel_names(dataset_json)
        assert settings.modality_groups is not None  # resolve_settings has filled it in
        return {
            "modality_groups": [[names.index(name) for name in group] for group in settings.modality_groups],
            "branch_classifiers": settings.branch_loss_weight > 0,
        }

    def _build_loss(self) -> nn.Module:
        """nnU-Net's Dice and cross entropy plus the weighted correlation loss (Eq. 5), and that of each branch."""
        segmentation = super()._build_loss()
        # what a branch predicts has the full resolution alone
        of_one_output = segmentation.loss if isinstance(segmentation, DeepSupervisionWrapper) else segmentation
        pairing = ModalityPairingLoss()

        def of_branches(output: PairingOutput, target: Any) -> Tensor:
            full_size = target[0] if isinstance(target, list) else target
            return torch.stack([of_one_output(logits, full_size) for logits in output.branch_logits]).mean()

        return CompositeLoss(
            segmentation,
            {
                "modality_pairing": (
                    self.settings.pairing_weight,
                    lambda output, _: pairing(*output.features, included=output.paired),
                ),
                "branches": (self.settings.branch_loss_weight, of_branches),
            },
        )

    def forward_and_loss(self, images: Tensor, target: Any) -> Tensor:
        """As every trainer; samples in which a branch is empty are left out of the correlation loss if asked."""
        given = self.modality_dropout(images)
        output = self.network(given)
        if self.settings.empty_branch == "leave_out":
            groups = self.configuration_manager.network_arch_init_kwargs["modality_groups"]
            present = present_modalities(given, sum(map(len, groups)))
            paired = torch.stack([present[:, group].any(1) for group in groups]).all(0)
            output = output._replace(auxiliary=output.auxiliary._replace(paired=paired))
        return self.loss(output, target)

    def configure_optimizers(self) -> tuple[Any, EpochScheduler]:
        """nnU-Net's SGD (Sec. 3.2 has the same values); linear warm-up, then polynomial decay of the absolute epoch."""
        optimizer, _ = super().configure_optimizers()
        settings = self.settings

        def learning_rate(epoch: int) -> float:
            decayed = poly(epoch, self.initial_lr, self.num_epochs, settings.poly_exponent)
            return with_warmup(epoch, self.initial_lr, settings.warmup_epochs, decayed)

        return optimizer, EpochScheduler(optimizer, learning_rate)
