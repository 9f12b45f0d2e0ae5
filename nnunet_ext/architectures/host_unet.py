"""nnU-Net's planned U-Net, plain or residual, with an autoencoder branch, a slice classifier, or both beside it.

Papers: A. Myronenko, BrainLes 2018, doi:10.1007/978-3-030-11726-9_28 (branch); Nguyen et al., BraTS 2020, Sec. 2.3 and
3.3 (classifier and gate). Neither has them on nnU-Net's networks: what is ours stands in docs/methods/host_networks.md.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from dynamic_network_architectures.building_blocks.helper import convert_conv_op_to_dim, maybe_convert_scalar_to_list
from torch import Tensor, nn

from nnunet_ext.architectures.autoencoder_branch import AutoencoderBranch, AutoencoderOutput, initialize_linear
from nnunet_ext.architectures.group_norm import GroupNorm
from nnunet_ext.architectures.network_output import NetworkOutput
from nnunet_ext.architectures.segresnet_vae import bottleneck_widths, level_sizes
from nnunet_ext.architectures.slice_classifier import SliceClassifier, SliceOutput, slices_with_content
from nnunet_ext.architectures.slice_network import SliceNetwork

PLAIN = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
HOSTS: dict[str, type[nn.Module]] = {
    f"dynamic_network_architectures.architectures.unet.{host.__name__}": host
    for host in (PlainConvUNet, ResidualEncoderUNet)
}
BRANCH_WIDTH = 0.5  # of the plans' widths: our choice, because a training step then takes at most 1.25 of the plain one
CLASSIFIED_LEVEL = 1  # half size, as Table 2's classifier
NUM_GROUPS = 8  # of group norms in both parts: Myronenko, Table 1; Nguyen et al., Sec. 2


class NotPretrained(nn.Module):
    """Parts that ``nnUNetv2_train -pretrained_weights`` leaves as they were initialized.

    nnU-Net refuses a file that lacks weights of the network, but for those with ``.seg_layers.`` in their names, which
    it does not read. Parts with this name in their path are left alone with the segmentation heads, so that a
    checkpoint of ``nnUNetTrainer`` loads.

    Args:
        **parts: The parts by their names.
    """

    def __init__(self, **parts: nn.Module):
        super().__init__()
        self.seg_layers = nn.ModuleDict(parts)


class HostOutput(NamedTuple):
    """What the losses beside the segmentation's need.

    Attributes:
        autoencoder: Of the autoencoder branch; None without.
        slices: Of the slice classifier; None without.
    """

    autoencoder: AutoencoderOutput | None
    slices: SliceOutput | None


class HostUNet(SliceNetwork):
    """nnU-Net's own U-Net, whose weights keep their names, and what training or the gate need beside it.

    Without the two parts it computes what nnU-Net's network computes, with or without deep supervision.

    Args:
        input_channels: Channels of the input: the image's, then any others (a cascade's one-hot segmentation).
        num_classes: Number of logits.
        host_network: nnU-Net's network, as its plans name it.
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``.
        features_per_stage: Features of each stage.
        kernel_sizes: Kernel size of each stage and axis.
        strides: Stride into each stage, along each axis.
        autoencoder: Whether there is an autoencoder branch, from the encoder's last stage, without skips, with half the
            plans' widths; the paper's latent of 128 at a first stage of 32, and in proportion.
        slice_classifier: Whether there is a slice classifier, of the decoder's features at half size.
        patch_size: Spatial size of the training patches; the branch's dense layers depend on it.
        image_channels: How many of the first input channels are the image to reconstruct.
        regions: Whether the logits are of regions, or of classes with the background first.
        slice_axis: Spatial axis of the slices; None where the input is one slice (2d).
        gate_slices: Whether slices that the classifier calls negative are emptied in eval mode.
        mirror_axes: With a classifier: see :class:`SliceNetwork`. Without, nnU-Net mirrors itself.
        lstm_layers: Of the classifier; 2 in Table 2.
        lstm_dropout: Probability of dropout between them; not stated.
        deep_supervision: Whether logits are a list, highest resolution first.
        inference_only: Leave the branch out.
        **host_kwargs: What only nnU-Net's network reads: numbers of stages and convolutions or blocks, norm, and so on.

    Raises:
        ValueError: Unknown network; with a branch, a patch too small for the strides or a first stride other than 1.
    """

    # Submodules without which predictions are the same. `inference_only=True` builds the network without them.
    training_only: ClassVar[tuple[str, ...]] = ("auxiliary.seg_layers.autoencoder",)
    # Arguments that nnU-Net's network does not have.
    own_arguments: ClassVar[tuple[str, ...]] = (
        "host_network",
        "autoencoder",
        "slice_classifier",
        "patch_size",
        "image_channels",
        "regions",
        "slice_axis",
        "gate_slices",
        "mirror_axes",
        "lstm_layers",
        "lstm_dropout",
        "inference_only",
    )
    has_deep_supervision = True
    negative_slope = 1e-2  # of nnU-Net's leaky ReLU

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        host_network: str,
        conv_op: type[nn.Module],
        features_per_stage: Sequence[int],
        kernel_sizes: Sequence[Sequence[int]],
        strides: Sequence[Sequence[int]],
        autoencoder: bool,
        slice_classifier: bool,
        patch_size: Sequence[int],
        image_channels: int,
        regions: bool,
        slice_axis: int | None = None,
        gate_slices: bool = True,
        mirror_axes: Sequence[int] = (),
        lstm_layers: int = 2,
        lstm_dropout: float = 0.2,
        deep_supervision: bool = False,
        inference_only: bool = False,
        **host_kwargs: Any,
    ):
        super().__init__(
            input_channels,
            regions,
            slice_axis=slice_axis,
            gate_slices=gate_slices,
            mirror_axes=mirror_axes if slice_classifier else (),
            deep_supervision=deep_supervision,
        )
        if host_network not in HOSTS:
            raise ValueError(f"host_network is one of {', '.join(HOSTS)}; not {host_network!r}.")
        host: Any = HOSTS[host_network](
            input_channels=input_channels,
            num_classes=num_classes,
            conv_op=conv_op,
            features_per_stage=features_per_stage,
            kernel_sizes=kernel_sizes,
            strides=strides,
            deep_supervision=deep_supervision,
            **host_kwargs,
        )
        self.patch_size = tuple(patch_size)
        self.image_channels = image_channels
        self.encoder, self.decoder = host.encoder, host.decoder
        kernels = [maybe_convert_scalar_to_list(conv_op, kernel) for kernel in kernel_sizes]
        steps = [maybe_convert_scalar_to_list(conv_op, stride) for stride in strides]
        parts: dict[str, nn.Module] = {}
        if autoencoder and not inference_only:
            latent, reduced = bottleneck_widths(features_per_stage[0])
            parts["autoencoder"] = AutoencoderBranch(
                conv_op,
                [*(max(1, int(width * BRANCH_WIDTH)) for width in features_per_stage[:-1]), features_per_stage[-1]],
                kernels,
                level_sizes(self.patch_size, steps, convert_conv_op_to_dim(conv_op)),
                latent=latent,
                reduced_features=reduced,
                image_channels=image_channels,
                conv_bias=False,  # as SegResNetVAE: normalizations follow
                num_groups=NUM_GROUPS,
            )
        if slice_classifier:
            parts["classifier"] = SliceClassifier(
                features_per_stage[CLASSIFIED_LEVEL],
                features_per_stage[CLASSIFIED_LEVEL],
                num_classes=num_classes if regions else num_classes - 1,
                conv_op=conv_op,
                kernel_size=kernels[CLASSIFIED_LEVEL],
                slice_axis=slice_axis,
                slice_stride=1 if slice_axis is None else steps[0][slice_axis] * steps[1][slice_axis],
                lstm_layers=lstm_layers,
                lstm_dropout=lstm_dropout,
                conv_bias=True,  # as the other networks with a classifier
                norm_op=GroupNorm,
                norm_op_kwargs={"num_groups": NUM_GROUPS},
            )
        self.auxiliary = NotPretrained(**parts)

    @classmethod
    def topology(cls, arch_kwargs: dict[str, Any]) -> dict[str, Any]:
        """Everything of the planned network."""
        return arch_kwargs

    @classmethod
    def size_options(cls, input_channels: int, patch_size: Sequence[int]) -> dict[str, Any]:
        """nnU-Net's plain network, the patch, every channel to reconstruct; slices as other networks have them."""
        slices = super().size_options(input_channels, patch_size)
        return {
            "host_network": PLAIN,
            "patch_size": list(patch_size),
            "image_channels": input_channels,
            "slice_axis": slices["slice_axis"],
            "mirror_axes": slices["mirror_axes"],
        }

    @property
    def autoencoder(self) -> Any:
        """The :class:`AutoencoderBranch`, or None."""
        return self._part("autoencoder")

    @property
    def classifier(self) -> Any:
        """The :class:`SliceClassifier`, or None."""
        return self._part("classifier")

    def _part(self, name: str) -> nn.Module | None:
        return getattr(self.auxiliary.seg_layers, name, None)

    @classmethod
    def initialize(cls, module: nn.Module) -> None:
        """nnU-Net's of its network; the branch's linear convolutions as in SegResNetVAE."""
        super().initialize(module)
        initialize_linear(module)

    @classmethod
    def host_architecture(cls, architecture: Mapping[str, Any]) -> dict[str, Any] | None:
        """Plans' entry of nnU-Net's own network that predicts the same; None with a classifier, whose gate is here.

        Args:
            architecture: Plans' entry of this network.
        """
        kwargs = architecture["arch_kwargs"]
        if kwargs["slice_classifier"]:
            return None
        return {
            **architecture,
            "network_class_name": kwargs["host_network"],
            "arch_kwargs": {name: value for name, value in kwargs.items() if name not in cls.own_arguments},
        }

    def forward(self, x: Tensor, noise: Tensor | None = None) -> NetworkOutput | Tensor | list[Tensor]:
        """Segment the image ``(B, input_channels, *spatial)``.

        Args:
            x: In training mode with a branch, ``spatial`` is the patch size.
            noise: Noise of the autoencoder's sample, ``(B, latent)``; None draws it.

        Returns:
            Logits ``(B, num_classes, *spatial)``, gated in eval mode if so wanted; with deep supervision a list of
            them. In training mode a NetworkOutput whose auxiliary part is a :class:`HostOutput`.

        Raises:
            ValueError: In training mode with a branch, another patch size.
        """
        if not self.training:
            return self._every_resolution(x) if self.deep_supervision else self._predict(x)
        if self.autoencoder is not None and tuple(x.shape[2:]) != self.patch_size:
            raise ValueError(
                f"Training needs patches of {self.patch_size} voxels, for which the autoencoder branch was built; "
                f"got {tuple(x.shape[2:])}. Predictions may have any size."
            )
        features = self.head_features(x)
        branch = None
        if self.autoencoder is not None:
            branch = self.autoencoder(features[0], x[:, : self.image_channels], noise)
        slices = None
        if self.classifier is not None:
            slices = SliceOutput(self._slice_logits(features, x), slices_with_content(x, self.slice_axis))
        return NetworkOutput(self.training_logits(features, x.shape[2:]), HostOutput(branch, slices))

    def head_features(self, x: Tensor) -> list[Tensor]:
        """The encoder's last features, then the decoder's of each stage, lowest resolution first."""
        skips = self.encoder(x)
        features = [skips[-1]]
        for upsampling, stage, skip in zip(self.decoder.transpconvs, self.decoder.stages, skips[-2::-1], strict=True):
            features.append(stage(torch.cat([upsampling(features[-1]), skip], 1)))
        return features

    def concatenated(self, features: Sequence[Tensor]) -> Tensor:
        """The features at half size, which the classifier reads."""
        return features[-1 - CLASSIFIED_LEVEL]

    def training_logits(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor | list[Tensor]:
        """The final map; with deep supervision those of all of the decoder's stages, highest resolution first."""
        if not self.deep_supervision:
            return self.final_logits(features, size)
        heads = zip(self.decoder.seg_layers, features[1:], strict=True)
        return [head(level) for head, level in heads][::-1]

    def final_logits(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """The final map ``(B, C, *size)``."""
        return self.decoder.seg_layers[-1](features[-1])

    def reconstruct(self, x: Tensor) -> AutoencoderOutput:
        """Reconstruction from the mean of the latent distribution, without drawing a sample.

        Args:
            x: ``(B, input_channels, *patch_size)``.

        Raises:
            RuntimeError: The network has no branch.
        """
        if self.autoencoder is None:
            raise RuntimeError("This network was built without its autoencoder branch and can only predict.")
        noise = x.new_zeros(len(x), self.autoencoder.latent)
        return self.autoencoder(self.encoder(x)[-1], x[:, : self.image_channels], noise)

    def _every_resolution(self, x: Tensor) -> list[Tensor]:
        """Logits of one pass with deep supervision, for nnU-Net's validation; the gate is on the finest."""
        features = self.head_features(x)
        finest, *coarser = self.training_logits(features, x.shape[2:])
        if self._wants_slices:
            finest = self._gated_if_wanted(finest, self._slice_logits(features, x))
        return [finest, *coarser]
