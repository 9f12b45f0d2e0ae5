"""Rows of ``results.yaml``: scores, differences and costs of the trainings of a study, and what they were."""

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from nnunet_ext.evaluation.comparison import compare
from nnunet_ext.evaluation.repeated_runs import interval_over_runs, over_runs
from nnunet_ext.evaluation.summary import measured
from nnunet_ext.files.json_object import read_json_object
from nnunet_ext.planning.training_step import step_cost
from nnunet_ext.study.repeats import Repeats
from nnunet_ext.trained.model_folder import nnunet_folder
from nnunet_ext.trained.unlike_paper import plans_unlike_paper, settings_unlike_paper
from nnunet_ext.trainers.lookup import find_trainer

METRICS = ("dice", "hd95")
DIGITS = 4


def mean_over_seeds(scores: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One row a case and region with the mean over the seeds, so that a case counts once in means and tests."""
    how = {key: value for key, value in scores[0].iloc[0].items() if key in ("convention", "hd95_definition")}
    means = pd.concat(scores).groupby(["case", "region"], sort=False)[list(METRICS)].mean().reset_index()
    return means.assign(**how)


def rows_of_study(entries: Sequence[Repeats], num_processes: int | None = None) -> list[dict[str, Any]]:
    """One row a training; plain nnU-Net, where it is among them, comes first and is what the others differ from.

    Args:
        entries: From :func:`nnunet_ext.study.repeats.group_repeats`.
        num_processes: Parallel processes for scoring; None takes one a processor, at most 8.
    """
    scores = [entry.scores(num_processes) for entry in entries]
    cases = [set(of_seed["case"]) for of_entry in scores for of_seed in of_entry]
    common = set.intersection(*cases)
    shared = [[of_seed[of_seed["case"].isin(common)] for of_seed in of_entry] for of_entry in scores]
    means = [mean_over_seeds(of_entry) for of_entry in shared]
    rows = []
    for entry, of_entry, mean in zip(entries, shared, means, strict=True):
        row = _what_it_is(entry) | {"num_cases": len(common), **measured(mean)}
        row["scores"] = _scores(mean, of_entry)
        if entries[0].is_plain and entry is not entries[0]:
            row["minus_plain"] = _differences(mean, means[0], of_entry, shared[0])
        rows.append(row | {"cost": _cost(entry)})
    return rows


def fingerprint_hash(dataset: str) -> str | None:
    """First 12 hexadecimal digits of the SHA-256 of a data set's fingerprint; None where there is none."""
    folder = nnunet_folder("nnUNet_preprocessed", dataset)
    file = folder / "dataset_fingerprint.json" if folder else None
    if file is None or not file.is_file():
        return None
    content = json.dumps(read_json_object(file), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def size_of_plans(configuration: str, plan: dict[str, Any]) -> dict[str, Any]:
    """Configuration, spacing in mm, patch, batch and width of plans, as rows have them.

    Args:
        configuration: Its name.
        plan: The configuration, with everything that it inherits.
    """
    return {
        "configuration": configuration,
        "spacing": list(plan["spacing"]),
        "patch_size": list(plan["patch_size"]),
        "batch_size": plan["batch_size"],
        "features_of_first_stage": plan["architecture"]["arch_kwargs"]["features_per_stage"][0],
    }


def _what_it_is(entry: Repeats) -> dict[str, Any]:
    model = entry.first
    unlike = {key: value for key, value in settings_unlike_paper(model).items() if key != "seed"}
    return {
        "name": entry.name,
        "trainer": model.trainer,
        "dataset": model.dataset,
        "fingerprint": fingerprint_hash(model.dataset),
        "plans": size_of_plans(model.configuration, entry.plan),
        "steps": entry.steps,
        "settings_unlike_paper": {name: ours for name, (ours, _) in unlike.items()},
        "plans_unlike_paper": {name: list(values) for name, values in plans_unlike_paper(model).items()},
        "folds": [fold.name for fold in model.folds],
        "seeds": entry.seeds,
        **{key: value for key, value in model.folds[0].machine.items() if key == "device"},
        "versions": {key: value for key, value in model.folds[0].machine.items() if key != "device"},
    }


def _scores(mean: pd.DataFrame, of_seeds: Sequence[pd.DataFrame]) -> dict[str, Any]:
    """Region -> metric -> mean over cases, its bootstrap interval over seeds and cases, and the seeds' means."""
    spread = over_runs(of_seeds).set_index(["region", "metric"])["std"]
    found: dict[str, Any] = {}
    for region in mean["region"].unique():
        found[region] = {}
        for metric in METRICS:
            values = mean.loc[mean["region"] == region, metric].dropna().to_numpy()
            of_runs = _by_run_and_case(of_seeds, region, metric)
            low, high = interval_over_runs(of_runs)
            found[region][metric] = {
                "mean": _number(values.mean() if len(values) else math.nan),
                "interval": [_number(low), _number(high)],
                "of_seeds": [_number(of_seed) for of_seed in pd.DataFrame(of_runs).mean(axis=1)],
                "std_of_seeds": _number(spread[region, metric]),
                "n": len(values),
            }
    return found


def _by_run_and_case(of_seeds: Sequence[pd.DataFrame], region: str, metric: str) -> np.ndarray:
    """Values ``(seeds, cases)``, the cases in the order of their names."""
    return np.array([of_seed[of_seed["region"] == region].sort_values("case")[metric] for of_seed in of_seeds], float)


def _differences(
    mean: pd.DataFrame, plain: pd.DataFrame, of_seeds: Sequence[pd.DataFrame], of_plain: Sequence[pd.DataFrame]
) -> dict[str, Any]:
    """Region -> metric -> difference to plain nnU-Net, paired over the cases."""
    found: dict[str, Any] = {}
    for row in compare(mean, plain).to_dict("records"):
        values, minus = (_by_run_and_case(seeds, row["region"], row["metric"]) for seeds in (of_seeds, of_plain))
        low, high = interval_over_runs(values, minus)
        found.setdefault(row["region"], {})[row["metric"]] = {
            "mean": _number(row["mean_difference"]),
            "interval": [_number(low), _number(high)],
            "wilcoxon_p": _number(row["wilcoxon_p"]),
            "n": row["n"],
        }
    return found


def _cost(entry: Repeats) -> dict[str, Any]:
    model = entry.first
    cost = step_cost(
        find_trainer(model.trainer),
        model.plans,
        model.configuration,
        dict(model.labels.content),
        mixed_precision=str(model.folds[0].machine.get("device", "cpu")) != "cpu",
        count_operations=True,
    )
    return {
        "parameters": cost.parameters,
        "operations_per_step": cost.operations,
        "memory_of_step": cost.memory,
        "seconds_per_step": _number(entry.seconds_per_step),
        "training_seconds": _number(entry.training_seconds),
    }


def _number(value: float | None) -> float | None:
    """Rounded, and None for what is not a number."""
    return None if value is None or math.isnan(value) else round(float(value), DIGITS)
