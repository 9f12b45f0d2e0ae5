"""nnU-Net's folders in a temporary place, and its real commands run there as a user runs them."""

import os
import subprocess
import sys
from pathlib import Path

import nnunet_ext
from nnunet_ext.trainer_search import plugin_folder

# the console scripts of the environment that runs the tests, and this checkout in front of what is installed
BIN = Path(sys.executable).parent
CHECKOUT = Path(nnunet_ext.__file__).parents[1]


class Workspace:
    """The four variables of nnU-Net below one folder."""

    def __init__(self, root: Path):
        self.root = root
        for name in ("raw", "preprocessed", "results"):
            (root / name).mkdir(parents=True)

    def folder(self, name: str) -> Path:
        """``raw``, ``preprocessed``, ``results`` or any other folder of the workspace."""
        return self.root / name

    @property
    def environment(self) -> dict[str, str]:
        """Environment of a fresh shell with nothing but nnU-Net's variables, small enough for two cores."""
        return os.environ | {
            "nnUNet_raw": str(self.folder("raw")),
            "nnUNet_preprocessed": str(self.folder("preprocessed")),
            "nnUNet_results": str(self.folder("results")),
            "nnUNet_extTrainer": str(plugin_folder()),
            "nnUNet_n_proc_DA": "1",
            "nnUNet_def_n_proc": "1",
            "OMP_NUM_THREADS": "1",
            # nnU-Net takes all cores for training on a CPU, whatever OMP_NUM_THREADS says; where two tests share two
            # cores, threads that spin while they wait made a training take fifteen times as long
            "OMP_WAIT_POLICY": "passive",
            "PYTHONPATH": str(CHECKOUT),
        }

    def start(self, *command: object, **kwargs) -> subprocess.Popen:
        """Start a command in the background."""
        name, *arguments = map(str, command)
        return subprocess.Popen([str(BIN / name), *arguments], env=self.environment, text=True, **kwargs)

    def run(self, *command: object) -> str:
        """Run a command and return what it printed; fails with its output."""
        process = self.start(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, _ = process.communicate()
        assert process.returncode == 0, f"{' '.join(map(str, command))}\n{output[-4000:]}"
        return output

    def model(self, dataset: str, trainer: str, plans: str, configuration: str = "3d_fullres") -> Path:
        """Folder of a trained model."""
        return self.folder("results") / dataset / f"{trainer}__{plans}__{configuration}"
