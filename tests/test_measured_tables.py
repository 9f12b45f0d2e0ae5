"""Tables of costs are those of the stored numbers, and the command that measures on a GPU runs through on a CPU."""

import importlib
import json
import os
import subprocess
import sys

import pytest
import torch
import yaml
from measured_tables import BLOCKS, ROOT, costs, dead_regions, gpu, memory_share_of_plans, replaced

from nnunet_ext.planning import memory_share
from nnunet_ext.planning.memory_share import MemoryShare, write_memory_share

PARTS = ("memory", "steps", "networks", "convolutions", "epoch", "study")


@pytest.mark.parametrize("page", BLOCKS)
def test_page_shows_the_stored_numbers(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for name, block in BLOCKS[page].items():
        assert text == replaced(text, name, block()), "Run: python tools/measured_tables.py"


def test_costs_are_ratios_to_the_plain_network(tmp_path):
    size = {"patch": [128, 160, 192], "batch": 1, "estimated_bytes": 12_345_000_000, "operations": 30}
    rows = [
        {"trainer": "nnUNetTrainer", "default": size | {"estimated_bytes": 5.06e9, "operations": 20}},
        {"trainer": "BiFPNTrainer", "default": size, "published": size},
    ]
    (tmp_path / "costs.json").write_text(json.dumps({"rows": rows}))
    timed = [
        {"network": "nnUNetTrainer", "train_time_ratio": 1.0},
        {"network": "BiFPNTrainer", "train_time_ratio": 0.456},
    ]
    environment = {"device": "CPU", "threads": 1, "torch": "2"}
    settings = {"side": 32, "base": 16}
    content = {"results": timed, "environment": environment, "settings": settings}
    (tmp_path / "overview_cpu.json").write_text(json.dumps(content))
    table = costs(tmp_path)
    assert "| `nnUNetTrainer` | 5.1 |  | 1.00 | 1.00 |" in table
    assert "| `BiFPNTrainer` | 12.3 | 128x160x192, batch 1: 12.3 | 1.50 | 0.46 |" in table
    assert "[not measured yet](docs/gpu.md)" in table


def test_dead_regions_are_counted_and_dice_is_averaged(tmp_path):
    rows = [
        {
            "trainer": "T",
            "settings": {"initial_lr": 1e-3},
            "weights": weights,
            "dead": [seed == 0, False, weights == "he"],
            "saturated_at_start": [0.2, 0.4, 0.6],
            "largest_logit": [10.0, 20.0 + seed, 5.0],
            "dice": [0.5 + 0.2 * seed, 0.25, 0.0],
        }
        for weights in ("own", "he")
        for seed in range(2)
    ]
    content = {"rows": rows, "settings": {"steps": 9, "base": 4}, "environment": {"device": "CPU", "torch": "2"}}
    (tmp_path / "name.json").write_text(json.dumps(content))
    table = dead_regions(tmp_path, "name")
    assert "| He everywhere, as before | 0.001 | 3 of 6 | 40 % | 21 | 0.60 / 0.25 / 0.00 |" in table
    assert "| as now | 0.001 | 1 of 6 | 40 % | 21 | 0.60 / 0.25 / 0.00 |" in table
    assert "2 training(s) a row" in table


def test_without_numbers_nothing_is_said_to_be_measured(tmp_path):
    table = gpu(tmp_path)
    assert table.count("Not measured yet.") == len(PARTS)
    assert "|" not in table


def test_share_of_the_memory_is_the_least_and_failed_units_are_named(tmp_path, monkeypatch):
    units = {
        "A": {"patch": [8, 8], "batch": 1, "estimated_bytes": 9e9, "allocated_bytes": 9.5e9, "reserved_bytes": 10e9},
        "B": {"patch": [8, 8], "batch": 2, "estimated_bytes": 4e9, "allocated_bytes": 4.5e9, "reserved_bytes": 5e9},
        "C": {"error": "out of memory"},
    }
    content = {"environment": {"device": "G"}, "scale": {"side": 128, "base": 32}, "units": units}
    (tmp_path / "memory.json").write_text(json.dumps(content))
    monkeypatch.setattr(memory_share, "FILE", tmp_path / "memory_share.json")
    write_memory_share(MemoryShare(0.62, "H", "2.9"), memory_share.FILE)
    table = gpu(tmp_path)
    assert "| B | 8x8 | 2 | 4.00 | 4.50 | 5.00 | 0.80 |" in table
    assert "Tensors may get 80 % of the memory" in table
    assert "the planner gives them 62 % (measured on H, torch 2.9)" in table
    assert "Out of memory: C." in table
    assert memory_share_of_plans() == "Tensors get 62 % of the target: [measured](gpu.md) on H, torch 2.9."
    write_memory_share(MemoryShare(0.7), memory_share.FILE)
    assert memory_share_of_plans() == "Tensors get 70 % of the target: our choice, not measured yet on a GPU."


def compared(name, dice, **changes):
    return {
        "name": name,
        "scores": {"core": {"dice": {"mean": dice, "interval": [0.25, 0.5]}}},
        "steps": 250,
        "plans": {"batch_size": 2},
        "num_cases": 2,
        "cost": {"seconds_per_step": 0.5, "memory_of_step": 3e9},
    } | changes


def test_study_has_a_row_a_training_and_is_called_smoke_scale(tmp_path):
    gained = {"minus_plain": {"core": {"dice": {"mean": 0.125}}}}
    units = {"plain nnU-Net": {"model": "P"}, "A": {"model": "A"}, "B": {"error": "out of memory"}}
    content = {"environment": {"device": "G"}, "scale": {"side": 128, "base": 32}, "units": units}
    (tmp_path / "study.json").write_text(json.dumps(content))
    assert "Not compared yet. Trained: plain nnU-Net, A." in gpu(tmp_path)
    units["comparison"] = [compared("plain nnU-Net", 0.375), compared("A", 0.5, **gained)]
    (tmp_path / "study.json").write_text(json.dumps(content))
    table = gpu(tmp_path)
    assert "| plain nnU-Net | 0.375 (0.250 to 0.500) |  | 0.500 | 3.00 |" in table
    assert "| A | 0.500 (0.250 to 0.500) | +0.125 | 0.500 | 3.00 |" in table
    assert "**Smoke scale**" in table
    assert "250 steps of batch 2, seed 0, 2 validation case(s)" in table
    assert "Out of memory: B." in table


@pytest.fixture
def command(monkeypatch):
    """The script of `make gpu`."""
    pytest.importorskip("monai")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("gpu")


def test_share_is_fitted_once_every_method_was_measured(tmp_path, command):
    names = ["nnUNetTrainer", *(trainer.__name__ for trainer in command.METHODS)]
    units = {name: {"estimated_bytes": 88 + place, "reserved_bytes": 100} for place, name in enumerate(names)}
    file = tmp_path / "share.json"
    command.fit_share(tmp_path, file)
    environment = {"device": "G", "torch": "2.9"}
    for last, share in ((None, None), ({"error": "out of memory"}, {"share": 0.88, "device": "G", "torch": "2.9"})):
        stored = {key: row for key, row in (units | {names[-1]: last}).items() if row}
        (tmp_path / "memory.json").write_text(json.dumps({"environment": environment, "units": stored}))
        command.fit_share(tmp_path, file)
        assert (json.loads(file.read_text()) if file.exists() else None) == share


def test_share_of_plans_is_decided_on_a_gpu_at_published_size_alone(tmp_path, command):
    gpu, cpu, (published, tiny) = torch.device("cuda"), torch.device("cpu"), command.SCALES.values()
    assert command.share_file(gpu, published, command.RESULTS) == memory_share.FILE
    for device, scale, output in ((cpu, published, command.RESULTS), (gpu, tiny, tmp_path), (gpu, published, tmp_path)):
        assert command.share_file(device, scale, output) == output / "memory_share.json"


def test_training_that_runs_out_of_memory_is_told_from_one_that_fails(tmp_path, command):
    study = command.PhantomStudy(tmp_path, "cpu", (24, 24, 24), cases=5, side=16, base=8, epochs=2, steps=2)
    with pytest.raises(torch.OutOfMemoryError):
        study._run("log", sys.executable, "-c", "raise SystemExit('torch.OutOfMemoryError: CUDA out of memory.')")
    with pytest.raises(RuntimeError, match=r"Exit code 3; .*log\.log ends with\nword"):
        study._run("log", sys.executable, "-c", "print('word'); raise SystemExit(3)")


def test_everything_is_measured_on_a_cpu_and_what_is_stored_is_not_measured_again(tmp_path):
    pytest.importorskip("monai")
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--device=cpu", "--size=tiny"]
    environment = os.environ | {"nnUNet_n_proc_DA": "0", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}

    def run(*arguments):
        whole = [*command, f"--output={tmp_path}", *arguments]
        done = subprocess.run(whole, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    share_of_plans = memory_share.FILE.read_bytes()
    run()
    found = {part: json.loads((tmp_path / f"{part}.json").read_text())["units"] for part in PARTS}
    assert all(0.9 < row["estimated_bytes"] / row["counted_bytes"] < 1.01 for row in found["memory"].values())
    assert all(rows[0]["train_time_ratio"] == 1 for rows in found["steps"].values())
    assert "MONAI SegResNet" in [row["network"] for row in found["networks"]["autoencoder inference"]]
    assert all(row["step_seconds"] > 0 and row["epoch_seconds"] > 0 for row in found["epoch"].values())
    names = ["plain nnU-Net", "ModalityPairingTrainer"]
    assert [row["name"] for row in found["study"]["comparison"]] == names
    assert all(row["steps"] == 2 and row["num_cases"] == 1 for row in found["study"]["comparison"])
    assert yaml.safe_load((tmp_path / "study" / "results.yaml").read_text())["rows"] == found["study"]["comparison"]
    assert len((tmp_path / "study" / "curves.csv").read_text().splitlines()) == 1 + 2 * 2  # two epochs of each
    assert memory_share.FILE.read_bytes() == share_of_plans
    assert json.loads((tmp_path / "memory_share.json").read_text())["device"].startswith("CPU")
    table = (tmp_path / "tables.md").read_text()
    assert "Not measured yet" not in table
    assert table == gpu(tmp_path)

    epochs = json.loads((tmp_path / "epoch.json").read_text())
    del epochs["units"]["ModalityPairingTrainer"]
    (tmp_path / "epoch.json").write_text(json.dumps(epochs))
    assert run("--minutes=0") == "left for the next call: epoch: ModalityPairingTrainer\n"
    assert json.loads((tmp_path / "epoch.json").read_text()) == epochs
