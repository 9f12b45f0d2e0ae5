"""Section of the report about how sure the models are: reliability diagrams, and the flagged cases."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.markdown import format_number
from nnunet_ext.evaluation.overlays import overlays, region_colours
from nnunet_ext.evaluation.uncertainty_folder import UncertaintyFolder, read_uncertainty_folder
from nnunet_ext.labels.dataset_labels import DatasetLabels
from nnunet_ext.report.section import OVERLAY_DPI, Cell, Picture, Section, Table, picture
from nnunet_ext.uncertainty.calibration_file import read_calibration
from nnunet_ext.uncertainty.reliability_figure import reliability_figure

NUM_SHOWN = 10  # flagged cases with a picture
ANCHOR = "uncertainty"


class ScoredFiles(NamedTuple):
    """What pictures of cases are made of.

    Attributes:
        labels: The data set's labels.
        references: Case -> label image.
        predictions: Case -> label image.
        images: Folder of images; None where it was not found.
    """

    labels: DatasetLabels
    references: Mapping[str, Path]
    predictions: Mapping[str, Path]
    images: Path | None


def uncertainty_section(
    uncertainty: Path | None, calibration: Path | None, models: list[ScoredFiles]
) -> Section | None:
    """The section; None where nothing is known.

    Args:
        uncertainty: Folder that ``nnunet_ext uncertainty`` wrote, or None.
        calibration: File that ``nnunet_ext calibrate`` wrote, or None.
        models: Files of the models on the page; a case is drawn with the first that has it.

    Raises:
        InputError: One of the two is something else.
    """
    if uncertainty is None and calibration is None:
        return None
    section = Section("How sure the models are", ANCHOR)
    if calibration is not None:
        _add_calibration(section, calibration)
    if uncertainty is not None:
        _add_cases(section, read_uncertainty_folder(uncertainty), models)
    return section


def _add_calibration(section: Section, path: Path) -> None:
    found = read_calibration(path)
    section.how = [
        f"Calibration {path.name}: each fold with the temperatures of the others, {found.voxels} voxels in boxes "
        f"around reference and prediction, {found.margin} voxels wider.",
        *(f"Temperature of {name}: {value:.2f}" for name, value in found.named(found.temperatures).items()),
    ]
    rows = [
        [f"{region}, {words}", *(format_number(value) for value in (scores.ece, scores.brier, scores.nll))]
        for region, held_out in found.held_out.items()
        for words, scores in (("as saved", held_out.before), ("calibrated", held_out.after))
    ]
    section.tables.append(Table(["", "ECE", "Brier score", "NLL"], rows, "Calibration on folds left out"))
    diagrams = picture(reliability_figure(found), "Reliability diagrams, one panel a region")
    section.diagrams.append(replace(diagrams, is_wide=len(found.regions) > 1))


def _add_cases(section: Section, maps: UncertaintyFolder, models: list[ScoredFiles]) -> None:
    table = maps.table().sort_values("expected_dice", kind="stable")
    flagged = table[table["flagged"]]
    cases = [str(case) for case in flagged["case"].unique()]
    pictures = _pictures(section, cases[:NUM_SHOWN], maps, models)
    section.flagged = Table(
        ["Case", "Region", "Expected Dice", "Volume", "90 % of the members", "Mean confidence"],
        [_row(row, pictures) for row in flagged.to_dict("records")],
        f"{len(cases)} of {table['case'].nunique()} cases are flagged in a region ({maps.folder.name}), the least "
        "certain first",
        wide=True,
        long=True,
    )
    section.overlays = list(pictures.values())


def _row(row: Mapping[str, object], pictures: Mapping[str, Picture]) -> list[str | Cell]:
    case = str(row["case"])
    numbers = {
        name: format_number(float(row[name]))  # type: ignore[arg-type]
        for name in ("expected_dice", "volume", "volume_low", "volume_high", "mean_confidence")
    }
    return [
        Cell(case, pictures[case].anchor if case in pictures else ""),
        str(row["region"]),
        numbers["expected_dice"],
        numbers["volume"],
        f"{numbers['volume_low']} to {numbers['volume_high']}",
        numbers["mean_confidence"],
    ]


def _pictures(
    section: Section, cases: list[str], maps: UncertaintyFolder, models: list[ScoredFiles]
) -> dict[str, Picture]:
    pictures: dict[str, Picture] = {}
    for index, case in enumerate(cases):
        files = next((model for model in models if case in model.predictions and model.images is not None), None)
        if files is None or files.images is None:
            section.notes.append(f"No picture of {case}: no model on this page has predictions and images of it.")
            continue
        section.legend = region_colours(files.labels)
        try:
            figure = overlays(
                {"": case},
                files.images,
                references=files.references,
                predictions=files.predictions,
                labels=files.labels,
                with_legend=False,
                maps=maps,
            )
        except InputError as error:  # images are the one input that a report can do without
            section.notes.append(f"No picture of {case}: {error}")
            continue
        pictures[case] = picture(figure, f"{case}, with the entropy", f"{ANCHOR}-case-{index}", OVERLAY_DPI)
    return pictures
