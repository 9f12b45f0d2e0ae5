"""Widths and streams of the systems of Table 1 for any base and number of modalities."""

import pytest

from nnunet_ext.architectures.fusion_system import EARLY_FUSE_UNET, FUSE_NET_CONCAT, FUSE_ORIGIN_UNET, PROPOSED, UNET


@pytest.mark.parametrize(
    ("system", "n_modalities", "stream", "decoder"),
    [
        (UNET, 2, [64, 128, 256], [64, 128, 256]),
        (EARLY_FUSE_UNET, 4, [64, 128, 256], [64, 128, 256]),
        (PROPOSED, 2, [32, 64, 128], [64, 128, 256]),
        (PROPOSED, 3, [24, 44, 88], [64, 128, 256]),
        (PROPOSED, 4, [16, 32, 64], [64, 128, 256]),
        (FUSE_ORIGIN_UNET, 2, [64, 128, 256], [64, 128, 256]),
        (FUSE_NET_CONCAT, 2, [64, 128, 256], [128, 256, 512]),
    ],
)
def test_widths_of_the_first_levels(system, n_modalities, stream, decoder):
    arguments = system.arch_kwargs(32, 3, n_modalities, 0)
    assert (arguments["stream_features_per_stage"], arguments["features_per_stage"]) == (stream, decoder)


def test_widths_scale_with_the_base():
    assert PROPOSED.arch_kwargs(4, 5, 2, 0)["stream_features_per_stage"] == [4, 8, 16, 32, 64]


@pytest.mark.parametrize(
    ("system", "streams"), [(PROPOSED, [[2], [0], [1]]), (EARLY_FUSE_UNET, [[2, 0, 1]]), (UNET, [[2]])]
)
def test_master_comes_first(system, streams):
    assert system.arch_kwargs(32, 5, 3, 2)["streams"] == streams


@pytest.mark.parametrize(("n_stages", "master"), [(6, 0), (0, 0), (5, 2), (5, -1)])
def test_levels_and_master_out_of_range_raise(n_stages, master):
    with pytest.raises(ValueError, match="levels" if master == 0 else "Master channel"):
        PROPOSED.arch_kwargs(32, n_stages, 2, master)
