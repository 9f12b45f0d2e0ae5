"""``nnunet_ext postprocess determine``: thresholds from cross-validation, as nnU-Net's ``postprocessing.pkl``."""

import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.case import read_pair
from nnunet_ext.evaluation.conventions import CONVENTIONS, default_convention
from nnunet_ext.evaluation.evaluate import pair_files, write_csv
from nnunet_ext.evaluation.hausdorff import bounding_box
from nnunet_ext.files.atomic import atomic_path, write_text_atomically
from nnunet_ext.files.figure import save_figure
from nnunet_ext.labels.dataset_labels import DatasetLabels, find_dataset_json, read_dataset_labels
from nnunet_ext.parallel import map_cases
from nnunet_ext.postprocessing.search import THRESHOLDS, Curve, rules_for, search
from nnunet_ext.postprocessing.small_components import DEFAULT_CONNECTIVITY


@dataclass(frozen=True)
class Postprocessing:
    """What was determined: a curve a rule in the order of application, and mean Dice before and after."""

    curves: list[Curve]
    before: float
    after: float
    convention: str

    @property
    def chosen(self) -> list[Curve]:
        """Rules that improve the score."""
        return [curve for curve in self.curves if curve.best is not None]


def determine_postprocessing(
    prediction: Path,
    reference: Path,
    output: Path,
    *,
    dataset_json: Path | None = None,
    convention: str | None = None,
    thresholds: Sequence[int] = THRESHOLDS,
    connectivity: int = DEFAULT_CONNECTIVITY,
    replacements: Mapping[str, int] | None = None,
    num_processes: int | None = None,
) -> Postprocessing:
    """Determine post-processing on predictions that were not trained on.

    Rules are tried one after another, each on the result of those before; a rule enters only if a threshold improves
    the mean Dice over all regions. Beside ``output`` come a ``.json`` for people, and the curves as ``_curves.csv`` and
    ``_curves.png``. Where no rule improves the score, ``output`` holds no function and changes nothing.

    Args:
        prediction: Folder of predictions of all cases, as ``nnUNetv2_accumulate_crossval_results`` collects them.
        reference: Folder of references.
        output: ``postprocessing.pkl`` to write.
        dataset_json: The data set's ``dataset.json``; None looks for it in and above the two folders.
        convention: Name of one of ``CONVENTIONS``; None takes the data set's default.
        thresholds: Thresholds to try, in voxels.
        connectivity: 6, 18 or 26, see :func:`nnunet_ext.postprocessing.remove_small_components`.
        replacements: Region name -> label it gets where it is small; None: see :func:`rules_for`.
        num_processes: Parallel processes to read with; None takes one a processor, at most 8.

    Raises:
        InputError: Unknown names, or files that cannot be used, all problems listed; nothing is written.
    """
    if output.suffix != ".pkl":
        raise InputError(f"{output}: must end in .pkl, as nnU-Net's postprocessing.pkl does.")
    if connectivity not in (6, 18, 26):
        raise InputError(f"The connectivity must be 6, 18 or 26, not {connectivity}.")
    if not thresholds or min(thresholds) < 1:
        raise InputError("Thresholds must be numbers of voxels of at least 1.")
    labels = read_dataset_labels(dataset_json or find_dataset_json([prediction, reference]))
    convention = convention or default_convention(labels)
    if convention not in CONVENTIONS:
        raise InputError(f"Unknown convention '{convention}'; there are {', '.join(CONVENTIONS)}.")
    _check_replacements(replacements, labels)
    references, predictions = pair_files(reference, prediction, labels.file_ending)
    arguments = [(references[case], predictions[case], labels) for case in sorted(predictions)]
    pairs = map_cases(read_cropped_pair, arguments, num_processes, "Reading")

    curves = []
    rules = rules_for(labels, connectivity, replacements)
    for rule in track(rules, "Searching", console=Console(stderr=True), transient=True):
        curve = search(rule, pairs, labels, convention, thresholds)
        curves.append(curve)
        if curve.best is not None:
            pairs = [(truth, rule.apply(predicted, curve.best)) for truth, predicted in pairs]
    last = curves[-1]
    after = last.scores.max() if last.best is not None else last.scores[0]
    result = Postprocessing(curves, float(curves[0].scores[0]), float(after), convention)
    _write(result, output, len(pairs), labels)
    return result


def parse_thresholds(text: str | None) -> tuple[int, ...]:
    """Thresholds of the command line, ``"5,10,50"``; None gives the default ones.

    Raises:
        InputError: Something else than whole numbers.
    """
    if text is None:
        return THRESHOLDS
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise InputError(f"--thresholds {text}: must be whole numbers, separated by commas.") from None


def parse_replacements(assignments: Sequence[str] | None) -> dict[str, int] | None:
    """Replacements of the command line, ``["enhancing tumor=1"]``; None gives the default ones.

    Raises:
        InputError: An entry is not ``REGION=LABEL``.
    """
    if not assignments:
        return None
    replacements = {}
    for assignment in assignments:
        name, separator, label = assignment.rpartition("=")
        if not separator or not label.strip().isdecimal():
            raise InputError(f"--replace {assignment}: must be REGION=LABEL, for example 'enhancing tumor=1'.")
        replacements[name.strip()] = int(label)
    return replacements


def read_cropped_pair(reference: Path, prediction: Path, labels: DatasetLabels) -> tuple[np.ndarray, np.ndarray]:
    """Label maps of a case, ``(Z, Y, X)``, cropped to what is not background in either (components do not change).

    Raises:
        InputError: A file cannot be used, or the two do not fit together.
    """
    images, problems = read_pair(reference, prediction, labels)
    if problems:
        raise InputError(problems)
    truth, predicted = (np.atleast_3d(image.labels.T).T for image in images)  # 2d: (1, Y, X), as nnU-Net has it
    foreground = (truth > 0) | (predicted > 0)
    box = bounding_box(foreground) if foreground.any() else (slice(0, 1),) * 3
    return truth[box].copy(), predicted[box].copy()


def _check_replacements(replacements: Mapping[str, int] | None, labels: DatasetLabels) -> None:
    names = {region.name for region in labels.regions}
    for name, label in (replacements or {}).items():
        if name not in names:
            raise InputError(f"No region or label '{name}'; dataset.json has {', '.join(sorted(names))}.")
        if label not in labels.values:
            raise InputError(f"'{name}' cannot become {label}; dataset.json has the labels {sorted(labels.values)}.")


def _write(result: Postprocessing, output: Path, num_cases: int, labels: DatasetLabels) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    functions = [curve.rule.function for curve in result.chosen]
    arguments = [{**curve.rule.kwargs, "min_voxels": curve.best} for curve in result.chosen]
    description = {
        "convention": result.convention,
        "num_cases": num_cases,
        "mean_dice_before": result.before,
        "mean_dice_after": result.after,
        "rules": [_describe(curve) for curve in result.curves],
    }
    write_csv(_table(result, labels), output.with_name(f"{output.stem}_curves.csv"))
    save_figure(_plot(result), output.with_name(f"{output.stem}_curves.png"))
    write_text_atomically(output.with_suffix(".json"), json.dumps(description, indent=2) + "\n")
    with atomic_path(output) as temporary:
        temporary.write_bytes(pickle.dumps((functions, arguments)))


def _describe(curve: Curve) -> dict[str, Any]:
    chosen = curve.thresholds.index(curve.best) if curve.best is not None else 0
    return {
        "function": curve.rule.function.__name__,
        "region": curve.rule.region.name,
        **curve.rule.kwargs,
        "applied": curve.best is not None,
        "min_voxels": curve.best,
        "same_score_from_to": curve.plateau,
        "cases_changed": curve.cases_changed[chosen],
        "mean_dice_before": float(curve.scores[0]),
        "mean_dice_at_best_threshold": float(curve.scores[1:].max()),
    }


def _table(result: Postprocessing, labels: DatasetLabels) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "function": curve.rule.function.__name__,
            "region": curve.rule.region.name,
            "min_voxels": threshold,
            "mean_dice": curve.scores[index],
            **{f"dice {r.name}": curve.region_scores[index, k] for k, r in enumerate(labels.regions)},
            "cases_changed": curve.cases_changed[index],
            "chosen": threshold == curve.best,
            "convention": result.convention,
        }
        for curve in result.curves
        for index, threshold in enumerate(curve.thresholds)
    )


def _plot(result: Postprocessing) -> Figure:
    """Mean Dice over thresholds, a panel a rule; the score without the rule is dashed, the chosen threshold marked."""
    columns = min(3, len(result.curves))
    rows = -(-len(result.curves) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, curve in zip(panels, result.curves, strict=False):
        axes.plot(curve.thresholds[1:], curve.scores[1:], marker=".")
        axes.axhline(curve.scores[0], color="grey", linestyle="--", label="without")
        if curve.best is not None:
            axes.axvline(curve.best, color="tab:green", label=f"chosen: {curve.best}")
        verb = curve.rule.function.__name__.replace("_", " ")
        axes.set_title(f"{verb}: {curve.rule.region.name}", fontsize=9)
        axes.set(xscale="log", xlabel="min_voxels", ylabel=f"mean Dice ({result.convention})")
        axes.legend(fontsize=8)
    for axes in list(panels):
        axes.remove()
    return figure
