"""The share of a GPU's memory that plans fill: read from the package's file, fitted to measured steps."""

import json

import pytest

from nnunet_ext.errors import InputError
from nnunet_ext.planning import memory_share
from nnunet_ext.planning.memory_share import MemoryShare, fitted_share, read_memory_share, write_memory_share


def row(estimated, reserved):
    return {"estimated_bytes": estimated, "allocated_bytes": reserved - 1, "reserved_bytes": reserved}


def test_share_is_the_least_of_all_steps_rounded_down():
    # 8.0e9 / 9.0e9 = .8889 and 4.79e9 / 6.0e9 = .7983: the second, .80 when rounded and .79 when rounded down
    assert fitted_share({"A": row(8_000_000_000, 9_000_000_000), "B": row(4_790_000_000, 6_000_000_000)}) == 0.79


def test_exact_hundredths_are_kept():
    assert fitted_share({"A": row(29, 100)}) == 0.29  # 100 * (29 / 100) is below 29 in floating point


def test_share_leaves_room_for_what_is_in_no_measured_step():
    assert fitted_share({"A": row(99, 100)}) == 0.95
    assert fitted_share({"A": row(120, 100)}) == 0.95


def test_steps_that_ran_out_of_memory_say_nothing():
    assert fitted_share({"A": row(85, 100), "B": {"error": "out of memory"}}) == 0.85
    assert fitted_share({"B": {"error": "out of memory"}}) is None
    assert fitted_share({}) is None


def test_on_a_cpu_counted_bytes_stand_for_those_of_the_allocator():
    assert fitted_share({"A": {"estimated_bytes": 60, "counted_bytes": 80}}) == 0.75


def test_package_has_a_share_and_says_where_it_comes_from():
    share = read_memory_share()
    assert 0 < share.share <= 0.95
    assert (share.device is None) == (share.torch is None)
    assert str(MemoryShare(0.9)) == "90 % (our choice, not measured)"
    assert str(MemoryShare(0.87, "G", "2.9")) == "87 % (measured on G, torch 2.9)"


def test_what_is_written_is_what_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_share, "FILE", tmp_path / "memory_share.json")
    write_memory_share(MemoryShare(0.87, "G", "2.9"), memory_share.FILE)
    assert json.loads(memory_share.FILE.read_text()) == {"share": 0.87, "device": "G", "torch": "2.9"}
    assert read_memory_share() == MemoryShare(0.87, "G", "2.9")
    memory_share.FILE.write_text("{")
    with pytest.raises(InputError, match="cut off"):
        read_memory_share()
