"""Joining the streams of a level."""

import pytest
import torch

from nnunet_ext.architectures.stream_fusion import join, joined_channels, stream_widths


@pytest.mark.parametrize(
    ("how", "expected"), [("master", [1.0, 2.0]), ("add", [111.0, 222.0]), ("concatenate", [1, 2, 10, 20, 100, 200])]
)
def test_join(how, expected):
    streams = [factor * torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1) for factor in (1, 10, 100)]
    joined = join(streams, how)
    assert joined.flatten().tolist() == expected
    assert joined.shape[1] == joined_channels(2, 3, how)


@pytest.mark.parametrize("how", ["master", "add", "concatenate"])
def test_one_stream_stays_as_it_is(how):
    stream = torch.rand(1, 2, 3)
    assert join([stream], how) is stream


@pytest.mark.parametrize(
    ("n_streams", "widths"), [(1, [64, 1024]), (2, [32, 512]), (3, [24, 344]), (4, [16, 256]), (40, [4, 28])]
)
def test_streams_share_the_widths_rounded_up_to_a_multiple_of_four(n_streams, widths):
    assert stream_widths([64, 1024], n_streams) == widths


def test_one_stream_keeps_an_odd_width():
    assert stream_widths([6], 1) == [6]
