"""The README's blocks run as pasted, in order, on the data set of the demo."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK

from nnunet_ext.demo.run import prepare_data

CHECKOUT = Path(__file__).parents[1]
# blocks that install, and make's own targets, which have tests of their own
NOT_HERE = ("git clone", "pip install", "make ")


def blocks():
    """The README's bash blocks that need an installed package and nothing else."""
    found = re.findall(r"```bash\n(.*?)```", (CHECKOUT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    return [block for block in found if not any(line.startswith(NOT_HERE) for line in block.splitlines())]


def write_brats(folder, raw):
    """Cases of the phantom in the layout of BraTS 2020."""
    for number in (1, 2):
        name = f"BraTS20_Training_{number:03d}"
        (folder / name).mkdir(parents=True)
        for channel, word in enumerate(("t1", "t1ce", "t2", "flair")):
            image = raw / "imagesTr" / f"phantom_tr{number:03d}_{channel:04d}.nii.gz"
            shutil.copy(image, folder / name / f"{name}_{word}.nii.gz")
        labels = SimpleITK.ReadImage(str(raw / "labelsTr" / f"phantom_tr{number:03d}.nii.gz"))
        enhancing = SimpleITK.Cast(labels == 3, SimpleITK.sitkUInt8)
        SimpleITK.WriteImage(labels + enhancing, str(folder / name / f"{name}_seg.nii.gz"))


@pytest.mark.slow
def test_blocks_run_as_pasted(tmp_path):
    workspace = prepare_data(tmp_path / "demo", None)
    write_brats(workspace.root / "MICCAI_BraTS2020_TrainingData", workspace.raw)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(CHECKOUT),
        "nnUNet_n_proc_DA": "1",
        "nnUNet_def_n_proc": "1",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
    }
    # the first block that is not of installation stands before nnU-Net's folders are named
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", "nnUNet_extTrainer"):
        environment.pop(name, None)
    script = "set -euo pipefail\n" + "\n".join(blocks())
    run = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, f"{run.stdout[-4000:]}\n{run.stderr[-4000:]}"
    root = workspace.root
    for made in (
        "ENSEMBLE/phantom_ts000.nii.gz",
        "CROSSVAL/summary.json",
        "FINAL/phantom_ts000.nii.gz",
        "SCORES/summary.md",
        "UNCERTAINTY",
        "calibration.json",
        "report.html",
        "SMALLER/plans.json",
        "nnUNet_raw/Dataset137_BraTS/dataset.json",
        "experiment/Snakefile",
        "nnUNet_preprocessed/Dataset999_Phantom/nnUNetPlansShort.json",
    ):
        assert (root / made).exists(), made


def test_enough_of_the_readme_is_run():
    text = "\n".join(blocks())
    for command in ("check", "plan", "postprocess", "evaluate", "report", "convert", "workflow", "strip"):
        assert f"nnunet_ext {command} " in text
    for command in ("plan_and_preprocess", "train", "predict", "ensemble", "apply_postprocessing"):
        assert f"nnUNetv2_{command} " in text
