"""Encoder and segmentation decoder of Myronenko's network."""

import torch
from torch import nn

from nnunet_ext.architectures.segresnet import Decoder, Encoder

FEATURES, KERNELS = [8, 16, 32], [[3, 3, 3]] * 3
STRIDES = [[1, 1, 1], [1, 2, 2], [2, 2, 2]]


def test_decoder_adds_the_encoder_output_of_each_level():
    decoder = Decoder(nn.Conv3d, FEATURES, KERNELS, num_classes=2, conv_bias=False, num_groups=8)
    upsized, entering = [], []
    for upsizing, block in zip(decoder.upsizings, decoder.blocks, strict=True):
        upsizing.register_forward_hook(lambda module, inputs, output: upsized.append(output.clone()))
        block.register_forward_pre_hook(lambda module, inputs: entering.append(inputs[0].clone()))
    levels = [torch.randn(1, 8, 6, 12, 12), torch.randn(1, 16, 6, 6, 6), torch.randn(1, 32, 3, 3, 3)]
    logits = decoder(levels)
    assert logits.shape == (1, 2, 6, 12, 12)
    torch.testing.assert_close(entering[0], upsized[0] + levels[1])
    torch.testing.assert_close(entering[1], upsized[1] + levels[0])


def test_encoder_downsizes_by_strided_convolution_and_returns_each_level():
    encoder = Encoder(nn.Conv3d, 3, FEATURES, KERNELS, STRIDES, [1, 2, 2], False, 8, None)
    levels = encoder(torch.randn(2, 3, 6, 12, 13))
    assert [tuple(level.shape[1:]) for level in levels] == [(8, 6, 12, 13), (16, 6, 6, 7), (32, 3, 3, 4)]
    assert [stage[0].stride for stage in encoder.stages] == [(1, 1, 1), (1, 2, 2), (2, 2, 2)]
    assert [len(stage) for stage in encoder.stages] == [2, 3, 3]  # the convolution, then the blocks


def test_dropout_drops_whole_channels_of_the_first_convolution_in_training_only():
    encoder = Encoder(nn.Conv3d, 1, FEATURES, KERNELS, STRIDES, [0, 0, 0], False, 8, nn.Dropout3d(0.5))
    torch.manual_seed(0)
    zero = (encoder.train()(torch.randn(4, 1, 4, 4, 4))[0] == 0).flatten(2)
    assert torch.equal(zero.any(2), zero.all(2))
    assert 0 < zero.all(2).float().mean() < 1
    assert not (encoder.eval()(torch.randn(4, 1, 4, 4, 4))[0] == 0).flatten(2).all(2).any()
