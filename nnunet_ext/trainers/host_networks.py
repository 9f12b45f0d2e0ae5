"""Trainers of nnU-Net's planned network with an idea of a paper beside it: autoencoder branch, slice classifier."""

from typing import Any, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from nnunet_ext.architectures import HostUNet
from nnunet_ext.architectures.host_unet import HostOutput
from nnunet_ext.host.plans import labels_of
from nnunet_ext.losses import CompositeLoss
from nnunet_ext.losses.autoencoder import Reduction, autoencoder_components
from nnunet_ext.losses.composite import AuxiliaryLoss
from nnunet_ext.losses.slice_classification import slice_components
from nnunet_ext.plans.modalities import channel_names
from nnunet_ext.plans.network_entry import HOST_NETWORKS, PlansError, resolved_configuration
from nnunet_ext.plans.settings import STRICT, SettingsError, TrainingSettings, read_settings
from nnunet_ext.trainers.reconstructing_trainer import ReconstructingTrainer
from nnunet_ext.trainers.slice_classifier_trainer import SliceClassifierTrainer, gate_kwargs

# An idea's switch, and the settings that have no effect without it.
IDEAS = {
    "autoencoder_branch": ("reconstruction_weight", "kl_weight", "reconstruction_reduction", "restore_missing"),
    "slice_classifier": ("focal_alpha", "focal_gamma", "lstm_layers", "lstm_dropout", "gate_slices", "slice_axis"),
}


@dataclass(frozen=True, config=STRICT)
class HostNetworkSettings(TrainingSettings):
    """Settings of both trainers; what is neither of an idea nor below is nnU-Net's."""

    autoencoder_branch: bool = Field(default=False)  # Myronenko's
    slice_classifier: bool = Field(default=False)  # Nguyen et al.'s
    # Myronenko, Eq. 1; not 0, which would leave the branch's decoder without gradient
    reconstruction_weight: float = Field(default=0.1, gt=0)
    kl_weight: float = Field(default=0.1, ge=0)  # Myronenko, Eq. 1
    reconstruction_reduction: Reduction = "mean"  # Myronenko, Eq. 3; as AutoencoderRegularizedTrainer
    restore_missing: bool = Field(default=True)  # with modality_dropout; as AutoencoderRegularizedTrainer
    # Nguyen et al., Eq. 2; not stated: the focal loss paper's, Sec. 5.1
    focal_alpha: float = Field(default=0.25, ge=0, le=1)
    focal_gamma: float = Field(default=2.0, ge=0)  # Nguyen et al., Eq. 2; not stated: the focal loss paper's, Sec. 5.1
    lstm_layers: int = Field(default=2, ge=1)  # Nguyen et al., Table 2, whose classifier reads half size too
    # Nguyen et al., Table 2; rate not stated: as BiFPNClassifierTrainer
    lstm_dropout: float = Field(default=0.2, ge=0, lt=1)
    gate_slices: bool = Field(default=True)  # Nguyen et al., Sec. 3.3: slices called negative are emptied
    # Nguyen et al., Sec. 2.3: axial; axis of the images as nnU-Net reads them
    slice_axis: int = Field(default=0, ge=0, le=2)


@dataclass(frozen=True, config=STRICT)
class HostAutoencoderSettings(HostNetworkSettings):
    """Settings of HostAutoencoderTrainer."""

    autoencoder_branch: bool = Field(default=True)  # the trainer's own idea


@dataclass(frozen=True, config=STRICT)
class HostClassifierSettings(HostNetworkSettings):
    """Settings of HostClassifierTrainer."""

    slice_classifier: bool = Field(default=True)  # the trainer's own idea


class HostNetworkTrainer(ReconstructingTrainer, SliceClassifierTrainer):
    """The plans' network with nnU-Net's loss, optimizer, schedule, augmentation; the losses of the ideas are added."""

    network_class = HostUNet
    deep_supervision = True
    own_idea: ClassVar[str]

    @property
    def reconstructs(self) -> bool:
        """Whether the autoencoder branch is on."""
        return self.settings.autoencoder_branch

    @property
    def classifies_slices(self) -> bool:
        """Whether the slice classifier is on."""
        return self.settings.slice_classifier

    @classmethod
    def resolve_settings(
        cls, settings: HostNetworkSettings, dataset_json: dict[str, Any], notes: list[str]
    ) -> HostNetworkSettings:
        """Refuse what would be ignored: the trainer's own idea off, or a setting of an idea that is off."""
        if not getattr(settings, cls.own_idea):
            raise SettingsError(
                f"{cls.__name__} with {cls.own_idea}=false would be another trainer: take HostAutoencoderTrainer for "
                "the autoencoder branch, HostClassifierTrainer for the slice classifier, ModalityDropoutTrainer for "
                "modality dropout alone, and nnU-Net's nnUNetTrainer for none of them."
            )
        default = read_settings(cls.settings_class, {})
        for idea, names in IDEAS.items():
            changed = [name for name in names if getattr(settings, name) != getattr(default, name)]
            if changed and not getattr(settings, idea):
                raise SettingsError(f"{', '.join(changed)}: no effect without {idea}=true.")
        return super().resolve_settings(settings, dataset_json, notes)

    @classmethod
    def method_kwargs(
        cls,
        settings: HostNetworkSettings,
        plans: dict[str, Any],
        configuration: str,
        dataset_json: dict[str, Any],
    ) -> dict[str, Any]:
        """The network that was planned, and what its parts need.

        Raises:
            PlansError: The network has one stage alone, or strides before the first.
        """
        resolved = resolved_configuration(plans, configuration)
        name, planned = resolved["architecture"]["network_class_name"], resolved["architecture"]["arch_kwargs"]
        if planned["n_stages"] < 2 or any(step != 1 for step in planned["strides"][0]):
            raise PlansError(f"{cls.__name__} needs plans with at least two stages, the first at full size.")
        patch_size = list(resolved["patch_size"])
        kwargs = {
            "host_network": name if name in HOST_NETWORKS else planned.get("host_network"),
            "autoencoder": settings.autoencoder_branch,
            "slice_classifier": settings.slice_classifier,
            "patch_size": patch_size,
            "image_channels": len(channel_names(dataset_json)),
            "regions": labels_of(plans, dataset_json).has_regions,
            "inference_only": False,
        }
        if settings.slice_classifier:
            kwargs.update(gate_kwargs(settings, plans, len(patch_size)))
            kwargs.update(lstm_layers=settings.lstm_layers, lstm_dropout=settings.lstm_dropout)
        return kwargs

    def to_reconstruct(self, auxiliary: HostOutput, images: Tensor) -> HostOutput:
        """As the base, of the branch's output."""
        return auxiliary._replace(autoencoder=super().to_reconstruct(auxiliary.autoencoder, images))

    def _build_loss(self) -> nn.Module:
        """nnU-Net's loss; with the branch reconstruction and divergence, with the classifier the losses of slices."""
        settings = self.settings
        components: dict[str, tuple[float, AuxiliaryLoss]] = {}
        if settings.autoencoder_branch:
            branch = autoencoder_components(
                settings.reconstruction_weight, settings.kl_weight, settings.reconstruction_reduction
            )
            components |= {name: (weight, _of_branch(loss)) for name, (weight, loss) in branch.items()}
        if settings.slice_classifier:
            slices = slice_components(
                self.configuration_manager.network_arch_init_kwargs["slice_axis"],
                self.label_manager.has_regions,
                self.label_manager.ignore_label,
                alpha=settings.focal_alpha,
                gamma=settings.focal_gamma,
            )
            components |= {name: (weight, _of_slices(loss)) for name, (weight, loss) in slices.items()}
        return CompositeLoss(super()._build_loss(), components)


def _of_branch(loss: AuxiliaryLoss) -> AuxiliaryLoss:
    return lambda output, target: loss(output.autoencoder, target)


def _of_slices(loss: AuxiliaryLoss) -> AuxiliaryLoss:
    """Slices are labelled at full size, the first of the targets with deep supervision."""
    return lambda output, target: loss(output.slices, target[0] if isinstance(target, list) else target)


class HostAutoencoderTrainer(HostNetworkTrainer):
    """nnU-Net's own planned network, whose encoder must also reconstruct the image through an autoencoder branch."""

    paper = "Myronenko, BraTS 2018, on nnU-Net (Isensee et al., 2021)"
    adds = "nnU-Net's own network; an autoencoder branch regularizes its encoder in training"
    settings_class = HostAutoencoderSettings
    own_idea = "autoencoder_branch"


class HostClassifierTrainer(HostNetworkTrainer):
    """nnU-Net's own planned network with a classifier of slices that empties those without a region."""

    paper = "Nguyen et al., BraTS 2020, on nnU-Net (Isensee et al., 2021)"
    adds = "nnU-Net's own network; a recurrent classifier of axial slices, whose negative slices empty the segmentation"
    settings_class = HostClassifierSettings
    own_idea = "slice_classifier"
