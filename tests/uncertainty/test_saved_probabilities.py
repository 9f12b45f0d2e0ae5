"""Reading nnU-Net's ``.npz`` files in pieces."""

import numpy as np
import pytest
from saved_predictions import two_classes

from nnunet_ext.errors import InputError
from nnunet_ext.uncertainty.saved_probabilities import read_header, read_probabilities, slabs

VALUES = two_classes(np.linspace(0, 1, 5 * 3 * 2).reshape(5, 3, 2))


def saved(tmp_path, values, name="probabilities"):
    np.savez_compressed(tmp_path / "a.npz", **{name: values})
    return tmp_path / "a.npz"


def test_pieces_are_the_array_channel_by_channel(tmp_path):
    pieces = list(slabs(saved(tmp_path, VALUES), 2))
    assert [piece.shape[0] for piece in pieces] == [2, 2, 1] * 2
    np.testing.assert_array_equal(np.concatenate(pieces).reshape(VALUES.shape), VALUES)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_values_are_read_whatever_their_precision(tmp_path, dtype):
    read = read_probabilities(saved(tmp_path, VALUES.astype(dtype)))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, VALUES.astype(dtype).astype(np.float32))


def test_one_channel_whose_axes_nnunet_has_reversed_is_read_in_its_order(tmp_path):
    values = np.linspace(0, 1, 24, dtype=np.float32).reshape(1, 2, 3, 4).transpose(0, 3, 2, 1)
    path = saved(tmp_path, values)
    assert read_header(path).fortran_order
    np.testing.assert_array_equal(np.concatenate(list(slabs(path, 3))), values[0])


@pytest.mark.parametrize(
    ("value", "words"), [(np.nan, "not finite"), (np.inf, "not finite"), (1.5, "no probabilities"), (-3, "logits")]
)
def test_what_is_no_probability_is_refused_with_its_file(tmp_path, value, words):
    values = VALUES.copy()
    values[1, 4, 2, 1] = value
    with pytest.raises(InputError, match=rf"a\.npz: channel 1 holds .*{words}"):
        read_probabilities(saved(tmp_path, values))


def test_rounding_past_1_is_cut(tmp_path):
    assert read_probabilities(saved(tmp_path, VALUES + np.float32(1e-5))).max() == 1


def test_files_that_nnunet_did_not_write_are_refused(tmp_path):
    with pytest.raises(InputError, match="has no 'probabilities'"):
        read_header(saved(tmp_path, VALUES, "softmax"))
    with pytest.raises(InputError, match=r"shape \(5, 3, 2\)"):
        read_header(saved(tmp_path, VALUES[0]))
    path = saved(tmp_path, VALUES)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"a\.npz: truncated or damaged"):
        read_header(path)
    with pytest.raises(InputError, match=r"b\.npz: cannot be read"):
        read_header(tmp_path / "b.npz")


def test_values_that_are_cut_off_are_refused(tmp_path):
    path = saved(tmp_path, np.random.default_rng(0).uniform(size=(2, 9, 9, 9)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz: "):
        read_probabilities(path)
