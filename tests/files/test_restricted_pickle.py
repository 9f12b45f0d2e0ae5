"""Pickles of others: plain data is read, and nothing in them runs."""

import os
import pickle

import numpy as np
import pytest

from nnunet_ext.errors import InputError
from nnunet_ext.files.restricted_pickle import Name, read_pickle

SYSTEM = Name(os.system.__module__, "system")


class Program:
    """Creates a file when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch '{self.file}'",)


def write(tmp_path, content):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    return tmp_path / "a.pkl"


@pytest.mark.parametrize("content", [{"a": [1, 2.5, ("b", None)]}, [True, b"x"], {1, 2}])
def test_plain_data_is_read(tmp_path, content):
    assert read_pickle(write(tmp_path, content)) == content


def test_known_names_stay_names(tmp_path):
    known = [Name("collections", "OrderedDict")]
    file = write(tmp_path, [__import__("collections").OrderedDict])
    assert read_pickle(file, known) == known
    assert str(known[0]) == "collections.OrderedDict"
    with pytest.raises(InputError, match=r"wants to use collections\.OrderedDict, which is not known here"):
        read_pickle(file)


@pytest.mark.parametrize("known", [(), (SYSTEM,)])
def test_no_program_runs_even_if_its_name_is_known(tmp_path, known):
    file = write(tmp_path, {"a": Program(tmp_path / "PWNED")})
    with pytest.raises(InputError, match=r"a\.pkl: (wants to use posix\.system|no pickle of plain data)"):
        read_pickle(file, known)
    assert not (tmp_path / "PWNED").exists()
    pickle.loads(file.read_bytes())  # it would have
    assert (tmp_path / "PWNED").exists()


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps([1, 2])[:-3], pickle.dumps(np.float64(1))])
def test_anything_else_is_an_error_that_names_the_file(tmp_path, content):
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.pkl: (no pickle of plain data|wants to use numpy)"):
        read_pickle(tmp_path / "a.pkl")
    with pytest.raises(InputError, match="cannot be read"):
        read_pickle(tmp_path / "missing.pkl")
