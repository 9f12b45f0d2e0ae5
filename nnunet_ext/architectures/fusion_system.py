"""The ten systems of attention fusion's Table 1 as options of one network, and their widths for any base."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nnunet_ext.architectures.fusion_encoder import Attention

# Widths of the levels in multiples of the plans' first stage, whose default is 32.
UNET_WIDTHS = (2, 4, 8, 16, 32)  # 64 to 1024: the U-Net rows' counts
VGG16_WIDTHS = (2, 4, 8, 16, 16)  # 64 to 512: FuseNet's encoder is VGG16 (Sec. 2)
TWO_VGG16_WIDTHS = (4, 8, 16, 32, 32)  # FuseNetConcate's count: both encoders' features side by side
UNET_CONVOLUTIONS = (2, 2, 2, 2, 2)  # the U-Net rows' counts
VGG16_CONVOLUTIONS = (2, 2, 3, 3, 3)  # the 13 of VGG16
DECODER_CONVOLUTIONS = 2  # all rows' counts


@dataclass(frozen=True)
class FusionSystem:
    """One row of Table 1. The defaults are the proposed system.

    Attributes:
        reads: ``"each"``: one stream a modality, the master's first; ``"early"``: one stream of all modalities;
            ``"master"``: one stream of the master alone.
        fusion: Rule by which streams meet.
        attention: Whose heat map weights a stream.
        decoder: Upsampling of the decoder.
        widths: Width of the decoder at each level in multiples of the plans' first stage.
        stream_width: Whether streams share these widths or each has the full ones.
        n_conv_per_stage: Convolutions of a stream's block at each level.
    """

    reads: Literal["each", "early", "master"] = "each"
    fusion: str = "concatenate"
    attention: Attention = "master"
    decoder: str = "interpolation"
    widths: tuple[int, ...] = UNET_WIDTHS
    stream_width: Literal["share", "full"] = "share"
    n_conv_per_stage: tuple[int, ...] = UNET_CONVOLUTIONS

    @property
    def max_stages(self) -> int:
        """Number of levels of the published network."""
        return len(self.widths)

    @property
    def options(self) -> dict[str, str]:
        """Constructor arguments of the network that tell the rows apart, next to widths and streams."""
        return {
            "stream_width": self.stream_width,
            "fusion": self.fusion,
            "attention": self.attention,
            "decoder": self.decoder,
        }

    def topology(self, base: int, n_stages: int) -> dict[str, Any]:
        """Constructor arguments of the network that do not depend on the dataset.

        Args:
            base: Width of the plans' first stage.
            n_stages: Number of levels, at most :attr:`max_stages`.

        Raises:
            ValueError: More levels than the system has.
        """
        if not 1 <= n_stages <= self.max_stages:
            raise ValueError(f"This network has 1 to {self.max_stages} levels, not {n_stages}.")
        return {
            "n_stages": n_stages,
            "features_per_stage": [base * width for width in self.widths[:n_stages]],
            "n_conv_per_stage": list(self.n_conv_per_stage[:n_stages]),
            "n_conv_per_stage_decoder": [DECODER_CONVOLUTIONS] * (n_stages - 1),
            **self.options,
        }

    @property
    def takes_residual_blocks(self) -> bool:
        """Whether the plans' residual blocks can stand for the row's own: in U-Nets, not in VGG16."""
        return self.n_conv_per_stage == UNET_CONVOLUTIONS

    def residual_topology(self, planned: Mapping[str, Any]) -> dict[str, Any]:
        """Constructor arguments of the network on a residual encoder: all stages, widths and blocks as planned.

        Args:
            planned: Constructor arguments of nnU-Net's ``ResidualEncoderUNet``.
        """
        # nnU-Net counts the decoder's stages from the lowest resolution, this network from the highest
        return {
            "n_conv_per_stage_decoder": list(planned["n_conv_per_stage_decoder"])[::-1],
            **self.options,
        }

    def topology_of(self, arch_kwargs: dict[str, Any]) -> dict[str, Any]:
        """Constructor arguments of the network from those of nnU-Net's U-Net.

        The first levels, at most as many as the published network has; the row's widths and blocks. With residual
        blocks a U-Net's row keeps stages, widths and blocks as planned.

        Args:
            arch_kwargs: Arguments of the U-Net, as plans hold them; changed.
        """
        if "n_blocks_per_stage" in arch_kwargs and self.takes_residual_blocks:
            return arch_kwargs | self.residual_topology(arch_kwargs)
        n_stages = min(arch_kwargs["n_stages"], self.max_stages)
        for name in ("kernel_sizes", "strides"):
            arch_kwargs[name] = arch_kwargs[name][:n_stages]
        arch_kwargs.pop("n_blocks_per_stage", None)
        return arch_kwargs | self.topology(arch_kwargs["features_per_stage"][0], n_stages)

    def streams(self, n_modalities: int, master: int) -> list[list[int]]:
        """Channels of each stream.

        Args:
            n_modalities: Number of modalities.
            master: Channel of the master modality.

        Raises:
            ValueError: The master is not a channel.
        """
        if not 0 <= master < n_modalities:
            raise ValueError(f"Master channel {master} of {n_modalities} modalities.")
        modalities = [master, *(channel for channel in range(n_modalities) if channel != master)]
        return {"each": [[channel] for channel in modalities], "early": [modalities], "master": [[master]]}[self.reads]


PROPOSED = FusionSystem()
FUSE_UNET = FusionSystem(attention="none")
FUSE_UNET_ATTENTION = FusionSystem(attention="own")
LATE_FUSE_UNET = FusionSystem(fusion="separate", attention="none")
EARLY_FUSE_UNET = FusionSystem(reads="early", fusion="separate", attention="none")
UNET = FusionSystem(reads="master", fusion="separate", attention="none")
UNET_ATTENTION = FusionSystem(reads="master", fusion="separate", attention="own")
FUSE_ORIGIN_UNET = FusionSystem(
    fusion="concatenate_to_master", attention="none", decoder="transposed", stream_width="full"
)
FUSE_NET = FusionSystem(
    fusion="add",
    attention="none",
    decoder="none",
    widths=VGG16_WIDTHS,
    stream_width="full",
    n_conv_per_stage=VGG16_CONVOLUTIONS,
)
FUSE_NET_CONCAT = FusionSystem(
    fusion="separate",
    attention="none",
    decoder="transposed",
    widths=TWO_VGG16_WIDTHS,
    n_conv_per_stage=VGG16_CONVOLUTIONS,
)
