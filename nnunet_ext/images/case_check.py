"""What is wrong with the images of one case, by themselves."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from nnunet_ext.errors import InputError
from nnunet_ext.images.grid import Grid, grid_difference, slant
from nnunet_ext.images.intensities import intensity_range, intensity_shape
from nnunet_ext.images.reader import Image, read_image, stored_values

LARGEST_SLANT = 0.1  # degrees; headers store rotations with errors of less than a thousandth of it
MISSING, CONSTANT, SLANTED = "missing channel", "constant", "not orthogonal"


class Finding(NamedTuple):
    """Something wrong or strange.

    Attributes:
        severity: ``"error"``: nnU-Net fails, or computes with something else than the file holds. ``"warning"``: it may
            be right, and deserves a look.
        kind: A word or two for what it is, the same for every file.
        message: File, or case, and what it is in full.
    """

    severity: Literal["error", "warning"]
    kind: str
    message: str


@dataclass
class CaseCheck:
    """What was found in the images of a case.

    Args:
        findings: Errors and warnings.
        grid: Where the voxels of its first readable image lie; None where no image can be read.
        ranges: Channel -> percentiles of its intensities, see :func:`intensity_range`; without channels that have no
            content or could not be read.
        shapes: Channel -> shape of their distribution, see :func:`intensity_shape`.
    """

    findings: list[Finding] = field(default_factory=list)
    grid: Grid | None = None
    ranges: dict[int, tuple[float, float]] = field(default_factory=dict)
    shapes: dict[int, np.ndarray] = field(default_factory=dict)


def check_case(
    case: str,
    files: Mapping[int, Path],
    dataset_json: Mapping[str, Any],
    *,
    names: Sequence[str],
    filled: Collection[int] = (),
    reader: str | None = None,
) -> CaseCheck:
    """Read the files of a case and say what is wrong with them.

    Args:
        case: Its name.
        files: Channel -> file. A picture in colours holds the channels from its own on.
        dataset_json: Content of ``dataset.json``.
        names: Names of the data set's channels, in order.
        filled: Channels that are known to be missing, whose files are constant therefore.
        reader: Name of the reader that nnU-Net takes for all of the data set; None allows all.
    """
    check = CaseCheck()
    first: tuple[Path, Image] | None = None
    there = set()
    for number, path in files.items():
        there.add(number)  # whatever it holds
        try:
            image = read_image(path, dataset_json)
        except InputError as error:
            check.findings += [Finding("error", _kind(problem), problem) for problem in error.problems]
            continue
        if first is None:
            first = path, image
            check.grid = image.grid
        check.findings += _geometry(path, image, first, reader)
        there.update(range(number, number + len(image.array)))
        if not_finite := _not_finite(path, image.array):
            check.findings.append(not_finite)
            continue
        for channel, values in enumerate(image.array, number):
            check.findings += _look_at(check, values, path, channel, channel in filled)
    folder, ending = next(iter(files.values())).parent, dataset_json["file_ending"]
    for channel, name in enumerate(names):
        if channel not in there:
            file = folder / f"{case}_{channel:04d}{ending}"
            check.findings.append(Finding("error", MISSING, f"{file}: no such file; channel {name} is missing."))
    if surplus := sorted(channel for channel in there if channel >= len(names)):
        check.findings.append(
            Finding("error", "surplus channel", f"{case}: {max(surplus) + 1} channels, expected {len(names)}.")
        )
    return check


def _geometry(path: Path, image: Image, first: tuple[Path, Image], reader: str | None) -> list[Finding]:
    found = []
    affine = image.grid.affine
    degrees = 0.0 if affine is None else slant(affine)
    if reader is not None and image.reader.__name__ != reader:
        kind, why = "reader", f"{image.reader.__name__} can"
        if degrees > 0:
            kind, why = SLANTED, f"its axes miss right angles by {degrees:.3g}°"
        message = f"{path}: {reader}, with which nnU-Net reads this data set, cannot read it: {why}."
        found.append(Finding("error", kind, message))
    elif degrees > LARGEST_SLANT:
        message = f"{path}: its axes miss right angles by {degrees:.3g}°, which nnU-Net's resampling overlooks."
        found.append(Finding("warning", SLANTED, message))
    if difference := grid_difference(image.grid, first[1].grid):
        found.append(Finding("error", "other grid", f"{path}: {difference} as in {first[0].name}."))
    return found


def _not_finite(path: Path, array: np.ndarray) -> Finding | None:
    values = stored_values(path, array)
    num_wrong = values.size - int(np.count_nonzero(np.isfinite(values)))
    if not num_wrong:
        return None
    tests = {"nan": np.isnan, "inf": np.isinf}
    kinds = " and ".join(name for name, test in tests.items() if test(values).any())
    return Finding("error", "nan or inf", f"{path}: {num_wrong} of {values.size} voxels are {kinds}.")


def _look_at(check: CaseCheck, values: np.ndarray, path: Path, channel: int, filled: bool) -> list[Finding]:
    """Findings about the values of a channel; what they look like goes into ``check``."""
    low, high = float(values.min()), float(values.max())
    if low < high:
        check.ranges[channel] = intensity_range(values)
        check.shapes[channel] = intensity_shape(values)
    elif not filled:
        hint = "If the modality is missing, delete the file and see `nnunet_ext complete`."
        return [Finding("error", CONSTANT, f"{path}: constant, {low:g} everywhere. {hint}")]
    return []


def _kind(problem: str) -> str:
    """Kind of what the reader raised."""
    kinds = {"truncated": "truncated", "not 3-D": "not 3-D", "values a voxel": "not 3-D"}
    return next((kind for words, kind in kinds.items() if words in problem), "unreadable")
