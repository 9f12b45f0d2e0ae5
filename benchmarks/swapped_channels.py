"""How often ``nnunet_ext check`` notices two swapped channels, and how often it suspects channels that are not.

    python benchmarks/swapped_channels.py [--data FOLDER]

Every case of the phantom, and of the data sets in FOLDER (nnU-Net's raw format), is held out once, as it is and with
every pair of its channels swapped, and compared with the other cases; cases of one patient (names that differ in the
last letter) are held out together. Once more without the training images, with the range of values in the fingerprint
alone. Prints a table.
"""

import argparse
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nnunet_ext.checking.unlike_training import TrainingData, better_order, unlike_training
from nnunet_ext.datasets.phantom import CHANNELS, phantom_case
from nnunet_ext.files.json_object import read_json_object
from nnunet_ext.images.case_check import CaseCheck
from nnunet_ext.images.intensities import RANGE, intensity_range, intensity_shape
from nnunet_ext.images.reader import read_array
from nnunet_ext.labels.label_image import read_label_image
from nnunet_ext.plans.modalities import channel_names

PHANTOM_CASES = 24


class Case(NamedTuple):
    """A case: what ``check`` looks at, and the intensities of its foreground, ``(C, N)``."""

    patient: str
    shapes: np.ndarray
    ranges: list[tuple[float, float]]
    foreground: np.ndarray


def look_at(patient: str, images: np.ndarray, labels: np.ndarray) -> Case:
    """What ``check`` looks at in a case, from ``(C, Z, Y, X)`` and ``(Z, Y, X)``."""
    shapes = np.stack([intensity_shape(image) for image in images])
    return Case(patient, shapes, [intensity_range(image) for image in images], images[:, labels > 0])


def phantom_cases() -> Iterator[Case]:
    """Cases of the phantom; every third has no enhancing rim, so that its T1 and T1ce show the same."""
    for index in range(PHANTOM_CASES):
        case = phantom_case((0, 0, index), enhancing=index % 3 != 2)
        yield look_at(str(index), case.images, case.labels)


def cases_of(folder: Path) -> Iterator[Case]:
    """Training cases of a data set in nnU-Net's raw format."""
    dataset_json = read_json_object(folder / "dataset.json")
    ending, number = dataset_json["file_ending"], len(channel_names(dataset_json))
    for file in sorted((folder / "labelsTr").glob(f"*{ending}")):
        case = file.name.removesuffix(ending)
        images = [
            read_array(folder / "imagesTr" / f"{case}_{c:04d}{ending}", dataset_json)[0][0] for c in range(number)
        ]
        yield look_at(case.rstrip("lr"), np.stack(images), read_label_image(file, dataset_json).labels)


def fingerprint_ranges(cases: list[Case]) -> list[tuple[float, float]]:
    """Percentiles of the foreground as nnU-Net's fingerprint has them: as many voxels of every case."""
    rng = np.random.default_rng(1234)
    pooled = np.concatenate([rng.choice(case.foreground, 2000, axis=1) for case in cases], axis=1)
    return [(float(low), float(high)) for low, high in np.percentile(pooled, RANGE, axis=1).T]


def counts(cases: list[Case], names: list[str]) -> list[str]:
    """Cells of the table for one data set."""
    pairs = list(combinations(range(len(names)), 2))
    false, seen, named, false_range, seen_range = 0, 0, 0, 0, 0
    missed: dict[str, int] = {}
    for case in cases:
        others = [other for other in cases if other.patient != case.patient]
        training = np.stack([other.shapes for other in others])
        ranges = TrainingData(names, None, fingerprint_ranges(others), {})
        for pair in [None, *pairs]:
            order = list(range(len(names)))
            if pair is not None:
                order[pair[0]], order[pair[1]] = pair[1], pair[0]
            found = better_order(dict(enumerate(case.shapes[order])), training)
            check = CaseCheck(ranges={channel: case.ranges[source] for channel, source in enumerate(order)})
            of_range = bool(unlike_training("", check, ranges))
            if pair is None:
                false += found is not None
                false_range += of_range
                continue
            seen += found is not None
            named += found is not None and [found.looks_like[channel] for channel in range(len(names))] == order
            seen_range += of_range
            if found is None:
                words = f"{names[pair[0]]}/{names[pair[1]]}"
                missed[words] = missed.get(words, 0) + 1
    total = len(cases) * len(pairs)
    listed = ", ".join(f"{words} {number}" for words, number in missed.items()) or "none"
    return [
        f"{false} of {len(cases)}", f"{seen} of {total}", f"{named} of {total}", listed,
        f"{false_range} of {len(cases)}", f"{seen_range} of {total}",
    ]  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of data sets in nnU-Net's raw format")
    folder = parser.parse_args().data
    headings = [
        "data set", "suspected, not swapped", "swapped, found", "and named right", "missed",
        "fingerprint alone: suspected, not swapped", "swapped, found",
    ]  # fmt: skip
    print("| " + " | ".join(headings) + " |")
    print("|---" * len(headings) + "|")
    print("| " + " | ".join(["phantom", *counts(list(phantom_cases()), list(CHANNELS))]) + " |")
    for dataset in sorted(folder.glob("Dataset*")) if folder else []:
        names = channel_names(read_json_object(dataset / "dataset.json"))
        print("| " + " | ".join([dataset.name, *counts(list(cases_of(dataset)), names)]) + " |")


if __name__ == "__main__":
    main()
