"""Checkpoints: what is allowed in them, damage, and full disks."""

import os
import pickle
import resource
import zipfile
from collections import OrderedDict
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from nnunet_ext.errors import InputError
from nnunet_ext.files.checkpoint import (
    BEST,
    FINAL,
    LATEST,
    UnreadableCheckpointError,
    atomic_checkpoint,
    damage,
    read_checkpoint,
    read_to_continue,
)

# of the kinds that nnU-Net's have
CONTENT = {
    "network_weights": OrderedDict(conv=torch.arange(60.0)),
    "optimizer_state": {
        "state": {0: {"momentum_buffer": torch.ones(3)}},
        "param_groups": [{"lr": 0.1, "foreach": None}],
    },
    "grad_scaler_state": None,
    "logging": {"mean_fg_dice": [np.float32(0.5), np.float64(0.25)], "counts": [np.int64(3), np.bool_(True)]},
    "_best_ema": np.float64(0.75),
    "current_epoch": 3,
    "init_args": {"plans": {"a": [1, 2]}, "configuration": "2d", "fold": "all", "device": torch.device("cpu")},
    "trainer_name": "nnUNetTrainer",
    "inference_allowed_mirroring_axes": (0, 1),
}


@pytest.fixture
def file(tmp_path):
    torch.save(CONTENT, tmp_path / FINAL)
    return tmp_path / FINAL


@pytest.mark.parametrize("weights", [True, False])
def test_everything_in_a_checkpoint_of_nnunet_is_read(file, weights):
    content = read_checkpoint(file, weights=weights)
    assert torch.equal(content["network_weights"]["conv"], torch.arange(60.0))
    assert content["logging"] == CONTENT["logging"]
    assert type(content["_best_ema"]) is np.float64
    assert content["init_args"] == CONTENT["init_args"]


@pytest.mark.parametrize("core", ["core", "_core"])
def test_numbers_of_older_and_newer_numpy_are_read(file, core):
    """NumPy 2 has renamed the module that its pickled numbers name."""

    def rename(name, content):
        if name.endswith("data.pkl"):
            for other in (b"_core", b"core"):
                content = content.replace(b"cnumpy." + other + b".", b"cnumpy." + core.encode() + b".")
        return content

    rewrite(file, rename)
    assert read_checkpoint(file)["_best_ema"] == 0.75


class Touch:
    """What a malicious checkpoint holds: reading it with pickle makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("weights", [True, False])
def test_checkpoint_that_wants_to_run_code_is_refused_with_its_name_and_does_not(tmp_path, weights):
    torch.save({**CONTENT, "_best_ema": Touch(tmp_path / "ran")}, tmp_path / FINAL)
    with pytest.raises(UnreadableCheckpointError, match=r"final\.pth: wants to use (posix|nt)\.mkdir, which"):
        read_checkpoint(tmp_path / FINAL, weights=weights)
    assert not (tmp_path / "ran").exists()


def test_allowing_numbers_here_allows_them_nowhere_else(file):
    read_checkpoint(file)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(file, weights_only=True)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"network_weights": {}, "init_args": {}}, "has no trainer_name, as"),
        ([1], "has no network_weights, init_args, trainer_name, as"),
    ],
)
def test_other_files_of_pytorch_are_no_checkpoints(tmp_path, content, problem):
    torch.save(content, tmp_path / FINAL)
    with pytest.raises(UnreadableCheckpointError, match=problem):
        read_checkpoint(tmp_path / FINAL)


def rewrite(file, change):
    """Pass each record of the archive through a function of its name and content."""
    with zipfile.ZipFile(file) as archive:
        records = {name: change(name, archive.read(name)) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in records.items():
            archive.writestr(name, content)


def test_every_damaged_byte_is_seen_or_without_effect(file):
    whole = file.read_bytes()
    seen = 0
    for position in range(0, len(whole), 23):
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        try:
            content = read_checkpoint(file)
        except UnreadableCheckpointError:
            seen += 1
        else:
            assert torch.equal(content["network_weights"]["conv"], torch.arange(60.0))
    assert seen > len(whole) // 23 // 3  # the rest pads the records


def test_damaged_weights_are_named_and_do_not_matter_where_they_are_not_needed(file):
    whole = file.read_bytes()
    position = whole.index(torch.arange(60.0).numpy().tobytes()) + 30
    file.write_bytes(whole[:position] + b"x" + whole[position + 1 :])
    with pytest.raises(UnreadableCheckpointError, match=r"checkpoint_final\.pth: is damaged \(Bad CRC-32.*data/0"):
        read_checkpoint(file)
    assert read_checkpoint(file, weights=False)["current_epoch"] == 3


def test_damaged_checkpoint_to_continue_from_names_one_that_is_whole(file, tmp_path):
    content = file.read_bytes()
    (tmp_path / LATEST).write_bytes(content[:-100])
    (tmp_path / BEST).write_bytes(content)
    file.write_bytes(content.replace(b"nnUNetTrainer", b"nnUNetTrainee"))
    assert read_to_continue(tmp_path / BEST)["current_epoch"] == 3
    with pytest.raises(UnreadableCheckpointError, match=rf"final\.pth: is damaged .*Use {BEST} instead"):
        read_to_continue(file)
    with pytest.raises(UnreadableCheckpointError, match=rf"latest\.pth: was cut off .*Use {BEST} instead"):
        read_to_continue(tmp_path / LATEST)
    torch.save({key: value for key, value in CONTENT.items() if key != "optimizer_state"}, tmp_path / BEST)
    with pytest.raises(UnreadableCheckpointError, match="train again without --c"):
        read_to_continue(file)


def test_checkpoint_without_what_stripping_drops_is_said_to_be_stripped(tmp_path):
    torch.save({key: value for key, value in CONTENT.items() if key != "logging"}, tmp_path / FINAL)
    with pytest.raises(InputError, match="has no logging, as a checkpoint of nnU-Net v2 has unless it was stripped"):
        read_checkpoint(tmp_path / FINAL, ("logging",))


def test_missing_checkpoint_is_not_called_damaged(tmp_path):
    assert damage(tmp_path / FINAL) == "does not exist"


@contextmanager
def files_of_at_most(size):
    """The operating system refuses to write more into a file, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_disk_that_takes_no_more_is_said_in_its_words_and_the_old_checkpoint_stays(file):
    whole = file.read_bytes()

    def save():
        with atomic_checkpoint(file) as temporary:
            torch.save({"weights": torch.zeros(100_000)}, temporary)

    with files_of_at_most(100_000), pytest.raises(InputError, match=r"final\.pth cannot be written: File too large"):
        save()
    assert file.read_bytes() == whole
    assert list(file.parent.iterdir()) == [file]


def test_other_errors_while_saving_are_not_blamed_on_the_disk(file):
    with pytest.raises(RuntimeError, match="CUDA error"), atomic_checkpoint(file):
        raise RuntimeError("CUDA error")
