"""Slices of all cases of a folder, as a table and figures: ``nnunet_ext slices``."""

import os
from pathlib import Path

import pandas as pd
import torch
from rich.console import Console
from rich.progress import track

from nnunet_ext.architectures.slice_network import SliceNetwork
from nnunet_ext.errors import InputError, UserError
from nnunet_ext.files.atomic import atomic_folder, check_free
from nnunet_ext.files.channel_files import channel_files
from nnunet_ext.plans.modalities import channel_names
from nnunet_ext.shells import command_line
from nnunet_ext.trained.loaded_model import PredictionChoices, load_model
from nnunet_ext.trained.slice_figure import draw_slices
from nnunet_ext.trained.slice_probabilities import CaseSlices, classified_regions, slices_of_case

TABLE = "slices.csv"


def write_slices(choices: PredictionChoices, images: Path, output: Path, device: torch.device) -> dict[str, CaseSlices]:
    """Predict the cases of a folder with one loaded model; write ``slices.csv`` and a figure a case.

    Args:
        choices: Model and how it predicts.
        images: Folder of images, named as for ``nnUNetv2_predict``.
        output: Folder to write; must not exist, or be empty.
        device: Where the network runs.

    Returns:
        Case -> its slices.

    Raises:
        UserError: The model has no slice classifier, or is the second stage of a cascade.
        InputError: A case lacks a channel, or ``output`` holds something.
    """
    check_free(output)
    model = load_model(choices, device)
    if not isinstance(model.network, SliceNetwork) or model.network.classifier is None:
        raise UserError(
            f"{choices.model} has no slice classifier. Models of BiFPNClassifierTrainer, NestedUNetClassifierTrainer "
            "and HostClassifierTrainer have one."
        )
    if model.is_second_stage:
        raise UserError("Slices of the second stage of a cascade are not supported; use its first stage.")
    regions = classified_regions(Path(choices.model) / "dataset.json")
    names = channel_names(model.dataset_json)
    cases = channel_files(images, names, model.dataset_json["file_ending"])
    complete = command_line(["nnunet_ext", "complete", images, "OUT", "-m", choices.model], os.environ)
    lacking = [
        f"{images}: case {case} lacks {name}. Run: {complete}"
        for case, files in cases.items()
        for channel, name in enumerate(names)
        if channel not in files
    ]
    if lacking:
        raise InputError(lacking)
    with atomic_folder(output) as new:
        result = {}
        console = Console(stderr=True)
        for case, files in track(cases.items(), "Predicting", console=console, transient=True):
            result[case] = slices_of_case(model, [files[channel] for channel in range(len(names))], regions, device)
            draw_slices(result[case], case, new / f"{case}.png")
        pd.concat([slices.table(case) for case, slices in result.items()]).to_csv(new / TABLE, index=False)
    return result
