"""Trainers that keep the network of the plans, and the one that trains it to miss modalities."""

from typing import Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from nnunet_ext.host.trainer import HostTrainer
from nnunet_ext.plans.network_entry import check_host_network
from nnunet_ext.plans.settings import STRICT, TrainingSettings
from nnunet_ext.trainers.base import MethodTrainer


class PlannedNetworkTrainer(MethodTrainer):
    """Base of the trainers of the network that the plans name, with nnU-Net's loss, optimizer and schedule."""

    deep_supervision = True

    @classmethod
    def write_network(
        cls, settings: Any, plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any]
    ) -> None:
        """Leave the plans' network as it is.

        Raises:
            PlansError: No such configuration, or a network other than nnU-Net's own.
        """
        check_host_network(plans, configuration)

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Switch deep supervision of nnU-Net's network, as nnU-Net does."""
        HostTrainer.set_deep_supervision_enabled(self, enabled)


@dataclass(frozen=True, config=STRICT)
class ModalityDropoutSettings(TrainingSettings):
    """Settings of ModalityDropoutTrainer."""

    modality_dropout: float | Literal["uniform"] = Field("uniform")  # the protocol of RFNet, mmFormer and DeMoSeg


class ModalityDropoutTrainer(PlannedNetworkTrainer):
    """nnU-Net's own planned network, trained so that it predicts from any subset of the modalities."""

    paper = "nnU-Net (Isensee et al., 2021)"
    adds = "nnU-Net's own network; training samples lose modalities, so that any subset can be predicted from"
    settings_class = ModalityDropoutSettings

    @classmethod
    def min_channels(cls) -> int:
        """Two, of which one can be dropped."""
        return 2
