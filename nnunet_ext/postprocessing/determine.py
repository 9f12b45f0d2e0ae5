"""``nnunet_ext postprocess determine``: thresholds from cross-validation, as nnU-Net's ``postprocessing.pkl``."""

import json
import pickle
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track

from nnunet_ext.errors import InputError
from nnunet_ext.evaluation.conventions import CONVENTIONS, default_convention
from nnunet_ext.evaluation.evaluate import pair_files, write_csv
from nnunet_ext.files.atomic import atomic_path, write_text_atomically
from nnunet_ext.files.figure import save_figure
from nnunet_ext.labels.dataset_labels import DatasetLabels, find_dataset_json, read_dataset_labels
from nnunet_ext.parallel import map_cases
from nnunet_ext.postprocessing.case import RuledCase, read_cropped_pair
from nnunet_ext.postprocessing.held_out import Gain
from nnunet_ext.postprocessing.joint import check_is_cheap, search_jointly
from nnunet_ext.postprocessing.rules import rules_for
from nnunet_ext.postprocessing.search import Curve, Search, find_cliff, search_in_turn, threshold_series
from nnunet_ext.postprocessing.small_components import DEFAULT_CONNECTIVITY


@dataclass(frozen=True)
class Postprocessing:
    """What was determined.

    Args:
        search: Curves of the rules, and mean Dice before and after.
        convention: Convention for empty regions.
        warnings: What the user should look at before applying it.
    """

    search: Search
    convention: str
    warnings: tuple[str, ...]

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
    labels = read_dataset_labels(dataset_json or find_dataset_json([prediction, reference]))
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
        largest = [max(rule.removable_sizes(pair[1]).max(initial=0) for pair in pairs) for rule in rules]
        steps = [threshold_series(int(size)) for size in largest]
    cases = [RuledCase(*pair, rules=rules, thresholds=steps, labels=labels, convention=convention) for pair in pairs]
    if joint:
        check_is_cheap(steps, len(names))
        search = search_jointly(cases, rules, steps)
    else:
        search = search_in_turn(cases, rules, steps, _progress)
    result = Postprocessing(search, convention, _warnings(search, names, thresholds is not None))
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


def _progress(indices: Sequence[int]) -> Iterable[int]:
    return track(indices, "Searching", console=Console(stderr=True), transient=True)


def _warnings(search: Search, names: Sequence[str], thresholds_given: bool) -> tuple[str, ...]:
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
                f"Dice is {cliff.loss:.4f} below that without the rule, most of all due to case {names[cliff.case]}."
            )
    return tuple(warnings)


def _write(result: Postprocessing, output: Path, num_cases: int, labels: DatasetLabels) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    functions = [curve.rule.function for curve in result.chosen]
    arguments = [{**curve.rule.kwargs, "min_voxels": curve.best} for curve in result.chosen]
    description = {
        "convention": result.convention,
        "num_cases": num_cases,
        "mean_dice_before": result.search.before,
        "mean_dice_after": result.search.after,
        "held_out_gain": _describe_gain(result.search.held_out),
        "warnings": result.warnings,
        "rules": [_describe(curve) for curve in result.search.curves],
    }
    write_csv(_table(result, labels), output.with_name(f"{output.stem}_curves.csv"))
    save_figure(_plot(result), output.with_name(f"{output.stem}_curves.png"))
    write_text_atomically(output.with_suffix(".json"), json.dumps(description, indent=2) + "\n")
    with atomic_path(output) as temporary:
        temporary.write_bytes(pickle.dumps((functions, arguments)))


def _describe(curve: Curve) -> dict[str, Any]:
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
        "mean_dice_before": float(curve.scores[0]),
        "mean_dice_at_best_threshold": float(curve.scores[1:].max()),
        "in_sample_gain": curve.in_sample,
        "held_out_gain": _describe_gain(curve.held_out),
        "thresholds_with_one_case_left_out": dict(without.most_common()),
    }


def _describe_gain(gain: Gain | None) -> dict[str, float] | None:
    return None if gain is None else {"mean": gain.mean, "low": gain.low, "high": gain.high}


def _table(result: Postprocessing, labels: DatasetLabels) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "function": curve.rule.function.__name__,
            "region": curve.rule.region.name,
            "min_voxels": threshold,
            "mean_dice": curve.scores[index],
            **{f"dice {r.name}": curve.region_scores[index, k] for k, r in enumerate(labels.regions)},
            "cases_changed": curve.cases_changed[index],
            "best": threshold == curve.best,
            "applied": curve.applied and threshold == curve.best,
            "convention": result.convention,
        }
        for curve in result.search.curves
        for index, threshold in enumerate(curve.thresholds)
    )


def _plot(result: Postprocessing) -> Figure:
    """Mean Dice over thresholds, a panel a rule; the score without the rule is dashed, the best threshold marked."""
    curves = result.search.curves
    columns = next(number for number in (1, 2, 3) if number**2 >= len(curves) or number == 3)
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * rows), layout="constrained")
    for position, curve in enumerate(curves, start=1):
        axes = figure.add_subplot(rows, columns, position)
        axes.plot(curve.thresholds[1:], curve.scores[1:], marker=".")
        axes.axhline(curve.scores[0], color="grey", linestyle="--", label="without")
        if curve.best is not None:
            colour, word = ("tab:green", "applied") if curve.applied else ("tab:red", "refused")
            axes.axvline(curve.best, color=colour, label=f"{word}: {curve.best}")
        verb = curve.rule.function.__name__.replace("_", " ")
        gain = "" if curve.held_out is None else f"\nheld out: {curve.held_out.mean:+.4f}"
        axes.set_title(f"{verb}: {curve.rule.region.name}{gain}", fontsize=9)
        axes.set(xscale="log", xlabel="min_voxels", ylabel=f"mean Dice ({result.convention})")
        shown = curve.thresholds[1 :: -(-len(curve.thresholds) // 7)]  # numbers in full, as many as there is room for
        axes.set_xticks(shown, [str(threshold) for threshold in shown])
        axes.set_xticks([], minor=True)
        axes.legend(fontsize=8)
    return figure
