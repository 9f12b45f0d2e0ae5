"""Predictions of one loaded model from subsets of the modalities, one folder a subset."""

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from nnunet_ext.errors import InputError, UserError
from nnunet_ext.files.atomic import atomic_path, check_free, check_no_link, write_text_atomically
from nnunet_ext.files.channel_files import channel_files
from nnunet_ext.files.json_object import read_json_object
from nnunet_ext.files.written_image import check_written
from nnunet_ext.missing_modalities.fill_values import fill_values
from nnunet_ext.missing_modalities.presence import PRESENCE_FILE, read_presence
from nnunet_ext.missing_modalities.shapley import Channels
from nnunet_ext.plans.modalities import channel_names
from nnunet_ext.progress import track
from nnunet_ext.trained.loaded_model import PredictionChoices, load_model

SETTINGS_FILE = "predicted_with.json"


class SubsetPredictor:
    """A loaded model and the complete cases that it predicts from parts of.

    Args:
        choices: Model and how it predicts.
        images: Folder of complete cases.
        device: Where the network runs.

    Raises:
        UserError: Not a trained model, or the second stage of a cascade.
        InputError: A case lacks a channel, or its files cannot be used.
    """

    def __init__(self, choices: PredictionChoices, images: Path, device: torch.device):
        self.choices, self.images = choices, images
        self.model = load_model(choices, device)
        if self.model.is_second_stage:
            raise UserError("Subsets of the second stage of a cascade are not supported; use its first stage.")
        self.dataset_json = self.model.dataset_json
        self.names = channel_names(self.dataset_json)
        self.ending: str = self.dataset_json["file_ending"]
        self.cases = complete_cases(images, self.names, self.ending)
        self.values = fill_values(self.dataset_json, self.model.plans)

    def predict(self, subsets: Sequence[Channels], output: Path) -> Iterator[tuple[Channels, str, Path]]:
        """Predict every case from every subset into ``output/<subset>/<case>``; files that are there are kept.

        A prediction equals that of ``nnUNetv2_predict`` on files that ``nnunet_ext complete`` has made: a missing
        channel gets its raw value before nnU-Net's preprocessing, which crops and normalizes by what is there.

        Args:
            subsets: Channels to predict from.
            output: Folder; made where it is missing.

        Yields:
            Subset, case and file of each prediction.

        Raises:
            InputError: ``output`` holds predictions made another way.
        """
        self._claim(output)
        work = [(subset, case) for subset in subsets for case in self.cases]
        loaded: tuple[str, Any, dict[str, Any]] | None = None
        # a case at a time, so that its images are read once
        work.sort(key=lambda item: item[1])
        names = self.names
        for subset, case in track(work, "Predicting", name=lambda item: f"{item[1]} {subset_name(item[0], names)}"):
            file = output / subset_name(subset, self.names) / f"{case}{self.ending}"
            if not file.is_file():
                if loaded is None or loaded[0] != case:
                    loaded = (case, *self._read(case))
                check_no_link(output, Path(file.parent.name))
                file.parent.mkdir(exist_ok=True)
                self._predict_case(loaded[1], loaded[2], subset, file)
            yield subset, case, file

    def _claim(self, output: Path) -> None:
        """Say in ``output`` how its predictions are made; predictions of another kind are not mixed with these."""
        content = json.loads(json.dumps(asdict(self.choices) | {"images": str(self.images.resolve())}))
        file = output / SETTINGS_FILE
        if file.is_file():
            made_with = read_json_object(file)
            if made_with != content:
                other = [key for key in content if made_with.get(key) != content[key]]
                raise InputError(
                    f"{output} holds predictions of other {', '.join(other)} "
                    f"({', '.join(str(made_with.get(key)) for key in other)}). Choose another folder with -o."
                )
            return
        check_free(output)
        output.mkdir(parents=True, exist_ok=True)
        write_text_atomically(file, json.dumps(content, indent=4) + "\n")

    def _read(self, case: str) -> tuple[Any, dict[str, Any]]:
        return self.model.read_images([self.cases[case][channel] for channel in range(len(self.names))])

    def _predict_case(self, images: Any, properties: dict[str, Any], subset: Channels, file: Path) -> None:
        given = images.astype("float32")
        for channel, value in enumerate(self.values):
            if channel not in subset:
                given[channel] = value
        with atomic_path(file) as temporary:
            self.model.predict(given, deepcopy(properties), Path(str(temporary).removesuffix(self.ending)))
            check_written(temporary)


def subset_name(subset: Channels, names: Sequence[str]) -> str:
    """Name of a subset, and of its folder: ``"T1ce+FLAIR"``."""
    return "+".join(names[channel] for channel in subset)


def complete_cases(folder: Path, names: Sequence[str], file_ending: str) -> Mapping[str, Mapping[int, Path]]:
    """Files of every case of a folder in which no case lacks a channel.

    Raises:
        InputError: One does, or it did before ``nnunet_ext complete``, or files cannot be used.
    """
    cases = channel_files(folder, names, file_ending)
    present: Mapping[str, Sequence[str]] = {
        case: [names[channel] for channel in sorted(files)] for case, files in cases.items()
    }
    if (folder / PRESENCE_FILE).is_file():
        present = read_presence(folder)[1]
    problems = [
        f"{folder}: case {case} has {', '.join(has)} only. Subsets need cases with all of {', '.join(names)}."
        for case, has in present.items()
        if len(has) < len(names)
    ]
    if problems:
        raise InputError(problems)
    return cases
