"""Lesion-wise scores against the tools of the challenges: their values, and the time of one large case.

The tools want an environment of their own: panoptica pins NumPy below 2.3, pandas below 3 and Rich below 14, and that
of 2023 and 2024 is a file of a repository.

    python -m venv tools && tools/bin/pip install "panoptica>=2.1" nibabel SimpleITK
    git clone https://github.com/rachitsaluja/BraTS-2023-Metrics

    python benchmarks/lesion_scores.py cases RESULTS.json
    tools/bin/python benchmarks/lesion_scores.py values RESULTS.json BraTS-2023-Metrics/metrics.py
    python benchmarks/lesion_scores.py speed tools/bin/python BraTS-2023-Metrics/metrics.py \
        --output benchmarks/results/NAME.json

The first two make what the tests expect (results/lesion_tools.json): 93 pairs of label maps out of balls, and what the
tools print for them. The last times one case of 240x240x155 voxels with three regions and 60 scattered components a
side, reading included, one process a tool.
"""

import argparse
import importlib.util
import json
import math
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

REGIONS = {"whole tumor": [1, 2, 3], "tumor core": [1, 3], "enhancing tumor": [3]}
TASKS = ["gli", "men", "met"]  # ped and ssa have the numbers of gli
NUM_PAIRS = 93
PENALTY = 373.0
MAX_SECONDS = 60  # of CPU time for the tool of 2023, which needs some for each lesion and region


def random_balls(generator: np.random.Generator, shape: tuple[int, ...]) -> tuple[list, list]:
    """Balls ``[z, y, x, radius, label]`` of a reference and of a prediction that hits, splits, misses and invents."""
    reference, prediction = [], []
    for _ in range(generator.integers(2, 12)):
        centre = generator.uniform(2, np.array(shape) - 2)
        radius = float(generator.choice([0.6, 1.2, 2.3, 2.6, 3.2, 5.0]))
        label = int(generator.integers(1, 4))
        nested = [[*centre.round(1).tolist(), radius, 2], [*centre.round(1).tolist(), round(radius * 0.7, 2), label]]
        fate = generator.choice(["hit", "split", "missed", "merged", "surplus"])
        if fate != "surplus":
            reference += nested
        if fate != "missed":
            moved = [(centre + generator.uniform(-1.5, 1.5, 3)).round(1).tolist() for _ in range(2)]
            scale = float(generator.uniform(0.6, 1.3)) if fate != "merged" else 2.0
            prediction += [[*moved[0], round(radius * scale, 2), 2], [*moved[0], round(radius * scale * 0.7, 2), label]]
            if fate == "split":
                z, y, x = moved[1]
                prediction.append([round(z + radius + 1.5, 1), y, x, 1.3, label])
    return reference, prediction


def label_map(shape: tuple[int, ...], balls: list) -> np.ndarray:
    """Label map ``(Z, Y, X)`` of balls, a later one over an earlier one."""
    labels = np.zeros(shape, dtype=np.uint8)
    for *centre, radius, label in balls:
        grid = np.ogrid[tuple(slice(size) for size in shape)]
        distance = sum((axis - value) ** 2 for axis, value in zip(grid, centre, strict=True))
        labels[distance <= radius**2] = label
    return labels


def write_cases(output: Path) -> None:
    """Write the pairs; the first two have an empty side, the third is empty on both."""
    generator = np.random.default_rng(0)
    cases = []
    for index in range(NUM_PAIRS):
        shape = tuple(int(size) for size in generator.integers(28, 52, size=3))
        reference, prediction = random_balls(generator, shape)
        if index in (0, 2):
            reference = []
        if index in (1, 2):
            prediction = []
        cases.append({"shape": shape, "reference": reference, "prediction": prediction})
    output.write_text(json.dumps({"cases": cases}))


def write_nifti(path: Path, labels: np.ndarray) -> None:
    """Write a label map ``(Z, Y, X)`` with 1 mm voxels."""
    import nibabel

    nibabel.save(nibabel.Nifti1Image(labels.transpose(2, 1, 0), np.eye(4)), path)


def panoptica_evaluator():
    """Panoptica with the settings that BraTS 2025 and 2026 publish."""
    import panoptica
    from panoptica import (
        ConnectedComponentsInstanceApproximator,
        InputType,
        Panoptica_Evaluator,
    )
    from panoptica.instance_matcher import MaxBipartiteMatching
    from panoptica.metrics import Metric
    from panoptica.utils import EdgeCaseHandler
    from panoptica.utils.edge_case_handling import EdgeCaseResult, MetricZeroTPEdgeCaseHandling
    from panoptica.utils.label_group import LabelMergeGroup
    from panoptica.utils.segmentation_class import SegmentationClassGroups

    panoptica.disable_citation_reminder()
    empty = {
        metric: MetricZeroTPEdgeCaseHandling(no_instances_result=EdgeCaseResult.NAN, default_result=value)
        for metric, value in (
            (Metric.DSC, EdgeCaseResult.ZERO),
            (Metric.NSD, EdgeCaseResult.ZERO),
            (Metric.HD95, EdgeCaseResult.INF),
        )
    }
    metrics = [Metric.DSC, Metric.NSD, Metric.HD95]
    return Panoptica_Evaluator(
        expected_input=InputType.SEMANTIC,
        instance_approximator=ConnectedComponentsInstanceApproximator(),
        instance_matcher=MaxBipartiteMatching(matching_metric=Metric.DSC, matching_threshold=1e-6),
        edge_case_handler=EdgeCaseHandler(empty),
        segmentation_class_groups=SegmentationClassGroups(
            {name: LabelMergeGroup(labels) for name, labels in REGIONS.items()}
        ),
        instance_metrics=metrics,
        global_metrics=metrics,
    )


def panoptica_values(evaluator, reference: Path, prediction: Path) -> dict:
    """What panoptica prints for each region, and the means with the penalty of missed and surplus lesions."""
    values = {}
    for name, result in evaluator.evaluate(str(prediction), str(reference)).items():
        printed = result.to_dict(True)
        row = {f"lesion_{key}": int(printed[key]) for key in ("tp", "fp", "fn")}
        unmatched = row["lesion_fp"] + row["lesion_fn"]
        for metric, key, penalty in (("dice", "dsc", 0.0), ("nsd", "nsd", 0.0), ("hd95", "hd95", PENALTY)):
            lesions = [float(x[f"sq_{key}"]) for x in printed["reference_instances"] if x["is_matched"]]
            matched, whole = float(printed[f"sq_{key}"]), float(printed[f"global_bin_{key}"])
            row[f"matched_lesion_{metric}"] = PENALTY if math.isinf(matched) else matched
            penalised = [*lesions, *[penalty] * unmatched]
            row[f"lesion_{metric}"] = float(np.mean(penalised)) if penalised else None
            row[f"whole_{metric}"] = whole
        values[name] = {key: None if value is None or not math.isfinite(value) else value for key, value in row.items()}
    return values


def load_brats2023(path: Path):
    """The challenge's tool of 2023 and 2024, from its file."""
    if not hasattr(np, "Inf"):
        np.Inf = np.inf  # the tool is for NumPy 1
    sys.path.insert(0, str(path.parent))
    specification = importlib.util.spec_from_file_location("brats2023_metrics", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    scores_of_lesions = module.get_LesionWiseScores

    def with_tuples(*args, **kwargs):
        """The same; pandas from 1.5 on fails on the arrays in one of its columns, which nothing else reads."""
        tp, fn, fp, gt_tp, pairs, *others = scores_of_lesions(*args, **kwargs)
        return tp, fn, fp, gt_tp, [(tuple(parts), *values) for parts, *values in pairs], *others

    module.get_LesionWiseScores = with_tuples
    return module


def brats2023_values(tool, reference: Path, prediction: Path, task: str) -> dict:
    """What the tool prints for each region."""
    table = tool.get_LesionWiseResults(str(prediction), str(reference), f"BraTS-{task.upper()}").set_index("Labels")
    names = {"WT": "whole tumor", "TC": "tumor core", "ET": "enhancing tumor"}
    return {
        names[label]: {
            "lesion_dice": float(row["LesionWise_Score_Dice"]),
            "lesion_hd95": float(row["LesionWise_Score_HD95"]),
            **{f"lesion_{kind.lower()}": int(row[f"Num_{kind}"]) for kind in ("TP", "FP", "FN")},
        }
        for label, row in table.iterrows()
    }


def versions() -> dict:
    """Versions of what measured."""
    names = ["panoptica", "surface-distance", "numpy", "scipy", "pandas", "connected-components-3d", "monai"]
    found = {"python": sys.version.split()[0]}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def add_values(results: Path, brats2023: Path) -> None:
    """Add the tools' values to the cases."""
    content = json.loads(results.read_text())
    evaluator, tool = panoptica_evaluator(), load_brats2023(brats2023)
    with tempfile.TemporaryDirectory() as folder:
        reference, prediction = Path(folder) / "reference.nii.gz", Path(folder) / "prediction.nii.gz"
        for case in content["cases"]:
            for path, side in ((reference, "reference"), (prediction, "prediction")):
                write_nifti(path, label_map(case["shape"], case[side]))
            case["brats2025"] = panoptica_values(evaluator, reference, prediction)
            case["brats2023"] = {task: brats2023_values(tool, reference, prediction, task) for task in TASKS}
    lines = ",\n".join(json.dumps(case) for case in content["cases"])
    results.write_text(f'{{"versions": {json.dumps(versions())},\n"cases": [\n{lines}\n]}}\n')


def large_case(folder: Path) -> tuple[Path, Path]:
    """A large lesion and 60 scattered components on each side, half of them on the same spot."""
    shape = (155, 240, 240)
    generator = np.random.default_rng(1)
    spots = [[int(value) for value in generator.uniform(8, np.array(shape) - 8)] for _ in range(90)]
    balls = {"reference": spots[:60], "prediction": [[z + 1, y, x] for z, y, x in spots[30:]]}
    paths = []
    for index, (side, centres) in enumerate(balls.items()):
        content = [[70 + 2 * index, 120, 120, 34, 2], [70, 120, 120, 22, 1], [70, 120 + index, 120, 14, 3]]
        for number, centre in enumerate(centres):
            content += [[*centre, 2 + number % 3, 2], [*centre, 1 + number % 3, 3]]
        paths.append(folder / f"{side}.nii.gz")
        write_nifti(paths[-1], label_map(shape, content))
    return paths[0], paths[1]


def timed(function, rounds: int) -> list[float]:
    """Seconds of CPU time of each round, after one that is not counted."""
    function()
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return seconds


def time_tool(name: str, reference: Path, prediction: Path, brats2023: Path) -> dict:
    """Seconds of CPU time of a tool, in its environment; that of 2023 is stopped after ``MAX_SECONDS``."""
    if name == "panoptica":
        evaluator = panoptica_evaluator()
        return {"seconds": timed(lambda: panoptica_values(evaluator, reference, prediction), 1), "finished": True}
    tool = load_brats2023(brats2023)

    def stop(*_):
        raise TimeoutError

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
    start, finished = time.process_time(), True
    try:
        brats2023_values(tool, reference, prediction, "gli")
    except TimeoutError:
        finished = False
    signal.setitimer(signal.ITIMER_PROF, 0)
    return {"seconds": [time.process_time() - start], "finished": finished}


def measure_speed(tools_python: Path, brats2023: Path, output: Path) -> None:
    """Time ``evaluate`` of one case with and without lesion-wise scores, and the tools on the same case."""
    from nnunet_ext.evaluation.case import evaluate_case
    from nnunet_ext.evaluation.lesions import LesionSettings
    from nnunet_ext.labels.dataset_labels import DatasetLabels, Region

    content = {"file_ending": ".nii.gz", "labels": {"background": 0, **REGIONS}, "channel_names": {"0": "T1"}}
    labels = DatasetLabels(
        tuple(Region(name, tuple(values)) for name, values in REGIONS.items()), None, ".nii.gz", content
    )
    settings = {
        "evaluate": {},
        "evaluate --nsd 1": {"tolerances": dict.fromkeys(REGIONS, 1.0)},
        "evaluate --lesions brats2023": {"lesions": LesionSettings("brats2023")},
        "evaluate --lesions brats2025": {"lesions": LesionSettings("brats2025")},
        "evaluate --lesions brats2025 --nsd 1": {
            "lesions": LesionSettings("brats2025"),
            "tolerances": dict.fromkeys(REGIONS, 1.0),
        },
    }
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        reference, prediction = large_case(Path(folder))
        for name, options in settings.items():
            seconds = timed(
                lambda options=options: evaluate_case(
                    "case",
                    reference,
                    prediction=prediction,
                    labels=labels,
                    convention="brats2020",
                    hd95_choice="pooled",
                    **options,
                ),
                3,
            )
            rows[name] = {"seconds": seconds, "finished": True}
        found = {}
        for name in ("panoptica", "BraTS-2023-Metrics"):
            command = [str(tools_python), __file__, "time", name, str(reference), str(prediction), str(brats2023)]
            run = subprocess.run(command, check=True, capture_output=True, text=True)
            rows[name] = json.loads(run.stdout.splitlines()[-1])
            found = rows[name].pop("versions")
    baseline = statistics.median(rows["evaluate"]["seconds"])
    for row in rows.values():
        row["rounds"], row["seconds"] = len(row["seconds"]), statistics.median(row["seconds"])
        row["ratio"] = row["seconds"] / baseline
    result = {
        "case": "240x240x155 voxels of 1 mm, three regions, one large lesion and 60 scattered components a side",
        "device": "CPU, one thread; seconds of CPU time, a lower bound where a tool was stopped before it finished",
        "versions": versions(),
        "versions_of_tools": found,
        "rows": rows,
    }
    output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["rows"], indent=2))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    cases = commands.add_parser("cases", help="Write the pairs.")
    cases.add_argument("output", type=Path)
    values = commands.add_parser("values", help="Add what the tools print for the pairs, in their environment.")
    speed = commands.add_parser("speed", help="Time a large case.")
    for command, name in ((values, "results"), (values, "brats2023"), (speed, "tools_python"), (speed, "brats2023")):
        command.add_argument(name, type=Path)
    speed.add_argument("--output", type=Path, required=True)
    one = commands.add_parser("time", help="Time one tool; `speed` calls it.")
    one.add_argument("tool", choices=["panoptica", "BraTS-2023-Metrics"])
    for name in ("reference", "prediction", "brats2023"):
        one.add_argument(name, type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.command == "cases":
        write_cases(arguments.output)
    elif arguments.command == "values":
        add_values(arguments.results, arguments.brats2023)
    elif arguments.command == "speed":
        measure_speed(arguments.tools_python, arguments.brats2023, arguments.output)
    else:
        row = time_tool(arguments.tool, arguments.reference, arguments.prediction, arguments.brats2023)
        print(json.dumps({**row, "versions": versions()}))


if __name__ == "__main__":
    main()
