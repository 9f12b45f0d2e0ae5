"""``nnunet_ext postprocess determine``: thresholds from cross-validation, as nnU-Net's ``postprocessing.pkl``."""

import json
import pickle
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.conventions import CONVENTIONS, default_convention
from nnunet_ext.evaluation.evaluate import pair_files, write_csv
from nnunet_ext.evaluation.lesions import LesionSettings
from nnunet_ext.files.atomic import atomic_files, write_text_atomically
from nnunet_ext.files.figure import save_figure
from nnunet_ext.labels.dataset_labels import DatasetLabels, find_dataset_json, read_dataset_labels
from nnunet_ext.parallel import map_cases
from nnunet_ext.postprocessing.case import LesionScore, RuledCase, read_cropped_pair
from nnunet_ext.postprocessing.held_out import Gain, mean_over_cases, mean_score
from nnunet_ext.postprocessing.joint import check_is_cheap, search_jointly
from nnunet_ext.postprocessing.rules import rules_for
from nnunet_ext.postprocessing.search import Curve, Search, find_cliff, search_in_turn, threshold_series
from nnunet_ext.postprocessing.small_components import DEFAULT_CONNECTIVITY
from nnunet_ext.progress import track


@dataclass(frozen=True)
class Postprocessing:
    """What was determined.

    Args:
        search: Curves of the rules, and mean score before and after.
        convention: Convention for empty regions.
        warnings: What the user should look at before applying it.
        lesions: Definition of the lesion-wise Dice that thresholds are chosen by; None: by Dice.
    """

    search: Search
    convention: str
    warnings: tuple[str, ...]
    lesions: LesionSettings | None = None

    @property
    def score(self) -> str:
        """What thresholds are chosen by, for people."""
        return _score_words(self.lesions)

    @property
    def how(self) -> str:
        """What decides how empty regions count: the convention, or the definition of the lesion-wise Dice."""
        return self.lesions.name if self.lesions else self.convention

    @property
    def chosen(self) -> list[Curve]:
        """Curves of the rules that are applied."""
        return [curve for curve in self.search.curves if curve.applied]


def determine_postprocessing(
    prediction: Path,
    reference: Path,
    output: Path,
    *,
    dataset_json: Path | None = None,
    convention: str | None = None,
    thresholds: Sequence[int] | None = None,
    connectivity: int = DEFAULT_CONNECTIVITY,
    replacements: Mapping[str, int] | None = None,
    erase_largest: bool = False,
    joint: bool = False,
    lesions: LesionSettings | None = None,
    num_processes: int | None = None,
) -> Postprocessing:
    """Determine post-processing on predictions that were not trained on.

    Rules are tried one after another, each on the result of those before. A rule's threshold is the one with the best
    mean Dice over all regions; the rule enters only if choosing the threshold in this way improves the mean Dice of
    cases that it is not chosen on. Beside ``output`` come a ``.json`` for people, and the curves as ``_curves.csv`` and
    ``_curves.png``. Where no rule improves the score, ``output`` holds no function and changes nothing.

    Args:
        prediction: Folder of predictions of all cases, as ``nnUNetv2_accumulate_crossval_results`` collects them.
        reference: Folder of references.
        output: ``postprocessing.pkl`` to write.
        dataset_json: The data set's ``dataset.json``; None looks for it in and above the two folders.
        convention: Name of one of ``CONVENTIONS``; None takes the data set's default.
        thresholds: Thresholds to try, in voxels; None tries those of :func:`threshold_series`, up to the largest
            component that a rule can remove.
        connectivity: 6, 18 or 26, see :func:`nnunet_ext.postprocessing.remove_small_components`.
        replacements: Region name -> label it gets where it is small; None: see :func:`rules_for`.
        erase_largest: Let rules for components remove the largest component of a region too.
        joint: Search all combinations of thresholds, where there are not too many, and accept the best as a whole.
        lesions: Choose thresholds by lesion-wise Dice, ``"brats2023"`` or ``"brats2025"``; None: by Dice.
        num_processes: Parallel processes to read with; None takes one a processor, at most 8.

    Raises:
        InputError: Unknown names, or files that cannot be used, all problems listed; nothing is written.
    """
    if output.suffix != ".pkl":
        raise InputError(f"{output}: must end in .pkl, as nnU-Net's postprocessing.pkl does.")
    if connectivity not in (6, 18, 26):
        raise InputError(f"The connectivity must be 6, 18 or 26, not {connectivity}.")
    if thresholds is not None and (not thresholds or min(thresholds) < 1):
        raise InputError("Thresholds must be numbers of voxels of at least 1.")
    if lesions is not None and lesions.definition == "detection":
        raise InputError("Detection has no lesion-wise Dice to choose thresholds by: take brats2023 or brats2025.")
    labels = read_dataset_labels(dataset_json or find_dataset_json([prediction, reference]))
    lesions = lesions and lesions.of_dataset(labels)
    convention = convention or default_convention(labels)
    if convention not in CONVENTIONS:
        raise InputError(f"Unknown convention '{convention}'; there are {', '.join(CONVENTIONS)}.")
    _check_replacements(replacements, labels)
    references, predictions = pair_files(reference, prediction, labels.file_ending)
    names = sorted(predictions)
    if len(names) < 2:
        raise InputError(f"{prediction}: one case; rules are judged on cases left out, which takes at least two.")
    rules = rules_for(labels, connectivity, replacements, erase_largest)
    if thresholds and joint:
        check_is_cheap([(0, *thresholds)] * len(rules), len(names))
    arguments = [(references[case], predictions[case], labels) for case in names]
    pairs = map_cases(read_cropped_pair, arguments, num_processes, "Reading")
    if thresholds:
        steps = [(0, *sorted(set(thresholds)))] * len(rules)
    else:
        largest = [max(rule.removable_sizes(pair.prediction).max(initial=0) for pair in pairs) for rule in rules]
        steps = [threshold_series(int(size)) for size in largest]
    cases = [
        RuledCase(
            reference=pair.reference,
            prediction=pair.prediction,
            rules=rules,
            thresholds=steps,
            labels=labels,
            convention=convention,
            lesion_score=LesionScore(lesions, labels, pair.spacing) if lesions else None,
        )
        for pair in pairs
    ]
    if joint:
        check_is_cheap(steps, len(names))
        search = search_jointly(cases, rules, steps)
    else:
        search = search_in_turn(
            cases, rules, steps, lambda indices: track(indices, "Searching", name=lambda index: rules[index].name)
        )
    warnings = _warnings(search, names, thresholds is not None, _score_words(lesions))
    result = Postprocessing(search, convention, warnings, lesions)
    _write(result, output, len(names), labels)
    return result


def parse_thresholds(text: str | None) -> tuple[int, ...] | None:
    """Thresholds of the command line, ``"5,10,50"``; None stays None.

    Raises:
        InputError: Something else than whole numbers.
    """
    if text is None:
        return None
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


def _check_replacements(replacements: Mapping[str, int] | None, labels: DatasetLabels) -> None:
    names = {region.name for region in labels.regions}
    for name, label in (replacements or {}).items():
        if name not in names:
            raise InputError(f"No region or label '{name}'; dataset.json has {', '.join(sorted(names))}.")
        if label not in labels.values:
            raise InputError(f"'{name}' cannot become {label}; dataset.json has the labels {sorted(labels.values)}.")


def _score_words(lesions: LesionSettings | None) -> str:
    return "lesion-wise Dice" if lesions else "Dice"


def _warnings(search: Search, names: Sequence[str], thresholds_given: bool, score: str) -> tuple[str, ...]:
    warnings = []
    for curve in search.curves:
        if curve.best is None or curve.plateau is None:
            continue
        first, last = curve.thresholds[1], curve.thresholds[-1]
        if thresholds_given and curve.best == first > 2:
            warnings.append(
                f"{curve.rule.name}: the best threshold is the first that was tried; try some below {first}."
            )
        if thresholds_given and curve.best == last:
            warnings.append(
                f"{curve.rule.name}: the best threshold is the last that was tried; try some above {last}, or leave "
                "out --thresholds."
            )
        if not thresholds_given and curve.plateau[1] == last:  # where nothing is left to remove
            what = "keeps the largest component alone in" if curve.rule.keep_largest else "removes the region from"
            warnings.append(f"{curve.rule.name}: from {curve.plateau[0]} voxels on it {what} every case.")
        cliff = find_cliff(curve) if curve.applied else None
        if cliff is not None:
            warnings.append(
                f"{curve.rule.name}: {curve.best} voxels are close to a cliff. At {cliff.threshold} voxels the mean "
                f"{score} is {cliff.loss:.4f} below that without the rule, most of all due to case {names[cliff.case]}."
            )
    return tuple(warnings)


def _write(result: Postprocessing, output: Path, num_cases: int, labels: DatasetLabels) -> None:
    functions = [curve.rule.function for curve in result.chosen]
    arguments = [{**curve.rule.kwargs, "min_voxels": curve.best} for curve in result.chosen]
    key = "lesion_dice" if result.lesions else "dice"
    description = {
        "convention": result.convention,
        **({"lesions": result.lesions.name} if result.lesions else {}),
        "num_cases": num_cases,
        f"mean_{key}_before": result.search.before,
        f"mean_{key}_after": result.search.after,
        "held_out_gain": _describe_gain(result.search.held_out),
        "warnings": result.warnings,
        "rules": [_describe(curve, key) for curve in result.search.curves],
    }
    with atomic_files(output.parent) as new:
        write_csv(_table(result, labels), new / f"{output.stem}_curves.csv")
        save_figure(_plot(result), new / f"{output.stem}_curves.png")
        write_text_atomically(new / f"{output.stem}.json", json.dumps(description, indent=2) + "\n")
        (new / output.name).write_bytes(pickle.dumps((functions, arguments)))


def _describe(curve: Curve, key: str) -> dict[str, Any]:
    kwargs = dict(curve.rule.kwargs)
    without = Counter(str(threshold or "none") for threshold in curve.held_out_thresholds)
    return {
        "function": curve.rule.function.__name__,
        "region": curve.rule.region.name,
        "labels": list(kwargs.pop("region")),
        **kwargs,
        "applied": curve.applied,
        "min_voxels": curve.best,
        "same_score_from_to": curve.plateau,
        "cases_changed": curve.cases_changed[curve.best_index],
        f"mean_{key}_before": float(curve.scores[0]),
        f"mean_{key}_at_best_threshold": float(curve.scores[1:].max()),
        **_describe_dice(curve, key),
        "in_sample_gain": curve.in_sample,
        "held_out_gain": _describe_gain(curve.held_out),
        "thresholds_with_one_case_left_out": dict(without.most_common()),
    }


def _describe_dice(curve: Curve, key: str) -> dict[str, float]:
    """What the best threshold does to Dice where it is chosen by another score."""
    if key == "dice":
        return {}
    dice = mean_score(mean_over_cases(curve.case_dice))
    return {"mean_dice_before": float(dice[0]), "mean_dice_at_same_threshold": float(dice[curve.best_index])}


def _describe_gain(gain: Gain | None) -> dict[str, float] | None:
    return None if gain is None else {"mean": gain.mean, "low": gain.low, "high": gain.high}


def _table(result: Postprocessing, labels: DatasetLabels) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "function": curve.rule.function.__name__,
            "region": curve.rule.region.name,
            "min_voxels": threshold,
            **_row(curve.case_dice[index], "dice", labels),
            **(_row(curve.case_scores[index], "lesion_dice", labels) if result.lesions else {}),
            "cases_changed": curve.cases_changed[index],
            "best": threshold == curve.best,
            "applied": curve.applied and threshold == curve.best,
            "convention": result.convention,
            **({"lesions": result.lesions.name} if result.lesions else {}),
        }
        for curve in result.search.curves
        for index, threshold in enumerate(curve.thresholds)
    )


def _row(scores: np.ndarray, key: str, labels: DatasetLabels) -> dict[str, float]:
    """Means of a score of each case and region, over all regions and of each."""
    of_region = mean_over_cases(scores)
    return {
        f"mean_{key}": float(mean_score(of_region)),
        **{f"{key} {region.name}": float(of_region[k]) for k, region in enumerate(labels.regions)},
    }


def _plot(result: Postprocessing) -> Figure:
    """Mean score over thresholds, a panel a rule; that without the rule is dashed, the best threshold marked.

    Where thresholds are chosen by lesion-wise Dice, Dice is drawn too: what helps one can harm the other.
    """
    curves = result.search.curves
    columns = next(number for number in (1, 2, 3) if number**2 >= len(curves) or number == 3)
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * rows), layout="constrained")
    for position, curve in enumerate(curves, start=1):
        axes = figure.add_subplot(rows, columns, position)
        axes.plot(curve.thresholds[1:], curve.scores[1:], marker=".", label=result.score if result.lesions else None)
        axes.axhline(curve.scores[0], color="tab:blue" if result.lesions else "grey", linestyle="--", label="without")
        if result.lesions:
            dice = mean_score(mean_over_cases(curve.case_dice))
            axes.plot(
                curve.thresholds[1:], dice[1:], marker=".", color="tab:orange", label=f"Dice ({result.convention})"
            )
            axes.axhline(dice[0], color="tab:orange", linestyle="--")
        if curve.best is not None:
            colour, word = ("tab:green", "applied") if curve.applied else ("tab:red", "refused")
            axes.axvline(curve.best, color=colour, label=f"{word}: {curve.best}")
        verb = curve.rule.function.__name__.replace("_", " ")
        gain = "" if curve.held_out is None else f"\nheld out: {curve.held_out.mean:+.4f}"
        axes.set_title(f"{verb}: {curve.rule.region.name}{gain}", fontsize=9)
        axes.set(xscale="log", xlabel="min_voxels", ylabel=f"mean {result.score} ({result.how})")
        shown = curve.thresholds[1 :: -(-len(curve.thresholds) // 7)]  # numbers in full, as many as there is room for
        axes.set_xticks(shown, [str(threshold) for threshold in shown])
        axes.set_xticks([], minor=True)
        axes.legend(fontsize=8)
    return figure
