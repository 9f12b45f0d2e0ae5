"""The scripts in ``examples`` run, without nnU-Net where they say so, and show what they say."""

import lzma
import math
import runpy
import shutil
import subprocess
import sys

import numpy as np
import pytest
from workspace import CHECKOUT

EXAMPLES = CHECKOUT / "examples"
MODELS = CHECKOUT / "tests" / "data" / "models"


def test_method_trains_in_monai_without_nnunet():
    code = (
        "import sys, runpy; sys.modules['nnunetv2'] = None\n"
        f"train = runpy.run_path({str(EXAMPLES / 'method_in_monai.py')!r})['train']\n"
        "print('HISTORY', train(epochs=2, num_cases=4))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    (line,) = [line for line in process.stdout.splitlines() if line.startswith("HISTORY")]
    history = eval(line.removeprefix("HISTORY "), {"nan": math.nan})
    assert {name: len(values) for name, values in history.items()} == {
        "segmentation": 2,
        "modality_pairing": 2,
        "dice": 2,
    }
    assert history["segmentation"][1] < history["segmentation"][0]
    assert all(-1 <= value <= 1 for value in history["modality_pairing"])
    assert all(0 <= value <= 1 for value in history["dice"])


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(EXAMPLES / "trained_model.py"))


def stored_model(name, folder):
    """A model folder as nnU-Net's training leaves it, of a stored model."""
    model = folder / name
    (model / "fold_0").mkdir(parents=True)
    for file in ("plans.json", "dataset.json"):
        shutil.copy(MODELS / name / file, model)
    packed = (MODELS / name / "checkpoint_final.pth.xz").read_bytes()
    (model / "fold_0" / "checkpoint_final.pth").write_bytes(lzma.decompress(packed))
    return model


@pytest.mark.parametrize(
    ("name", "pictures"),
    [
        ("AttentionFusionTrainer", ["attention, level 1", "attention, level 2", "attention, level 3"]),
        ("AutoencoderRegularizedTrainer", [f"reconstructed {name}" for name in ("T1", "T1ce", "T2", "FLAIR")]),
        ("BiFPNClassifierTrainer", []),
        ("ModalityPairingTrainer", []),
    ],
)
def test_trained_model_shows_what_its_method_adds(name, pictures, script, tmp_path):
    seen = script["look"](stored_model(name, tmp_path))
    assert seen["image"].shape == (4, 16, 16, 16)
    assert abs(seen["image"].mean()) < 2
    assert list(seen["pictures"]) == pictures
    if name == "AttentionFusionTrainer":
        assert [tuple(picture.shape) for picture in seen["pictures"].values()] == [(side,) * 3 for side in (16, 8, 4)]
        assert all(0 < picture.min() < picture.max() < 1 for picture in seen["pictures"].values())
    if name == "BiFPNClassifierTrainer":
        assert seen["slices"].shape == (3, 16)
        assert np.all((seen["slices"].numpy() > 0) & (seen["slices"].numpy() < 1))
    else:
        assert seen["slices"] is None
    first, *_, last = seen["features"].values()
    assert len(first) == len(last) == 4
    script["draw"](seen, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000
