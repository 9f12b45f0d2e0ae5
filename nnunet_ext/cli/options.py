"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

NumProcesses = Annotated[
    int | None,
    typer.Option("-np", "--num-processes", min=1, help="Parallel processes; default: processors, at most 8."),
]
DatasetJson = Annotated[
    Path | None, typer.Option("--dataset-json", help="dataset.json; default: looked for in and above the folders.")
]
HD95 = Annotated[
    Literal["pooled", "directed", "both"],
    typer.Option(
        "--hd95", help="pooled: MedPy's (nnU-Net v1). directed: surface-distance's (BraTS 2023). both: a column each."
    ),
]
Convention = Annotated[
    Literal["brats2020", "brats2018", "nan"] | None,
    typer.Option(
        "--convention",
        help="What empty regions count: brats2020 (both empty: Dice 1, HD95 0; one empty: 0 and 373.12866 mm), "
        "brats2018 (HD95 left out), nan (nnU-Net's: both empty left out). "
        "Default: brats2020 for data sets with the BraTS regions, else nan.",
    ),
]
