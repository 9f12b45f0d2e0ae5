"""Myronenko's network against Table 1 of the paper, and the faults of earlier implementations.

The faults were read from MONAI 1.6 (``monai.networks.nets.SegResNetVAE``) and from NvNet, the PyTorch port that most
others copy.
"""

import pytest
import torch
from torch import nn

from nnunet_ext.architectures import NetworkOutput, SegResNetVAE
from nnunet_ext.architectures.autoencoder_branch import draw_sample
from nnunet_ext.losses.autoencoder import AutoencoderRegularizedLoss, reconstruction_error

PATCH = (16, 24, 16)


def published(**changes) -> SegResNetVAE:
    """The paper's network for BraTS, without memory behind it."""
    arguments = {
        "input_channels": 4,
        "n_stages": 4,
        "features_per_stage": 32,
        "conv_op": nn.Conv3d,
        "kernel_sizes": 3,
        "strides": [1, 2, 2, 2],
        "num_classes": 3,
        "patch_size": (160, 192, 128),
        "dropout_op": nn.Dropout3d,
        "dropout_op_kwargs": {"p": 0.2},
    }
    with torch.device("meta"):
        return SegResNetVAE(**(arguments | changes))


def small(**changes) -> SegResNetVAE:
    """A network of base 4 without dropout, so that only the autoencoder's noise is random."""
    arguments = {
        "input_channels": 2,
        "n_stages": 4,
        "features_per_stage": 4,
        "conv_op": nn.Conv3d,
        "kernel_sizes": 3,
        "strides": [1, 2, 2, 2],
        "num_classes": 3,
        "patch_size": PATCH,
    }
    torch.manual_seed(0)
    network = SegResNetVAE(**(arguments | changes))
    network.apply(network.initialize)
    return network


def record_sizes(network: nn.Module, names: list[str]) -> dict[str, tuple[int, ...]]:
    sizes: dict[str, tuple[int, ...]] = {}
    modules = dict(network.named_modules())
    for name in names:
        modules[name].register_forward_hook(
            lambda module, inputs, output, name=name: sizes.__setitem__(name, tuple(output.shape[1:]))
        )
    return sizes


def test_every_size_is_that_of_table_1_and_figure_1():
    network = published()
    expected = {
        "encoder.stages.0": (32, 160, 192, 128),
        "encoder.stages.1": (64, 80, 96, 64),
        "encoder.stages.2": (128, 40, 48, 32),
        "encoder.stages.3": (256, 20, 24, 16),
        "decoder.blocks.0": (128, 40, 48, 32),
        "decoder.blocks.1": (64, 80, 96, 64),
        "decoder.blocks.2": (32, 160, 192, 128),
        "decoder.to_logits": (3, 160, 192, 128),
        "autoencoder.reduce": (16, 10, 12, 8),  # within VD
        "autoencoder.to_distribution": (256,),  # VD
        "autoencoder.expand": (256, 20, 24, 16),  # VU
        "autoencoder.upsizings.0": (128, 40, 48, 32),  # VUp2
        "autoencoder.blocks.0": (128, 40, 48, 32),  # VBlock2
        "autoencoder.upsizings.1": (64, 80, 96, 64),  # VUp1
        "autoencoder.blocks.1": (64, 80, 96, 64),  # VBlock1
        "autoencoder.upsizings.2": (32, 160, 192, 128),  # VUp0
        "autoencoder.blocks.2": (32, 160, 192, 128),  # VBlock0
        "autoencoder.to_image": (4, 160, 192, 128),  # Vend
    }
    sizes = record_sizes(network, list(expected))
    drawn = []
    network.autoencoder.from_sample.register_forward_pre_hook(lambda module, inputs: drawn.append(inputs[0].shape))
    output = network.train()(torch.empty(1, 4, 160, 192, 128, device="meta"))
    assert sizes == expected
    assert drawn == [(1, 128)]  # VDraw
    assert output.auxiliary.mean.shape == output.auxiliary.log_variance.shape == (1, 128)


def test_parameter_count_is_the_one_derived_from_the_paper():
    # GN(c) has 2c parameters, a 3x3x3 convolution 27ab without bias, a block 2 * 27c² + 4c:
    #   block(32) = 55,424   block(64) = 221,440   block(128) = 885,248   block(256) = 3,539,968
    # Encoder: input 27*4*32 = 3,456; blocks 1, 2, 2, 4 = 55,424 + 442,880 + 1,770,496 + 14,159,872;
    #   strided 27*32*64 + 27*64*128 + 27*128*256 = 55,296 + 221,184 + 884,736.                            17,593,344
    # Each decoder without its last convolution: 256*128 + 128*64 + 64*32 = 43,008; blocks 885,248 + 221,440 + 55,424.
    #                                                                                                   1,205,120 each
    # Segmentation: 32*3 + 3 = 99. Vend: 32*4 + 4 = 132.
    # VD: GN(256) 512; 27*256*16 = 110,592; dense 16*10*12*8 = 15,360 to 256: 15,360*256 + 256 = 3,932,416.
    # VU: dense 128*15,360 + 15,360 = 1,981,440; 1x1x1 16*256 = 4,096.
    encoder, decoder = 17_593_344, 1_205_120
    branch = 512 + 110_592 + 3_932_416 + 1_981_440 + 4_096 + decoder + 132
    network = published()
    assert sum(p.numel() for p in network.encoder.parameters()) == encoder
    assert sum(p.numel() for p in network.decoder.parameters()) == decoder + 99
    assert sum(p.numel() for p in network.autoencoder.parameters()) == branch
    assert sum(p.numel() for p in network.parameters()) == 26_032_871


def test_dropout_follows_the_first_convolution_and_nothing_else():
    network = published()
    assert [name for name, module in network.named_modules() if isinstance(module, nn.Dropout3d)] == [
        "encoder.stages.0.1"
    ]
    assert network.encoder.stages[0][1].p == 0.2


def test_normalizations_have_eight_groups_and_narrow_networks_fewer():
    groups = {module.num_groups for module in published().modules() if isinstance(module, nn.GroupNorm)}
    assert groups == {8}
    assert small().encoder.stages[0][1].norm1.num_groups == 4


def test_reconstruction_does_not_touch_the_segmentation_decoder():
    """Fails for MONAI, whose branch runs the segmentation decoder's blocks."""
    network = small().train()
    output = network(torch.randn(1, 2, *PATCH))
    reconstruction_error(output.auxiliary.reconstruction, output.auxiliary.image).backward()
    assert all(p.grad is None for p in network.decoder.parameters())
    assert all(p.grad is not None and p.grad.any() for p in network.autoencoder.parameters())


def test_reconstruction_reaches_the_encoder_through_the_sample():
    """Fails for NvNet: ``Normal(mean, std).sample()`` has no gradient, so nothing regularizes the encoder."""
    network = small().train()
    output = network(torch.randn(1, 2, *PATCH))
    reconstruction_error(output.auxiliary.reconstruction, output.auxiliary.image).backward()
    assert all(p.grad is not None and p.grad.any() for p in network.encoder.parameters())


def test_standard_deviation_gets_gradient_from_reconstruction():
    """Fails for MONAI's default (a constant 0.3) and for NvNet (no gradient through the sample)."""
    network = small().train()
    output = network(torch.randn(1, 2, *PATCH))
    reconstruction_error(output.auxiliary.reconstruction, output.auxiliary.image).backward()
    mean, log_variance = network.autoencoder.to_distribution.weight.grad.chunk(2)
    assert mean.any(1).all()
    assert log_variance.any(1).all()


def test_sample_has_the_mean_and_standard_deviation_asked_for():
    mean, log_variance = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, 2.0]])
    noise = torch.tensor([[0.5, -1.0]])
    expected = torch.tensor([[1.5, -2.0 - torch.e]])  # exp(2 / 2) = e
    torch.testing.assert_close(draw_sample(mean, log_variance, noise), expected)
    generator = torch.Generator().manual_seed(1)
    drawn = draw_sample(mean, log_variance, torch.randn(100_000, 2, generator=generator))
    torch.testing.assert_close(drawn.mean(0), mean[0], atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.std(0), torch.tensor([1.0, torch.e]), atol=0.03, rtol=0)


def test_batch_of_three_equals_three_batches_of_one():
    """Fails for NvNet, whose ``view((1, 128, ...))`` knows batches of one only."""
    network = small().train().double()
    images, noise = torch.randn(3, 2, *PATCH).double(), torch.randn(3, network.autoencoder.latent).double()
    together = network(images, noise)
    for index in range(3):
        alone = network(images[index : index + 1], noise[index : index + 1])
        torch.testing.assert_close(alone.logits, together.logits[index : index + 1])
        for one, all_ in zip(alone.auxiliary, together.auxiliary, strict=True):
            torch.testing.assert_close(one, all_[index : index + 1])


def test_other_patch_size_in_training_raises_instead_of_joining_the_batch():
    """Fails for MONAI: ``view(-1, n)`` makes eight samples of one patch of twice the edge."""
    with pytest.raises(ValueError, match=r"Training needs patches of \(16, 24, 16\).*got \(32, 48, 32\)"):
        small().train()(torch.zeros(1, 2, 32, 48, 32))


def test_no_layer_of_the_branch_runs_in_eval_mode():
    """Fails for NvNet, which computes its branch in every forward pass."""
    network = small()
    ran = []
    for name, module in network.autoencoder.named_modules():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    network.train()(torch.zeros(1, 2, *PATCH))
    assert len(ran) == len(list(network.autoencoder.modules())) - 2  # two ModuleLists have no forward
    ran.clear()
    network.eval()(torch.zeros(1, 2, *PATCH))
    assert ran == []


@pytest.mark.parametrize("size", [(16, 24, 16), (32, 24, 40), (13, 17, 9)])
def test_predicts_any_size_with_one_tensor(size):
    """Fails for NvNet, whose dense layers run in prediction and fit one size only."""
    logits = small().eval()(torch.randn(2, 2, *size))
    assert isinstance(logits, torch.Tensor)
    assert logits.shape == (2, 3, *size)


def test_image_to_reconstruct_is_the_augmented_input_itself():
    """Fails where the target of the reconstruction is anything but this step's input."""
    x = torch.randn(1, 2, *PATCH) * 1.1 + 0.1
    assert torch.equal(small().train()(x).auxiliary.image, x)


def test_cascade_channels_are_read_but_not_reconstructed():
    network = small(input_channels=5, image_channels=2).train()
    x = torch.randn(1, 5, *PATCH)
    output = network(x)
    assert torch.equal(output.auxiliary.image, x[:, :2])
    assert output.auxiliary.reconstruction.shape == (1, 2, *PATCH)
    assert network.encoder.stages[0][0].in_channels == 5


@pytest.mark.parametrize(
    ("strides", "kernels", "patch", "reduced"),
    [
        ([1, [1, 2, 2], 2, 2], [[1, 3, 3], 3, 3, 3], (8, 32, 32), (4, 1, 2, 2)),
        ([1, [1, 2, 2], [1, 2, 2]], [[1, 3, 3], [1, 3, 3], [1, 3, 3]], (5, 16, 16), (4, 5, 2, 2)),
        ([1, 2, 2, 2], [3, 3, 3, 3], (17, 20, 31), (4, 2, 2, 2)),
        ([1, 2, 2, 2], [3, 3, 3, 3], (8, 16, 24), (4, 1, 1, 2)),
        ([1, 2], [3, 3], (8, 8, 8), (4, 2, 2, 2)),
    ],
)
def test_anisotropic_odd_and_shallow_plans(strides, kernels, patch, reduced):
    network = small(n_stages=len(strides), strides=strides, kernel_sizes=kernels, patch_size=patch).train()
    output = network(torch.randn(1, 2, *patch))
    assert isinstance(output, NetworkOutput)
    assert network.autoencoder.reduced_shape == reduced
    assert output.logits.shape == (1, 3, *patch)
    assert output.auxiliary.reconstruction.shape == (1, 2, *patch)


def test_2d():
    network = small(conv_op=nn.Conv2d, patch_size=(16, 24)).train()
    output = network(torch.randn(2, 2, 16, 24))
    assert output.logits.shape == (2, 3, 16, 24)
    assert output.auxiliary.reconstruction.shape == (2, 2, 16, 24)


def test_reconstruct_draws_nothing_and_drops_nothing_in_eval_mode():
    network = small(dropout_op=nn.Dropout3d, dropout_op_kwargs={"p": 0.5}).eval()
    x = torch.randn(1, 2, *PATCH)
    first, second = network.reconstruct(x), network.reconstruct(x)
    assert torch.equal(first.reconstruction, second.reconstruction)
    torch.testing.assert_close(first.reconstruction, network.autoencoder.reconstruct(first.mean))


def test_inference_only_network_has_no_branch_and_predicts_the_same():
    network, slim = small().eval(), small(inference_only=True).eval()
    state = {k: v for k, v in network.state_dict().items() if not k.startswith(SegResNetVAE.training_only)}
    slim.load_state_dict(state, strict=True)
    x = torch.randn(1, 2, *PATCH)
    assert torch.equal(slim(x), network(x))
    with pytest.raises(RuntimeError, match="can only predict"):
        slim.train()(x)


def test_every_parameter_gets_a_gradient_in_a_training_step():
    network = small().train()
    loss = AutoencoderRegularizedLoss(regions=True)
    loss(network(torch.randn(2, 2, *PATCH)), torch.rand(2, 3, *PATCH) > 0.5).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_compiled_network_gives_the_same():
    network = small().train()
    x, noise = torch.randn(1, 2, *PATCH), torch.randn(1, network.autoencoder.latent)
    compiled = torch.compile(network, backend="eager")
    torch.testing.assert_close(compiled(x, noise).auxiliary, network(x, noise).auxiliary)
    network.eval()
    torch.testing.assert_close(compiled(x), network(x))


def test_half_precision_training_with_large_activations_stays_finite():
    network = small().train()
    with torch.autocast("cpu", dtype=torch.float16):
        output = network(1e3 * torch.randn(1, 2, *PATCH))
    assert output.logits.dtype == torch.float16
    assert output.auxiliary.log_variance.dtype == torch.float32
    error = reconstruction_error(output.auxiliary.reconstruction, output.auxiliary.image)
    (error / 1e6 + output.logits.float().mean()).backward()
    assert error.isfinite()
    assert all(p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": (4, 24, 16)}, r"too small for 4 levels: it needs at least \(8, 8, 8\)"),
        ({"patch_size": (16, 16)}, "does not have the network's 3 dimensions"),
        ({"strides": [2, 2, 2, 2]}, "must begin with 1"),
        ({"strides": [1, 2, 2]}, "strides has 3 entries, not 4"),
        ({"n_blocks_per_stage": [1, 2]}, "n_blocks_per_stage has 2 entries, not 4"),
        ({"image_channels": 3}, "image_channels is 3, but the input has 2 channels"),
        ({"deep_supervision": True}, "no deep supervision"),
    ],
)
def test_unusable_arguments_raise(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)


@pytest.mark.parametrize("training", [True, False])
def test_wrong_number_of_channels_raises(training):
    with pytest.raises(ValueError, match="built for 2 input channels, got 3"):
        small().train(training)(torch.zeros(1, 3, *PATCH))
