"""SegResNetVAE against Sec. 3.1 to 3.3, Fig. 1 and Table 1 read literally."""

import torch
import torch.nn.functional as F
from literal import State, conv1, conv3, doubled, group_norm, image, with_random_weights
from torch import Tensor, nn

from nnunet_ext.architectures import SegResNetVAE

PATCH = (8, 16, 24)
LEVELS, BLOCKS = 3, (1, 2, 2)


def network() -> SegResNetVAE:
    return with_random_weights(
        SegResNetVAE(
            input_channels=3,
            n_stages=LEVELS,
            features_per_stage=8,
            conv_op=nn.Conv3d,
            kernel_sizes=3,
            strides=[1, 2, 2],
            num_classes=3,
            patch_size=PATCH,
            n_blocks_per_stage=BLOCKS,
            image_channels=2,
        )
    )


def block(state: State, name: str, x: Tensor) -> Tensor:
    """GN, ReLU, Conv, GN, ReLU, Conv, AddId."""
    y = conv3(state, f"{name}.conv1", F.relu(group_norm(state, f"{name}.norm1", x)))
    y = conv3(state, f"{name}.conv2", F.relu(group_norm(state, f"{name}.norm2", y)))
    return x + y


def encoder(state: State, x: Tensor) -> list[Tensor]:
    """Input convolution; blocks at each level; strided convolutions between them."""
    levels = []
    for level in range(LEVELS):
        x = conv3(state, f"encoder.stages.{level}.0", x, stride=2 if level else 1)
        for index in range(BLOCKS[level]):
            x = block(state, f"encoder.stages.{level}.{index + 1}", x)
        levels.append(x)
    return levels


def decoder(state: State, levels: list[Tensor]) -> Tensor:
    """Conv1 to half the features, x2 linear, plus the encoder's output of the level, one block; Conv1 at the end."""
    x = levels[-1]
    for index, skip in enumerate(reversed(levels[:-1])):
        x = doubled(conv1(state, f"decoder.upsizings.{index}.conv", x)) + skip
        x = block(state, f"decoder.blocks.{index}", x)
    return conv1(state, "decoder.to_logits", x)


def autoencoder(state: State, endpoint: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Reconstruction, mean and logarithm of the variance: the rows of Table 1 from top to bottom."""
    latent = noise.shape[1]
    # VD: GN, ReLU, Conv stride 2, Dense
    reduced = conv3(state, "autoencoder.reduce", F.relu(group_norm(state, "autoencoder.norm", endpoint)), stride=2)
    dense = F.linear(
        reduced.flatten(1), state["autoencoder.to_distribution.weight"], state["autoencoder.to_distribution.bias"]
    )
    mean, log_variance = dense[:, :latent], dense[:, latent:]
    # VDraw: a sample of N(mean, variance)
    sample = mean + log_variance.exp().sqrt() * noise
    # VU: Dense, ReLU, Conv1, UpLinear
    x = F.relu(F.linear(sample, state["autoencoder.from_sample.weight"], state["autoencoder.from_sample.bias"]))
    x = doubled(conv1(state, "autoencoder.expand.conv", x.reshape(reduced.shape)))
    # VUp, VBlock at each level, without skips
    for index in range(LEVELS - 1):
        x = doubled(conv1(state, f"autoencoder.upsizings.{index}.conv", x))
        x = block(state, f"autoencoder.blocks.{index}", x)
    # Vend: Conv1
    return conv1(state, "autoencoder.to_image", x), mean, log_variance


def test_segresnet_vae_equals_its_literal_reading():
    vae, x = network(), image(2, 3, *PATCH)
    noise = 2 * image(2, vae.autoencoder.latent)
    state = dict(vae.state_dict())
    # the scale of a variance that training would give, so that the sample shows mean, deviation and noise alike
    state["autoencoder.to_distribution.weight"].mul_(0.02)
    output = vae.train()(x, noise)
    levels = encoder(state, x)
    reconstruction, mean, log_variance = autoencoder(state, levels[-1], noise)
    torch.testing.assert_close(output.logits, decoder(state, levels))
    torch.testing.assert_close(output.auxiliary.reconstruction, reconstruction)
    torch.testing.assert_close(output.auxiliary.mean, mean)
    torch.testing.assert_close(output.auxiliary.log_variance, log_variance)
    assert torch.equal(output.auxiliary.image, x[:, :2])


def test_segresnet_vae_predicts_with_the_literal_decoder():
    vae, x = network(), image(1, 3, 4, 8, 12)
    state = dict(vae.state_dict())
    torch.testing.assert_close(vae.eval()(x), decoder(state, encoder(state, x)))
