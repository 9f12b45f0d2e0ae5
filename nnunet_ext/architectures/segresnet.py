"""Encoder and segmentation decoder of Myronenko's network (Sec. 3.1 and 3.2 of the paper)."""

from collections.abc import Sequence

from torch import Tensor, nn

from nnunet_ext.architectures.pre_activation_block import LinearUpsizing, PreActivationBlock, same_conv


class Encoder(nn.Module):
    """Input convolution and dropout, then residual blocks at each level, downsized by strided convolutions."""

    def __init__(
        self,
        conv_op: type[nn.Module],
        input_channels: int,
        features: Sequence[int],
        kernels: Sequence[Sequence[int]],
        strides: Sequence[Sequence[int]],
        n_blocks: Sequence[int],
        conv_bias: bool,
        num_groups: int,
        dropout: nn.Module | None,
    ):
        super().__init__()
        stages = []
        for level, (width, kernel, stride) in enumerate(zip(features, kernels, strides, strict=True)):
            before = features[level - 1] if level else input_channels
            layers: list[nn.Module] = [
                same_conv(conv_op, before, output_channels=width, kernel_size=kernel, stride=stride, bias=conv_bias)
            ]
            if level == 0 and dropout is not None:
                layers.append(dropout)
            layers += [
                PreActivationBlock(conv_op, width, kernel_size=kernel, conv_bias=conv_bias, num_groups=num_groups)
                for _ in range(n_blocks[level])
            ]
            stages.append(nn.Sequential(*layers))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Output of each level, the full size first."""
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return levels


class Decoder(nn.Module):
    """At each level: halve the features, upsample, add the encoder's output, one residual block; then the logits."""

    def __init__(
        self,
        conv_op: type[nn.Module],
        features: Sequence[int],
        kernels: Sequence[Sequence[int]],
        num_classes: int,
        conv_bias: bool,
        num_groups: int,
    ):
        super().__init__()
        levels = range(len(features) - 2, -1, -1)
        self.upsizings = nn.ModuleList(
            LinearUpsizing(conv_op, features[level + 1], features[level], conv_bias) for level in levels
        )
        self.blocks = nn.ModuleList(
            PreActivationBlock(
                conv_op, features[level], kernel_size=kernels[level], conv_bias=conv_bias, num_groups=num_groups
            )
            for level in levels
        )
        self.to_logits = conv_op(features[0], num_classes, 1, bias=True)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Logits from the encoder's outputs."""
        x = levels[-1]
        for upsizing, block, skip in zip(self.upsizings, self.blocks, levels[-2::-1], strict=True):
            x = block(upsizing(x, skip.shape[2:]) + skip)
        return self.to_logits(x)
