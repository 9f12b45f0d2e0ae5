"""What PyTorch offers without a promise."""

import pytest
import torch
from torch import nn

from nnunet_ext.host.torch_internals import (
    Convolution,
    EveryOperator,
    TensorsWithoutData,
    leaves,
    map_leaves,
    storage_identity,
)


def test_tensors_without_data_have_shapes_and_take_no_memory():
    with TensorsWithoutData():
        result = torch.zeros(10**6, 10**6) @ torch.zeros(10**6, 2)
    assert result.shape == (10**6, 2)


def test_every_operator_is_seen():
    class Names(EveryOperator):
        seen = ()

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.seen += (str(function),)
            return function(*args, **(kwargs or {}))

    with Names() as names:
        torch.ones(2) + 1
    assert names.seen == ("aten.ones.default", "aten.add.Tensor")


def test_leaves_of_nested_containers():
    nested = (1, [2, {"a": 3}])
    assert leaves(nested) == [1, 2, 3]
    assert map_leaves(lambda number: number + 1, nested) == (2, [3, {"a": 4}])


def test_views_share_their_storage():
    tensor = torch.zeros(4)
    identities = [storage_identity(t.untyped_storage()) for t in (tensor, tensor[1:], torch.zeros(4))]
    assert identities[0] == identities[1] != identities[2]


@pytest.mark.parametrize("layer", [nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d])
def test_convolutions_of_all_kinds_are_convolutions(layer):
    assert isinstance(layer(1, 1, 1), Convolution)
    assert not isinstance(nn.Linear(1, 1), Convolution)
