"""Where the demo of one data set keeps its files."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.trainer_search import plugin_folder


@dataclass(frozen=True)
class Workspace:
    """Files of the demo of one data set.

    Attributes:
        root: Folder of everything, named as the data set, for example `demo/Dataset999_Phantom`.
        configuration: nnU-Net's configuration, 3d_fullres or 2d.
    """

    root: Path
    configuration: str = "3d_fullres"

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return self.root.name

    @property
    def identifier(self) -> int:
        """Number in the data set's name: 999 for Dataset999_Phantom."""
        return int(self.dataset.removeprefix("Dataset")[:3])

    @property
    def raw(self) -> Path:
        """Raw data set, in nnU-Net's format."""
        return self.root / "nnUNet_raw" / self.dataset

    @property
    def preprocessed(self) -> Path:
        """What nnU-Net's planning and preprocessing write."""
        return self.root / "nnUNet_preprocessed" / self.dataset

    @property
    def logs(self) -> Path:
        """Output of the commands, one file each."""
        return self.root / "logs"

    @property
    def picture(self) -> Path:
        """The picture drawn at the end."""
        return self.root / "predictions.png"

    @property
    def attention(self) -> Path:
        """Attention maps of the first test case."""
        return self.root / "attention.png"

    @property
    def report(self) -> Path:
        """The report about all models."""
        return self.root / "report.html"

    @property
    def page(self) -> Path:
        """The page that shows all of it in a browser."""
        return self.root / "index.html"

    def model(self, trainer: str, plans: str) -> Path:
        """Folder of a trained model, named as nnU-Net names it."""
        return self.root / "nnUNet_results" / self.dataset / f"{trainer}__{plans}__{self.configuration}"

    def predictions(self, system: str) -> Path:
        """Predicted test cases of a system."""
        return self.root / "predictions" / system

    def dataset_json(self) -> dict:
        """Content of the raw data set's `dataset.json`."""
        return json.loads((self.raw / "dataset.json").read_text())

    def cases(self, split: str) -> list[str]:
        """Names of the cases with a reference; `split` is Tr or Ts."""
        ending = self.dataset_json()["file_ending"]
        return sorted(path.name.removesuffix(ending) for path in (self.raw / f"labels{split}").glob(f"*{ending}"))

    def images(self, split: str, case: str) -> list[Path]:
        """Image files of a case in channel order; `split` is Tr or Ts."""
        ending = self.dataset_json()["file_ending"]
        return sorted((self.raw / f"images{split}").glob(f"{case}_[0-9][0-9][0-9][0-9]{ending}"))

    def environment(self) -> dict[str, str]:
        """nnU-Net's four variables, and numbers of processes that suit a small computer where none are set."""
        kept = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
        # passive: threads that wait for others sleep; spinning doubles the time where cores are shared
        processes = {
            "nnUNet_def_n_proc": "2",
            "nnUNet_n_proc_DA": "1",
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "passive",
        }
        return {
            **{name: str((self.root / name).resolve()) for name in kept},
            "nnUNet_extTrainer": str(plugin_folder()),
            **{name: os.environ.get(name, number) for name, number in processes.items()},
        }
