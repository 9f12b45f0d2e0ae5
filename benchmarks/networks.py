"""Networks to compare, a method a group: what a row is, against what, and how its training loss is computed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from monai.networks import nets as monai
from torch import Tensor, nn
from torch.nn import functional as F

from nnunet_ext.architectures import (
    AttentionFusionUNet,
    BiFPNet,
    GroupNorm,
    HostUNet,
    ModalityPairingUNet,
    NestedUNet,
    NetworkOutput,
    SegResNetVAE,
    SliceOutput,
    fusion_system,
)
from nnunet_ext.architectures.host_unet import HostOutput
from nnunet_ext.losses import ModalityPairingLoss, SliceCrossEntropyLoss, SliceFocalLoss
from nnunet_ext.losses.autoencoder import kl_to_standard_normal, reconstruction_error

CHANNELS, CLASSES = 4, 4


@dataclass(frozen=True)
class Size:
    """What all networks of a run share.

    Attributes:
        patch: Patch size, in voxels; its length is the dimension.
        batch: Batch size.
        base: Features of the first stage; 32 at published widths.
    """

    patch: tuple[int, ...]
    batch: int
    base: int

    @property
    def stages(self) -> int:
        """As many stages as halve the patch to 4 or more voxels, 6 at the most, as nnU-Net plans."""
        stages = 1
        while stages < 6 and all(side % 2**stages == 0 and side // 2**stages >= 4 for side in self.patch):
            stages += 1
        return stages


@dataclass(frozen=True)
class Row:
    """A network in the table.

    Attributes:
        name: Name in the table.
        build: Makes the network.
        auxiliary_loss: Loss of the auxiliary output in training, weight included; None for networks without.
    """

    name: str
    build: Callable[[Size], nn.Module]
    auxiliary_loss: Callable[[Any, Tensor], Tensor] | None = None

    def loss(self, output: Any, target: Tensor) -> Tensor:
        """Cross entropy of every resolution's logits, plus the auxiliary loss; the same for all networks."""
        auxiliary = 0
        if isinstance(output, NetworkOutput):
            auxiliary = self.auxiliary_loss(output.auxiliary, target) if self.auxiliary_loss else 0
            output = output.logits
        logits = output if isinstance(output, list) else [output]
        return sum(F.cross_entropy(x.float(), _resized(target, x.shape[2:])) for x in logits) + auxiliary


def _resized(target: Tensor, shape: torch.Size) -> Tensor:
    return target if target.shape[1:] == shape else F.interpolate(target[:, None].float(), shape)[:, 0].long()


def unet_kwargs(size: Size, factor: int = 1) -> dict[str, Any]:
    """Constructor arguments of nnU-Net's U-Net at its default widths, times ``factor``."""
    dimension = len(size.patch)
    widths = [factor * min(size.base * 2**i, 10 * size.base) for i in range(size.stages)]
    return {
        "input_channels": CHANNELS,
        "n_stages": size.stages,
        "features_per_stage": widths,
        "conv_op": nn.Conv3d if dimension == 3 else nn.Conv2d,
        "kernel_sizes": [[3] * dimension] * size.stages,
        "strides": [[1] * dimension, *[[2] * dimension] * (size.stages - 1)],
        "n_conv_per_stage": [2] * size.stages,
        "num_classes": CLASSES,
        "n_conv_per_stage_decoder": [2] * (size.stages - 1),
        "conv_bias": True,
        "norm_op": nn.InstanceNorm3d if dimension == 3 else nn.InstanceNorm2d,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
        "deep_supervision": True,
    }


class _MonaiVAE(monai.SegResNetVAE):
    """MONAI's network with the interface of this package's; it computes the autoencoder's losses by itself."""

    def forward(self, x: Tensor) -> Any:
        logits, loss = super().forward(x)
        return NetworkOutput(logits, loss) if self.training else logits


def monai_kwargs(size: Size) -> dict[str, Any]:
    """Constructor arguments of MONAI's networks, as in Myronenko's paper."""
    return {
        "spatial_dims": len(size.patch),
        "init_filters": size.base,
        "in_channels": CHANNELS,
        "out_channels": CLASSES,
        "dropout_prob": 0.2,
    }


def segresnet_vae(size: Size) -> SegResNetVAE:
    """This package's network, as in Myronenko's paper."""
    dimension = len(size.patch)
    return SegResNetVAE(
        input_channels=CHANNELS,
        n_stages=4,
        features_per_stage=size.base,
        conv_op=nn.Conv3d if dimension == 3 else nn.Conv2d,
        kernel_sizes=3,
        strides=[1, 2, 2, 2],
        num_classes=CLASSES,
        patch_size=size.patch,
        dropout_op=nn.Dropout3d if dimension == 3 else nn.Dropout2d,
        dropout_op_kwargs={"p": 0.2},
    )


def autoencoder_loss(output: Any, _: Tensor) -> Tensor:
    """``0.1 L_L2 + 0.1 L_KL``."""
    error = reconstruction_error(output.reconstruction, output.image)
    return 0.1 * error + 0.1 * kl_to_standard_normal(output.mean, output.log_variance, output.image[0, 0].numel())


def fusion_unet(system: fusion_system.FusionSystem) -> Callable[[Size], nn.Module]:
    """A row of attention fusion's Table 1 with the second channel as master."""

    def build(size: Size) -> nn.Module:
        n_stages = min(size.stages, system.max_stages)
        kwargs = unet_kwargs(size) | {"deep_supervision": False} | system.topology(size.base, n_stages)
        for name in ("kernel_sizes", "strides"):
            kwargs[name] = kwargs[name][:n_stages]
        return AttentionFusionUNet(**kwargs, streams=system.streams(CHANNELS, 1), n_modalities=CHANNELS)

    return build


def plain_unet_of_fusion_width(size: Size) -> nn.Module:
    """nnU-Net's U-Net with the levels and widths of attention fusion's decoder, without deep supervision."""
    n_stages = min(size.stages, fusion_system.PROPOSED.max_stages)
    topology = fusion_system.PROPOSED.topology(size.base, n_stages)
    names = ("n_stages", "features_per_stage", "n_conv_per_stage", "n_conv_per_stage_decoder")
    kwargs = unet_kwargs(size) | {"deep_supervision": False} | {name: topology[name] for name in names}
    for name in ("kernel_sizes", "strides"):
        kwargs[name] = kwargs[name][:n_stages]
    return PlainConvUNet(**kwargs)


def nested_unet(size: Size, slice_classifier: bool) -> NestedUNet:
    """Nested U-Net of up to five levels, slices along the last axis."""
    return NestedUNet(**_first_stages(size, 0, min(size.stages, 5), size.base), slice_classifier=slice_classifier)


def bifpn(size: Size, slice_classifier: bool) -> BiFPNet:
    """BiFPN network of up to four scales below full resolution, slices along the last axis."""
    kwargs = _first_stages(size, 1, min(size.stages, 5), size.base // 2)
    return BiFPNet(**kwargs, slice_classifier=slice_classifier, dropout_op=nn.Dropout, dropout_op_kwargs={"p": 0.2})


def _first_stages(size: Size, first: int, end: int, features: int) -> dict[str, Any]:
    kwargs = unet_kwargs(size)
    return {
        "input_channels": CHANNELS,
        "n_stages": end - first,
        "features_per_stage": [features * 2**i for i in range(end - first)],
        "conv_op": kwargs["conv_op"],
        "kernel_sizes": kwargs["kernel_sizes"][first:end],
        "strides": kwargs["strides"][first:end],
        "num_classes": CLASSES,
        "regions": False,
        "slice_axis": len(size.patch) - 1 if len(size.patch) == 3 else None,
        "norm_op": GroupNorm,
        "nonlin_kwargs": {"inplace": True},
    }


def slice_loss(output: SliceOutput, target: Tensor) -> Tensor:
    """Focal loss and cross entropy of slice logits."""
    axis = target.ndim - 2 if target.ndim == 4 else None
    target = target[:, None]
    losses = SliceFocalLoss(axis, regions=False), SliceCrossEntropyLoss(axis, regions=False)
    return losses[0](output, target) + losses[1](output, target)


def host_kwargs(size: Size, residual: bool) -> dict[str, Any]:
    """Constructor arguments of nnU-Net's U-Net, plain or with the residual blocks of its presets."""
    kwargs = unet_kwargs(size)
    if residual:
        del kwargs["n_conv_per_stage"]
        kwargs["n_blocks_per_stage"] = RESIDUAL_BLOCKS[: size.stages]
        kwargs["n_conv_per_stage_decoder"] = [1] * (size.stages - 1)
    return kwargs


def host_rows(residual: bool) -> list[Row]:
    """nnU-Net's U-Net, then with an autoencoder branch, a slice classifier and both beside it."""
    host: Any = ResidualEncoderUNet if residual else PlainConvUNet

    def beside(size: Size, autoencoder: bool, slice_classifier: bool) -> HostUNet:
        return HostUNet(
            **host_kwargs(size, residual),
            host_network=f"{host.__module__}.{host.__name__}",
            autoencoder=autoencoder,
            slice_classifier=slice_classifier,
            patch_size=size.patch,
            image_channels=CHANNELS,
            regions=False,
            slice_axis=len(size.patch) - 1 if len(size.patch) == 3 else None,
        )

    def loss(output: HostOutput, target: Tensor) -> Any:
        branch = 0 if output.autoencoder is None else autoencoder_loss(output.autoencoder, target)
        return branch + (0 if output.slices is None else slice_loss(output.slices, target))

    return [
        Row(host.__name__, lambda size: host(**host_kwargs(size, residual))),
        Row("with autoencoder branch", lambda size: beside(size, True, False), loss),
        Row("with slice classifier", lambda size: beside(size, False, True), loss),
        Row("with both", lambda size: beside(size, True, True), loss),
    ]


RESIDUAL_BLOCKS = [1, 3, 4, 6, 6, 6]  # of nnU-Net's presets
PLAIN = Row("PlainConvUNet", lambda size: PlainConvUNet(**unet_kwargs(size)))

# method -> rows; ratios are against the first row
METHODS: dict[str, list[Row]] = {
    "modality_pairing": [
        Row("PlainConvUNet, doubled widths", lambda size: PlainConvUNet(**unet_kwargs(size, factor=2))),
        PLAIN,
        Row(
            "ModalityPairingUNet",
            lambda size: ModalityPairingUNet(**unet_kwargs(size), modality_groups=[[3, 2], [1, 0]]),
            lambda output, _: 0.5 * ModalityPairingLoss()(*output.features),
        ),
    ],
    "autoencoder": [
        Row(
            "MONAI SegResNetVAE",
            lambda size: _MonaiVAE(size.patch, vae_estimate_std=True, **monai_kwargs(size)),
            lambda loss, _: 0.1 * loss,
        ),
        Row("MONAI SegResNet", lambda size: monai.SegResNet(**monai_kwargs(size))),
        Row("SegResNetVAE", segresnet_vae, autoencoder_loss),
    ],
    "attention_fusion": [
        Row("FuseUNet", fusion_unet(fusion_system.FUSE_UNET)),
        Row("AttentionFusionUNet", fusion_unet(fusion_system.PROPOSED)),
        Row("PlainConvUNet of the decoder's widths", plain_unet_of_fusion_width),
    ],
    "slice_classification_bifpn": [
        Row("BiFPNet without classifier", lambda size: bifpn(size, slice_classifier=False)),
        Row("BiFPNet", lambda size: bifpn(size, slice_classifier=True), slice_loss),
    ],
    "host_plain": host_rows(residual=False),
    "host_residual": host_rows(residual=True),
    "slice_classification_nested_unet": [
        Row("NestedUNet without classifier", lambda size: nested_unet(size, slice_classifier=False)),
        Row("NestedUNet", lambda size: nested_unet(size, slice_classifier=True), slice_loss),
    ],
}
