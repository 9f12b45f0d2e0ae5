"""Classification branch of Nguyen et al.: does a slice hold a region? And the gate that empties negative slices.

Paper: Nguyen et al., "Enhancing MRI Brain Tumor Segmentation with an Additional Classification Network", BraTS 2020,
Sec. 2.3, Tables 2 and 3. Written from the paper; there is no public code.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from dynamic_network_architectures.building_blocks.helper import convert_conv_op_to_dim, get_matching_convtransp
from dynamic_network_architectures.building_blocks.simple_conv_blocks import ConvDropoutNormReLU
from torch import Tensor, nn

from nnunet_ext.architectures.precision import precise_type


class SliceOutput(NamedTuple):
    """What the losses of slices need.

    Attributes:
        logits: Slice logits, ``(B, R, slices)``, float32.
        content: Of :func:`slices_with_content`, ``(B, 1, slices)``.
    """

    logits: Tensor
    content: Tensor


def slices_with_content(images: Tensor, slice_axis: int | None) -> Tensor:
    """Which slices show anything: ``(B, 1, slices)``, False where every channel is constant over the slice.

    So are the slices with which nnU-Net pads a volume that is smaller than the patch: it fills them with 0 in the
    images, and what it marks as padding in the labels is background by the time a loss sees them. Scaling and shifting
    a channel keeps a constant constant. A slice of the patch outside the body is left out by the same rule.

    Args:
        images: The network's input, ``(B, channels, *spatial)``.
        slice_axis: Spatial axis of the slices; None: the image is one slice.
    """
    plane = [2 + axis for axis in range(images.ndim - 2) if axis != slice_axis]
    varies = (images.amax(plane) != images.amin(plane)).any(1, keepdim=True)
    return varies.unsqueeze(-1) if slice_axis is None else varies


class SliceClassifier(nn.Module):
    """One logit for each slice and class, from a feature volume.

    Convolution block, mean over the plane, transposed convolution block along the slice axis where the features have
    lower resolution there, bidirectional LSTM over the slices, linear layer.

    Args:
        input_channels: Channels of the features: 1024 (Table 2) or 128 (Table 3) for a base of 32.
        features: Channels after the convolution block and of each direction of the LSTM: 512 (Table 2), 256 (Table 3).
        num_classes: Logits a slice: the regions, or the foreground classes.
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``.
        kernel_size: Kernel of the convolution block, one number an axis; 3 in both tables.
        slice_axis: Spatial axis (0, 1 or 2) along which slices lie, or None: the whole input is one slice, as in 2d.
        slice_stride: Resolution of the input image over that of the features along the slice axis: 2 (Table 2) or 1.
            With 1 there is no transposed convolution.
        lstm_layers: 2 (Table 2) or 3 (Table 3).
        lstm_dropout: Probability of dropout between LSTM layers. Rate not stated: 0.2 is our choice.
        conv_bias: Whether the convolution block has biases.
        norm_op: Norm, called with the number of channels and ``norm_op_kwargs``.
        norm_op_kwargs: See ``norm_op``.
        nonlin: Non-linearity, called with ``nonlin_kwargs``.
        nonlin_kwargs: See ``nonlin``.

    Raises:
        ValueError: The slice axis does not exist in this dimension.
    """

    def __init__(
        self,
        input_channels: int,
        features: int,
        num_classes: int,
        conv_op: type[nn.Module],
        kernel_size: int | Sequence[int],
        slice_axis: int | None,
        slice_stride: int = 1,
        lstm_layers: int = 2,
        lstm_dropout: float = 0.2,
        conv_bias: bool = False,
        norm_op: type[nn.Module] | None = None,
        norm_op_kwargs: dict[str, Any] | None = None,
        nonlin: type[nn.Module] = nn.ReLU,
        nonlin_kwargs: dict[str, Any] | None = None,
    ):
        super().__init__()
        dimension = convert_conv_op_to_dim(conv_op)
        if slice_axis is not None and slice_axis not in range(dimension):
            raise ValueError(f"slice_axis is 0 to {dimension - 1}, or None for one slice; got {slice_axis}.")
        norm_op_kwargs, nonlin_kwargs = norm_op_kwargs or {}, nonlin_kwargs or {}
        self.slice_axis = slice_axis
        self.plane_axes = tuple(2 + axis for axis in range(dimension) if axis != slice_axis)
        self.conv = ConvDropoutNormReLU(
            conv_op,
            input_channels,
            output_channels=features,
            kernel_size=kernel_size,
            stride=1,
            conv_bias=conv_bias,
            norm_op=norm_op,
            norm_op_kwargs=norm_op_kwargs,
            nonlin=nonlin,
            nonlin_kwargs=nonlin_kwargs,
        )
        self.upsample = nn.Sequential()
        if slice_axis is not None and slice_stride > 1:
            # Table 2 has a 3x3x3 kernel. On a plane of one voxel its other taps would only meet padding.
            along = [axis == slice_axis for axis in range(dimension)]
            self.upsample.append(
                get_matching_convtransp(conv_op)(
                    features,
                    features,
                    [3 if here else 1 for here in along],
                    [slice_stride if here else 1 for here in along],
                    padding=[1 if here else 0 for here in along],
                    output_padding=[slice_stride - 1 if here else 0 for here in along],
                    bias=conv_bias,
                )
            )
            if norm_op is not None:
                self.upsample.append(norm_op(features, **norm_op_kwargs))
            self.upsample.append(nonlin(**nonlin_kwargs))
        self.lstm = nn.LSTM(
            features,
            features,
            lstm_layers,
            batch_first=True,
            dropout=lstm_dropout if lstm_layers > 1 else 0.0,
            bidirectional=True,
        )
        self.fc = nn.Conv1d(2 * features, num_classes, 1)

    def forward(self, features: Tensor, slices: int | None = None) -> Tensor:
        """Slice logits ``(B, num_classes, slices)`` in float32 of features ``(B, C, *spatial)``.

        Args:
            features: The maps before the segmentation heads.
            slices: Slices of the input image, which may end within the last stride of the features; None: it does not.
        """
        x = self.conv(features)
        # Linear operations commute with the mean over the plane (the convolution, up to its padding), a ReLU and a norm
        # of the whole volume do not. So the block above needs every voxel, and the mean stands at the first place that
        # changes nothing: directly behind its ReLU. Everything below works on vectors of one value a slice.
        x = x.mean(self.plane_axes, keepdim=True, dtype=precise_type(x))
        # Half precision would save nothing on so few values.
        with torch.autocast(x.device.type, enabled=False):
            x, _ = self.lstm(self.upsample(x).flatten(2)[:, :, :slices].transpose(1, 2))
            return self.fc(x.transpose(1, 2))


class GateRule(NamedTuple):
    """How the gate treats the numbers that nnU-Net averages behind it, over tiles and folds.

    Attributes:
        lowest: Bound of the slice logits from below, a negative number: how firmly one fold can outvote the others.
        limits_accepted: Whether a region's logit is at most its slice's in accepted slices too, so that a fold that
            hardly accepts a slice does not outvote others that hardly reject it.
    """

    lowest: float
    limits_accepted: bool


# Not stated: our choice, because of the rules tried it agrees best with the paper's order (benchmarks/gate_order.py).
TODAYS_RULE = GateRule(lowest=-10.0, limits_accepted=True)
# Of models whose plans do not name the axes of mirroring. The bound keeps nnU-Net's sums of float16 finite.
FIRST_RULE = GateRule(lowest=-100.0, limits_accepted=False)


def gate_logits(
    logits: Tensor, slice_logits: Tensor, slice_axis: int | None, regions: bool, rule: GateRule = TODAYS_RULE
) -> Tensor:
    """Logits whose voxels are predicted only where their slice is: both above 0.5 after the sigmoid (Sec. 3.3).

    Regions: ``min(z, s)``, or by the first rule ``z where s > 0 else min(z, s)``. Plain labels, with background logit
    b: ``z where s > 0 else min(z, b + s)``, which never beats the background; in accepted slices the surest class has
    to win still, so that they keep their logits by either rule.

    Args:
        logits: z, ``(B, C, *spatial)``. With plain labels channel 0 is the background.
        slice_logits: s, ``(B, R, slices)``, with ``R = C`` for regions and ``R = C - 1`` for plain labels.
        slice_axis: Spatial axis of the slices; None where the input is one slice.
        regions: Whether the channels are regions (sigmoid) or classes (softmax).
        rule: See :class:`GateRule`.

    Returns:
        Of the shape and dtype of ``logits``; finite where they are.

    Raises:
        FloatingPointError: A slice logit is nan: it is neither above nor below 0, and the slice would be emptied or
            kept by accident.
    """
    if slice_logits.isnan().any():
        raise FloatingPointError("The slice classifier gave nan: its weights or this image's values are not finite.")
    spatial = [1] * (logits.ndim - 2)
    if slice_axis is not None:
        spatial[slice_axis] = slice_logits.shape[-1]
    s = slice_logits.float().clamp(min=rule.lowest).reshape(*slice_logits.shape[:2], *spatial)
    if regions:
        limited = torch.minimum(logits, s.to(logits.dtype))
        return limited if rule.limits_accepted else torch.where(s > 0, logits, limited)
    background, classes = logits[:, :1], logits[:, 1:]
    limit = (background + s).clamp(min=torch.finfo(logits.dtype).min).to(logits.dtype)
    return torch.cat([background, torch.where(s > 0, classes, torch.minimum(classes, limit))], dim=1)
