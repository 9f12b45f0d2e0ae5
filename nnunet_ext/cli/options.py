"""Options that several commands share."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nnunet_ext.errors import InputError, UserError

if TYPE_CHECKING:
    import torch

    from nnunet_ext.evaluation.lesions import LesionDefinition, LesionSettings, LesionTask

Device = Annotated[str, typer.Option("-device", "--device", help="cuda or cpu.")]
NumProcesses = Annotated[
    int | None,
    typer.Option("-np", "--num-processes", min=1, help="Parallel processes; default: processors, at most 8."),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print the result as JSON, alone on standard output; notes go to standard error."),
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
Lesions = Annotated[
    Literal["brats2023", "brats2025", "detection"] | None,
    typer.Option(
        "--lesions",
        help="Lesion-wise scores: brats2023 (2023, 2024, GoAT), brats2025 (2025, 2026; panoptica's), or detection "
        "alone, which the others include: lesions found, missed and surplus.",
    ),
]
Task = Annotated[
    Literal["gli", "men", "met", "ped", "ssa"] | None,
    typer.Option(
        "--task",
        help="Task whose rules --lesions brats2023 takes. Default by the regions: ped (cystic component), men (gross "
        "tumour volume alone), else gli.",
    ),
]
MatchDice = Annotated[
    float | None,
    typer.Option("--match-dice", help="Detection: smallest Dice of two lesions that belong together. Default: 1e-6."),
]
MinLesion = Annotated[
    float | None,
    typer.Option("--min-lesion-mm3", help="Detection: smaller lesions of both sides are left out. Default: 0."),
]
NSD = Annotated[
    list[str] | None,
    typer.Option(
        "--nsd",
        metavar="[REGION=]MM",
        help="Surface Dice within MM, by area and by border voxels; for one region with its name in front. Repeatable.",
    ),
]


def lesion_settings(
    definition: "LesionDefinition | None",
    task: "LesionTask | None",
    match_dice: float | None = None,
    min_lesion_mm3: float | None = None,
) -> "LesionSettings | None":
    """Settings from the options; None where none of them is given. Those of detection alone ask for detection.

    Raises:
        UserError: A task without a definition, or a value that the settings refuse.
    """
    from nnunet_ext.evaluation.lesions import LesionSettings

    of_detection = {"match_dice": match_dice, "min_lesion_mm3": min_lesion_mm3}
    given = {name: value for name, value in of_detection.items() if value is not None}
    if definition is None and task is not None:
        raise InputError(f"--task {task} is a task of --lesions brats2023: give both.")
    if definition is None and not given:
        return None
    return LesionSettings(definition or "detection", task, **given)


def torch_device(name: str) -> "torch.device":
    """PyTorch's device of the option ``--device``.

    Raises:
        UserError: A GPU is asked for, and there is none.
    """
    import torch

    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("There is no GPU; add --device cpu.")
    return torch.device(name)


def raw_folder() -> Path:
    """The folder that nnUNet_raw names.

    Raises:
        UserError: It is not set.
    """
    raw = os.environ.get("nnUNet_raw")
    if not raw:
        raise UserError("The environment variable nnUNet_raw is not set. Type: export nnUNet_raw=FOLDER")
    return Path(raw)
