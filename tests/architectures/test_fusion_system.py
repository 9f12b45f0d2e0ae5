"""Widths and streams of the systems of Table 1 for any base and number of modalities."""

import pytest

from nnunet_ext.architectures.fusion_system import EARLY_FUSE_UNET, FUSE_NET, FUSE_NET_CONCAT, PROPOSED, UNET


@pytest.mark.parametrize(
    ("system", "base", "widths"),
    [
        (PROPOSED, 32, [64, 128, 256, 512, 1024]),
        (PROPOSED, 4, [8, 16, 32, 64, 128]),
        (FUSE_NET, 32, [64, 128, 256, 512, 512]),
        (FUSE_NET_CONCAT, 32, [128, 256, 512, 1024, 1024]),
    ],
)
def test_widths_scale_with_the_base(system, base, widths):
    assert system.topology(base, 5)["features_per_stage"] == widths


def test_fewer_levels_are_the_first_ones():
    topology = FUSE_NET.topology(32, 3)
    assert topology["features_per_stage"] == [64, 128, 256]
    assert topology["n_conv_per_stage"] == [2, 2, 3]
    assert topology["n_conv_per_stage_decoder"] == [2, 2]


@pytest.mark.parametrize(
    ("system", "streams"), [(PROPOSED, [[2], [0], [1]]), (EARLY_FUSE_UNET, [[2, 0, 1]]), (UNET, [[2]])]
)
def test_master_comes_first(system, streams):
    assert system.streams(3, 2) == streams


@pytest.mark.parametrize("n_stages", [0, 6])
def test_levels_out_of_range_raise(n_stages):
    with pytest.raises(ValueError, match="1 to 5 levels"):
        PROPOSED.topology(32, n_stages)


@pytest.mark.parametrize("master", [-1, 2])
def test_master_out_of_range_raises(master):
    with pytest.raises(ValueError, match=f"Master channel {master} of 2"):
        PROPOSED.streams(2, master)
