"""Data sets of the studies in docs/results.md: two generated ones, in nnUNet_raw, and the split of each study.

    python benchmarks/study_data.py                       # 931 and 932
    python benchmarks/study_data.py Dataset301_Glioma glioma_0005,glioma_0006     # one that is there: who is held out

A split is one fold whose validation cases are the last four, or those with one of the words in their name: all
parts of a patient can then be on one side.
"""

import json
import os
import sys
from pathlib import Path

from nnunet_ext.datasets.phantom import Situation, write_phantom_dataset

SITUATIONS: dict[str, tuple[Situation, int]] = {
    "Dataset931_SmallLesions": ("small_lesions", 14),  # ten to train
    "Dataset932_OneModality": ("one_modality", 9),  # five to train: few cases
}
HELD_OUT = 4


def write_split(name: str, held_out: str = "") -> None:
    """Write ``splits_final.json`` of one fold.

    Args:
        name: Data set in nnUNet_raw.
        held_out: Parts of the names of the validation cases, separated by commas; empty for the last four.
    """
    labels = Path(os.environ["nnUNet_raw"], name, "labelsTr")
    cases = sorted(path.name.removesuffix(".nii.gz") for path in labels.glob("*.nii.gz"))
    words = held_out.split(",") if held_out else cases[-HELD_OUT:]
    validation = [case for case in cases if any(word in case for word in words)]
    split = [{"train": [case for case in cases if case not in validation], "val": validation}]
    folder = Path(os.environ["nnUNet_preprocessed"], name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "splits_final.json").write_text(json.dumps(split, indent=4))


def main() -> None:
    """Write data sets and splits."""
    if len(sys.argv) > 1:
        write_split(*sys.argv[1:])
        return
    for name, (situation, count) in SITUATIONS.items():
        folder = Path(os.environ["nnUNet_raw"], name)
        if not folder.exists():
            write_phantom_dataset(folder, num_cases=count, num_test_cases=0, situation=situation)
        write_split(name)


if __name__ == "__main__":
    main()
