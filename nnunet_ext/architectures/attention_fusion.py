"""Attention fusion network and the nine networks it is compared with: one family of streams, fusion and attention.

Written from the paper: Li et al., Learning Cross-Modal Deep Representations for Multi-Modal MR Image Segmentation,
MICCAI 2019. Sizes that the paper does not print were found from the parameter counts of its Table 1.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from torch import Tensor, nn

from nnunet_ext.architectures.branch_order import in_order, item_in_order
from nnunet_ext.architectures.fusion_decoder import CoarseHead, FusionDecoder
from nnunet_ext.architectures.fusion_encoder import Attention, FusionEncoder
from nnunet_ext.architectures.fusion_system import PROPOSED, FusionSystem
from nnunet_ext.architectures.method_network import BranchedNetwork, check_lengths
from nnunet_ext.architectures.presence import first_present, present_modalities
from nnunet_ext.architectures.sizes import unet_arguments
from nnunet_ext.architectures.stream_fusion import FUSION_RULES, stream_widths

Decoder = Literal["interpolation", "transposed", "none"]

CHOICES = {
    "stream_width": ("share", "full"),
    "fusion": tuple(FUSION_RULES),
    "attention": get_args(Attention),
    "decoder": get_args(Decoder),
}


class AttentionFusionUNet(BranchedNetwork):
    """Master and assistant streams, fused at every level under the master's attention, and a U-Net decoder.

    The defaults are the proposed network; ``fusion``, ``attention``, ``decoder`` and the widths give the other rows of
    Table 1.

    Args:
        input_channels: Channels of the input: the modalities, then any others (a cascade's previous segmentation),
            which every stream reads.
        n_stages: Number of levels.
        features_per_stage: Width of the decoder at each level.
        conv_op: Convolution, its dimension is the network's.
        kernel_sizes: Kernel at each level, one odd number an axis.
        strides: Pooling before each level, one number an axis; all 1 at the first.
        n_conv_per_stage_decoder: Convolutions of the decoder's block at each level but the deepest.
        streams: Modality channels of each stream, the master's stream first. A modality in no stream is not read.
        n_modalities: Number of leading input channels that are modalities.
        num_classes: Segmentation channels.
        n_conv_per_stage: Convolutions of a stream's block at each level.
        n_blocks_per_stage: Residual blocks of a stream at each level, the first of which strides in place of pooling;
            not stated: our choice, for nnU-Net's residual encoders.
        stream_width: ``"share"``: each of n streams has ``1 / n`` of the decoder's widths; ``"full"``: all of them.
        fusion: Name of a rule in :data:`nnunet_ext.architectures.stream_fusion.FUSION_RULES`.
        attention: ``"none"``, ``"own"`` (each stream by its own heat map) or ``"master"`` (all by the master's).
        attention_reduction: Reduction factor r of the attention blocks (Sec. 2, Implementation Details).
        attention_dilation: Dilation d of the attention blocks (Sec. 2, Implementation Details).
        decoder: Upsampling of the decoder, ``"interpolation"`` or ``"transposed"``, or ``"none"`` for a 1x1 convolution
            on the deepest features.
        conv_bias: Whether convolutions have a bias.
        norm_op: Norm after a convolution, or None.
        norm_op_kwargs: Its arguments.
        dropout_op: Dropout between convolution and norm, or None.
        dropout_op_kwargs: Its arguments.
        nonlin: Activation after the norm, or None.
        nonlin_kwargs: Its arguments.
        heat_map_order: With the master's attention: where the master's modality is missing (0 everywhere), the heat
            map of a sample is made of the features of the first stream in this order whose modality is there, by the
            same attention block; None (the paper, which has no missing modality): always of the master's.
        deep_supervision: Must be False: the paper has no deep supervision.

    Raises:
        ValueError: Deep supervision; both or neither of ``n_conv_per_stage`` and ``n_blocks_per_stage``; an unknown row
            of options; entries that do not match ``n_stages``; a stream that
            is empty or names a channel that is not a modality; fusion or master's attention with one stream.
    """

    negative_slope = 1e-2  # of nnU-Net's leaky ReLU

    def __init__(
        self,
        input_channels: int,
        n_stages: int,
        features_per_stage: Sequence[int],
        conv_op: type[nn.Module],
        kernel_sizes: Sequence[Sequence[int]],
        strides: Sequence[Sequence[int]],
        n_conv_per_stage_decoder: Sequence[int],
        streams: Sequence[Sequence[int]],
        n_modalities: int,
        num_classes: int,
        n_conv_per_stage: Sequence[int] | None = None,
        n_blocks_per_stage: Sequence[int] | None = None,
        stream_width: Literal["share", "full"] = "share",
        fusion: str = "concatenate",
        attention: Attention = "master",
        attention_reduction: int = 16,
        attention_dilation: int = 4,
        decoder: Decoder = "interpolation",
        conv_bias: bool = True,
        norm_op: type[nn.Module] | None = None,
        norm_op_kwargs: dict[str, Any] | None = None,
        dropout_op: type[nn.Module] | None = None,
        dropout_op_kwargs: dict[str, Any] | None = None,
        nonlin: type[nn.Module] | None = None,
        nonlin_kwargs: dict[str, Any] | None = None,
        heat_map_order: Sequence[int] | None = None,
        deep_supervision: bool = False,
    ):
        super().__init__(input_channels, deep_supervision)
        encoder_layers = n_conv_per_stage if n_blocks_per_stage is None else n_blocks_per_stage
        if encoder_layers is None or (n_conv_per_stage is not None and n_blocks_per_stage is not None):
            raise ValueError("Stages have either n_conv_per_stage convolutions or n_blocks_per_stage residual blocks.")
        check_lengths(
            n_stages,
            features_per_stage=features_per_stage,
            kernel_sizes=kernel_sizes,
            strides=strides,
            **{"n_conv_per_stage" if n_blocks_per_stage is None else "n_blocks_per_stage": encoder_layers},
        )
        check_lengths(n_stages - 1, n_conv_per_stage_decoder=n_conv_per_stage_decoder)
        if any(step != 1 for step in strides[0]):
            raise ValueError(f"The first stage must not pool, its stride is {list(strides[0])}.")
        _check_choices(stream_width=stream_width, fusion=fusion, attention=attention, decoder=decoder)
        _check_streams(streams, n_modalities, input_channels)
        _check_attention(fusion, attention, len(streams), heat_map_order)
        shared = range(n_modalities, input_channels)
        self.streams = self.branches = [list(stream) for stream in streams]
        self.n_modalities = n_modalities
        self.heat_map_order = None if heat_map_order is None else list(heat_map_order)
        stream_features = stream_widths(features_per_stage, len(streams) if stream_width == "share" else 1)
        block_kwargs = {
            "conv_bias": conv_bias,
            "norm_op": norm_op,
            "norm_op_kwargs": norm_op_kwargs,
            "dropout_op": dropout_op,
            "dropout_op_kwargs": dropout_op_kwargs,
            "nonlin": nonlin,
            "nonlin_kwargs": nonlin_kwargs,
        }
        self.encoder = FusionEncoder(
            [[*stream, *shared] for stream in streams],
            stream_features,
            n_conv_per_stage=encoder_layers,
            kernel_sizes=kernel_sizes,
            strides=strides,
            fusion=fusion,
            attention=attention,
            attention_reduction=attention_reduction,
            attention_dilation=attention_dilation,
            conv_op=conv_op,
            block_kwargs=block_kwargs,
            residual=n_blocks_per_stage is not None,
        )
        self.has_master = len(streams) > 1 and (self.encoder.rule.master_reads != "master" or attention == "master")
        self.stream_features = stream_features
        widths = self.encoder.output_channels
        self.decoder: nn.Module
        if decoder == "none":
            self.decoder = CoarseHead(widths[-1], num_classes, conv_op)
        else:
            self.decoder = FusionDecoder(
                widths,
                features_per_stage,
                n_conv_per_stage=n_conv_per_stage_decoder,
                kernel_sizes=kernel_sizes,
                strides=strides,
                upsampling=decoder,
                num_classes=num_classes,
                conv_op=conv_op,
                block_kwargs=block_kwargs,
            )

    @classmethod
    def from_sizes(
        cls,
        input_channels: int,
        num_classes: int,
        patch_size: Sequence[int],
        *,
        base_num_features: int = 32,
        strides: Sequence[Sequence[int]] | None = None,
        kernel_sizes: Sequence[Sequence[int]] | None = None,
        system: FusionSystem = PROPOSED,
        master: int = 0,
        **options: Any,
    ) -> "AttentionFusionUNet":
        """The network of a row of Table 1 for these sizes, initialized, see :meth:`MethodNetwork.from_sizes`.

        Args:
            input_channels: Channels of the input; each is a modality.
            num_classes: See :meth:`MethodNetwork.from_sizes`.
            patch_size: See :meth:`MethodNetwork.from_sizes`.
            base_num_features: See :meth:`MethodNetwork.from_sizes`.
            strides: See :meth:`MethodNetwork.from_sizes`.
            kernel_sizes: See :meth:`MethodNetwork.from_sizes`.
            system: Row of Table 1, of :mod:`nnunet_ext.architectures.fusion_system`.
            master: Channel of the master modality.
            **options: Other arguments of the constructor.

        Raises:
            ValueError: Sizes that do not fit.
        """
        planned = unet_arguments(patch_size, base_num_features, strides=strides, kernel_sizes=kernel_sizes)
        streams = {"streams": system.streams(input_channels, master), "n_modalities": input_channels}
        return cls.initialized(input_channels, num_classes, system.topology_of(planned) | streams, options)

    def forward(self, x: Tensor) -> Tensor:
        """Segmentation logits ``(B, num_classes, *spatial)`` of the image ``(B, input_channels, *spatial)``."""
        features, _ = self.encode(x)
        return self.decoder(features)

    def encode(self, x: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Features for the decoder and heat maps of an image, see :class:`FusionEncoder`."""
        if self.heat_map_order is None:
            return self.encoder(x)
        present = present_modalities(x, self.n_modalities)
        return self.encoder(x, first_present(present, self.streams, self.heat_map_order))

    def attention_maps(self, x: Tensor) -> list[list[Tensor]]:
        """Heat maps in (0, 1), ``(B, 1, *spatial)``, of each level, highest resolution first.

        Each level holds one map for each of ``encoder.mapped_streams``; none for networks without attention.
        """
        return self.encode(x)[1]

    def channels_read(self, kernel: str) -> list[int]:
        """Input channels of one stream's first kernel: its modalities, then the channels that every stream reads."""
        stream = int(kernel.removeprefix("encoder.levels.0.blocks.").partition(".")[0])
        return self.encoder.stream_channels[stream]

    def in_other_order(self, weights: Mapping[str, Tensor], order: Sequence[int]) -> dict[str, Tensor]:
        """Weights of the network whose stream ``i`` was ``order[i]``, see :class:`BranchedNetwork`."""
        lists = [f"encoder.levels.{level}.blocks" for level in range(len(self.stream_features))]
        if len(self.encoder.mapped_streams) == len(self.streams):
            lists += [f"encoder.levels.{level}.attentions" for level in range(len(self.stream_features))]
        joined = self._kernels_on_joined_streams()
        new = {}
        for name, weight in weights.items():
            for prefix, (axis, width) in joined.items():
                if name.startswith(prefix) and weight.ndim > 1:
                    weight = in_order(weight, axis, order, width)
            of_stream = next((prefix for prefix in lists if name.startswith(f"{prefix}.")), None)
            new[name if of_stream is None else item_in_order(name, of_stream, order)] = weight
        return new

    def _kernels_on_joined_streams(self) -> dict[str, tuple[int, int]]:
        """Beginning of a weight's name -> axis along which it reads streams side by side, and the width of one."""
        widths = self.stream_features
        found: dict[str, tuple[int, int]] = {}
        if self.encoder.rule.master_reads == "concatenate":
            # of convolutions, or of residual blocks
            first = ("convs.0.", "blocks.0.conv1.", "blocks.0.skip.")
            found |= {
                f"encoder.levels.{level}.blocks.0.{layer}": (1, below)
                for level, below in enumerate(widths[:-1], 1)
                for layer in first
            }
        # the decoder's parts count from the deepest level upwards
        reads = [
            width if how == "concatenate" else None
            for width, how in zip(widths, self.encoder.decoder_reads, strict=True)
        ][::-1]
        for block, width in enumerate(reads[1:]):
            if width is not None:
                found[f"decoder.blocks.{block}.convs.0."] = (1, width)
        if reads[0] is not None:
            transposed = isinstance(self.decoder, FusionDecoder) and self.decoder.upsampling == "transposed"
            deepest = "decoder.upsamplers.0." if isinstance(self.decoder, FusionDecoder) else "decoder.head."
            found[deepest] = (0 if transposed else 1, reads[0])
        return found


def _check_choices(**choices: str) -> None:
    for name, value in choices.items():
        if value not in CHOICES[name]:
            raise ValueError(f"{name} = {value!r}; valid are {', '.join(CHOICES[name])}.")


def _check_streams(streams: Sequence[Sequence[int]], n_modalities: int, input_channels: int) -> None:
    if n_modalities > input_channels:
        raise ValueError(f"{n_modalities} modalities in {input_channels} input channels.")
    if not streams or any(not stream for stream in streams):
        raise ValueError(f"Every stream needs a modality, got {[list(stream) for stream in streams]}.")
    wrong = sorted({channel for stream in streams for channel in stream if not 0 <= channel < n_modalities})
    if wrong:
        raise ValueError(f"Streams name the channels {wrong}; the modalities are the channels 0 to {n_modalities - 1}.")


def _check_attention(fusion: str, attention: str, n_streams: int, heat_map_order: Sequence[int] | None) -> None:
    if n_streams == 1 and (fusion != "separate" or attention == "master"):
        raise ValueError(f"Fusion '{fusion}' with attention '{attention}' needs at least two streams, got one.")
    if heat_map_order is not None and (attention != "master" or sorted(heat_map_order) != [*range(n_streams)]):
        raise ValueError(
            f"heat_map_order = {heat_map_order} must name each of the {n_streams} streams once, for attention "
            f"'master', not '{attention}'."
        )
