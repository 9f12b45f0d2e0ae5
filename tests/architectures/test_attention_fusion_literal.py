"""The ten networks of attention fusion's Table 1, each against a literal reading of its row."""

import pytest
import torch
import torch.nn.functional as F
from literal import State, conv1, conv3, image, with_random_weights
from torch import Tensor, nn

from nnunet_ext.architectures import AttentionFusionUNet, fusion_system

LEVELS, REDUCTION, DILATION = 3, 2, 2
MASTER, ASSISTANT = 1, 0  # channels of the image; streams 0 and 1


def network(name: str) -> AttentionFusionUNet:
    system = getattr(fusion_system, name)
    return with_random_weights(
        AttentionFusionUNet(
            input_channels=2,
            conv_op=nn.Conv2d,
            kernel_sizes=[[3, 3]] * LEVELS,
            strides=[[1, 1]] + [[2, 2]] * (LEVELS - 1),
            norm_op=nn.InstanceNorm2d,
            norm_op_kwargs={"affine": True},
            nonlin=nn.ReLU,
            num_classes=3,
            streams=system.streams(2, MASTER),
            n_modalities=2,
            attention_reduction=REDUCTION,
            attention_dilation=DILATION,
            **system.topology(2, LEVELS),
        )
    )


def residual_network(name: str, blocks: list[int]) -> AttentionFusionUNet:
    """The row on a residual encoder, whose decoder has one convolution a level."""
    system = getattr(fusion_system, name)
    planned = {
        "n_stages": LEVELS,
        "features_per_stage": [8, 16, 24],
        "n_blocks_per_stage": blocks,
        "n_conv_per_stage_decoder": [1, 2],  # from the lowest resolution up
    }
    return with_random_weights(
        AttentionFusionUNet(
            input_channels=2,
            conv_op=nn.Conv2d,
            kernel_sizes=[[3, 3]] * LEVELS,
            strides=[[1, 1]] + [[2, 2]] * (LEVELS - 1),
            norm_op=nn.InstanceNorm2d,
            norm_op_kwargs={"affine": True},
            nonlin=nn.ReLU,
            num_classes=3,
            streams=system.streams(2, MASTER),
            n_modalities=2,
            attention_reduction=REDUCTION,
            attention_dilation=DILATION,
            **planned | system.residual_topology(planned),
        )
    )


class Row:
    """The blocks of one row, by the names of its weights."""

    decoder_convolutions = (2, 2)

    def __init__(self, state: State):
        self.state = state

    def conv_norm_relu(self, name: str, x: Tensor) -> Tensor:
        """3x3 convolution, instance norm, ReLU."""
        x = conv3(self.state, f"{name}.conv", x)
        weight, bias = self.state[f"{name}.norm.weight"], self.state[f"{name}.norm.bias"]
        return F.relu(F.instance_norm(x, weight=weight, bias=bias))

    def block(self, level: int, stream: int, x: Tensor, convolutions: int = 2) -> Tensor:
        """The convolutions of a stream at a level."""
        for index in range(convolutions):
            x = self.conv_norm_relu(f"encoder.levels.{level}.blocks.{stream}.convs.{index}", x)
        return x

    def heat(self, level: int, index: int, x: Tensor) -> Tensor:
        """Fig. 3b: n to n / r, two dilated convolutions, to one map, sigmoid."""
        name = f"encoder.levels.{level}.attentions.{index}.layers"

        def weights(layer: int) -> tuple[Tensor, Tensor]:
            return self.state[f"{name}.{layer}.weight"], self.state[f"{name}.{layer}.bias"]

        def norm_relu(layer: int, y: Tensor) -> Tensor:
            weight, bias = weights(layer)
            return F.relu(F.instance_norm(y, weight=weight, bias=bias))

        x = norm_relu(1, F.conv2d(x, *weights(0)))
        x = norm_relu(4, F.conv2d(x, *weights(3), padding=DILATION, dilation=DILATION))
        x = norm_relu(7, F.conv2d(x, *weights(6), padding=DILATION, dilation=DILATION))
        return F.conv2d(x, *weights(9)).sigmoid()

    def u_net_decoder(self, levels: list[Tensor]) -> Tensor:
        """Upsample and convolve, concatenate the skip, two convolutions; 1x1 convolution."""
        x = levels[-1]
        for index, skip in enumerate(reversed(levels[:-1])):
            raised = self.conv_norm_relu(
                f"decoder.upsamplers.{index}.1", x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            )
            x = self._after_upsampling(index, skip, raised)
        return conv1(self.state, "decoder.head", x)

    def transposed_decoder(self, levels: list[Tensor]) -> Tensor:
        """2x2 transposed convolution, concatenate the skip, two convolutions; 1x1 convolution."""
        x = levels[-1]
        for index, skip in enumerate(reversed(levels[:-1])):
            name = f"decoder.upsamplers.{index}"
            raised = F.conv_transpose2d(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"], stride=2)
            x = self._after_upsampling(index, skip, raised)
        return conv1(self.state, "decoder.head", x)

    def _after_upsampling(self, index: int, skip: Tensor, raised: Tensor) -> Tensor:
        x = torch.cat([skip, raised], 1)
        for repeat in range(self.decoder_convolutions[index]):
            x = self.conv_norm_relu(f"decoder.blocks.{index}.convs.{repeat}", x)
        return x

    def one_stream(self, x: Tensor, attention: bool = False) -> Tensor:
        """A U-Net; with attention, each level's features times their heat map before pooling and skip."""
        levels = []
        for level in range(LEVELS):
            x = self.block(level, 0, F.max_pool2d(x, 2) if level else x)
            if attention:
                x = x * self.heat(level, 0, x)
            levels.append(x)
        return self.u_net_decoder(levels)

    def unet(self, master: Tensor, assistant: Tensor) -> Tensor:
        """U-Net (T1C)."""
        return self.one_stream(master)

    def unet_attention(self, master: Tensor, assistant: Tensor) -> Tensor:
        """U-Net + SA (T1C)."""
        return self.one_stream(master, attention=True)

    def early_fuse_unet(self, master: Tensor, assistant: Tensor) -> Tensor:
        """EarlyFuseUNet: both modalities are channels of the input."""
        return self.one_stream(torch.cat([master, assistant], 1))

    def fuse_net(self, master: Tensor, assistant: Tensor) -> Tensor:
        """FuseNet: VGG16 encoders; the assistant's features are added to the master's before each pooling."""
        size = master.shape[2:]
        for level, convolutions in enumerate((2, 2, 3)):
            if level:
                master, assistant = F.max_pool2d(master, 2), F.max_pool2d(assistant, 2)
            master = self.block(level, 0, master, convolutions)
            assistant = self.block(level, 1, assistant, convolutions)
            master = master + assistant
        coarse = conv1(self.state, "decoder.head", master)
        return F.interpolate(coarse, size, mode="bilinear", align_corners=False)

    def separate_encoders(self, master: Tensor, assistant: Tensor, convolutions: tuple[int, ...]) -> list[Tensor]:
        """Two encoders, each on its own, whose features are concatenated at each level."""
        levels = []
        for level, number in enumerate(convolutions):
            if level:
                master, assistant = F.max_pool2d(master, 2), F.max_pool2d(assistant, 2)
            master, assistant = self.block(level, 0, master, number), self.block(level, 1, assistant, number)
            levels.append(torch.cat([master, assistant], 1))
        return levels

    def fuse_net_concat(self, master: Tensor, assistant: Tensor) -> Tensor:
        """FuseNetConcate."""
        return self.transposed_decoder(self.separate_encoders(master, assistant, (2, 2, 3)))

    def late_fuse_unet(self, master: Tensor, assistant: Tensor) -> Tensor:
        """LateFuseUNet."""
        return self.u_net_decoder(self.separate_encoders(master, assistant, (2, 2, 2)))

    def fuse_origin_unet(self, master: Tensor, assistant: Tensor) -> Tensor:
        """FuseOriginUNet: the master reads the concatenation, the decoder the master; both are added at the bottom."""
        levels = []
        for level in range(LEVELS):
            if level:
                master, assistant = F.max_pool2d(torch.cat([master, assistant], 1), 2), F.max_pool2d(assistant, 2)
            master, assistant = self.block(level, 0, master), self.block(level, 1, assistant)
            levels.append(master)
        levels[-1] = master + assistant
        return self.transposed_decoder(levels)

    def concatenated_streams(self, master: Tensor, assistant: Tensor, attention: str) -> Tensor:
        """Master's next block and the decoder read [master, assistant], the assistant's next block its own."""
        levels = []
        for level in range(LEVELS):
            if level:
                master, assistant = F.max_pool2d(levels[-1], 2), F.max_pool2d(assistant, 2)
            master, assistant = self.block(level, 0, master), self.block(level, 1, assistant)
            if attention == "own":
                master, assistant = master * self.heat(level, 0, master), assistant * self.heat(level, 1, assistant)
            if attention == "master":
                heat = self.heat(level, 0, master)
                master, assistant = master * heat, assistant * heat
            levels.append(torch.cat([master, assistant], 1))
        return self.u_net_decoder(levels)

    def fuse_unet(self, master: Tensor, assistant: Tensor) -> Tensor:
        """FuseUNet."""
        return self.concatenated_streams(master, assistant, "none")

    def fuse_unet_attention(self, master: Tensor, assistant: Tensor) -> Tensor:
        """FuseUNet + SA."""
        return self.concatenated_streams(master, assistant, "own")

    def proposed(self, master: Tensor, assistant: Tensor) -> Tensor:
        """The proposed network: the master's heat map weights master and assistant (Fig. 3a)."""
        return self.concatenated_streams(master, assistant, "master")


@pytest.mark.parametrize(
    "name",
    [
        "UNET", "UNET_ATTENTION", "FUSE_NET", "FUSE_NET_CONCAT", "FUSE_ORIGIN_UNET", "EARLY_FUSE_UNET",
        "LATE_FUSE_UNET", "FUSE_UNET", "FUSE_UNET_ATTENTION", "PROPOSED",
    ],
)  # fmt: skip
def test_each_row_of_table_1_equals_its_literal_reading(name):
    fusion, x = network(name), image(2, 2, 16, 24)
    literal = getattr(Row(dict(fusion.state_dict())), name.lower())
    expected = literal(x[:, [MASTER]], x[:, [ASSISTANT]])
    torch.testing.assert_close(fusion.eval()(x), expected)
    torch.testing.assert_close(fusion.train()(x), expected)


class ResidualRow(Row):
    """The proposed row with residual blocks, which stride themselves."""

    decoder_convolutions = (1, 2)

    def norm(self, name: str, x: Tensor) -> Tensor:
        return F.instance_norm(x, weight=self.state[f"{name}.weight"], bias=self.state[f"{name}.bias"])

    def residual_block(self, name: str, x: Tensor, stride: int) -> Tensor:
        """Two convolutions beside a skip, which is averaged and projected where the sizes differ."""
        skip = F.avg_pool2d(x, 2) if stride == 2 else x
        projection = f"{name}.skip.{1 if stride == 2 else 0}"
        if f"{projection}.conv.weight" in self.state:
            skip = self.norm(f"{projection}.norm", conv1(self.state, f"{projection}.conv", skip))
        x = F.relu(self.norm(f"{name}.conv1.norm", conv3(self.state, f"{name}.conv1.conv", x, stride)))
        x = self.norm(f"{name}.conv2.norm", conv3(self.state, f"{name}.conv2.conv", x))
        return F.relu(x + skip)

    def residual_level(self, level: int, stream: int, x: Tensor, number: int) -> Tensor:
        name = f"encoder.levels.{level}.blocks.{stream}"
        if level == 0:
            x = self.conv_norm_relu(f"{name}.0.convs.0", x)
            name += ".1"
        for index in range(number):
            x = self.residual_block(f"{name}.blocks.{index}", x, stride=2 if level and index == 0 else 1)
        return x

    def proposed_on(self, blocks: list[int], master: Tensor, assistant: Tensor) -> Tensor:
        """The master's next blocks and the decoder read both streams, weighted by the master's heat map."""
        levels = []
        for level, number in enumerate(blocks):
            master = self.residual_level(level, 0, levels[-1] if level else master, number)
            assistant = self.residual_level(level, 1, assistant, number)
            heat = self.heat(level, 0, master)
            master, assistant = master * heat, assistant * heat
            levels.append(torch.cat([master, assistant], 1))
        return self.u_net_decoder(levels)


def test_proposed_row_on_a_residual_encoder_equals_its_literal_reading():
    blocks = [1, 2, 3]
    fusion, x = residual_network("PROPOSED", blocks), image(2, 2, 16, 24)
    expected = ResidualRow(dict(fusion.state_dict())).proposed_on(blocks, x[:, [MASTER]], x[:, [ASSISTANT]])
    torch.testing.assert_close(fusion.eval()(x), expected)
