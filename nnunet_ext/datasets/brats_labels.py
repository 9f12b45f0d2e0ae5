"""Label values of BraTS over the years, and predictions turned back into them.

From 2013 to 2021 the enhancing tumour is 4; 3 is the non-enhancing core to 2015, and not used after. From 2023 it is 3,
and 4 (where it occurs) is the resection cavity. Converted data sets use the values of 2023, which are consecutive, as
nnU-Net needs them: 1 necrosis and non-enhancing, 2 oedema, 3 enhancing, 4 resection cavity.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nibabel
import numpy as np

from nnunet_ext.datasets.brats_files import Naming
from nnunet_ext.datasets.brats_images import read_brats_labels
from nnunet_ext.errors import InputError
from nnunet_ext.files.atomic import atomic_path
from nnunet_ext.labels.dataset_labels import (
    DatasetLabels,
    brats_regions,
    find_dataset_json,
    read_dataset_labels,
)
from nnunet_ext.parallel import map_cases

Style = Literal["2020", "2023"]
RESECTION_CAVITY = "resection cavity"


@dataclass(frozen=True)
class LabelScheme:
    """Meaning of the label values of a BraTS data set.

    Args:
        enhancing: Value of the enhancing tumour, 3 or 4.
        resection_cavity: Whether 4 is the resection cavity.
        reason: What it was recognised by, for the user.
        non_enhancing: Value of the non-enhancing core where it is told from the necrosis; both become 1.
    """

    enhancing: int
    resection_cavity: bool
    reason: str
    non_enhancing: int | None = None

    @property
    def to_consecutive(self) -> dict[int, int]:
        """Value in the source -> value in the converted data set."""
        values = {0: 0, 1: 1, 2: 2, self.enhancing: 3}
        if self.non_enhancing is not None:
            values[self.non_enhancing] = 1
        return {**values, 4: 4} if self.resection_cavity else values


def recognise_scheme(
    values: Collection[int], naming: Naming, names: Collection[str], enhancing: int | None = None
) -> LabelScheme:
    """Meaning of label values, from which occur and how the files are named; what does not fit is an error.

    Args:
        values: All values that occur in the data set.
        naming: Spelling of the image files.
        names: Case names; those of paediatric cases ("PED") need ``enhancing``.
        enhancing: The user's word on the enhancing tumour's value; None recognises it.

    Raises:
        InputError: Values that no BraTS year has, or that contradict the naming.
    """
    unknown = sorted(set(values) - {0, 1, 2, 3, 4})
    if unknown:
        raise InputError(f"Label values {unknown} are not BraTS labels, which are 0 to 4.")
    paediatric = any("-PED-" in name.upper() for name in names)
    if paediatric and (enhancing is None or 4 in values):
        raise InputError(
            "Paediatric cases (PED): their labels changed meaning between 2023 and 2024, with the same values. "
            "For 2023 (values 0 to 3), pass --enhancing-label 3; those of 2024 (0 to 4) are not supported."
        )
    if naming == "2012":
        return _scheme_of_2012(values, enhancing)
    both = {3, 4} <= set(values)
    if enhancing is not None:
        if enhancing not in (3, 4):
            raise InputError(f"--enhancing-label must be 3 or 4, not {enhancing}.")
        if enhancing == 4 and 3 in values:
            raise InputError("--enhancing-label 4: label 3 occurs too, which no year with 4 as enhancing tumour has.")
        return LabelScheme(enhancing, enhancing == 3 and 4 in values, "as told by --enhancing-label")
    if naming == "2023" and 4 in values and 3 not in values:
        raise InputError(
            "The files are named as in 2023, where the enhancing tumour is 3, but only label 4 occurs. "
            "Say which is the enhancing tumour with --enhancing-label 3 or 4."
        )
    if naming == "legacy" and 3 in values:
        with_four = " beside 4" if both else " and 4 does not"
        raise InputError(
            f"The files are named as in 2018 to 2021, where the enhancing tumour is 4, but label 3 occurs{with_four}. "
            "If 3 is the enhancing tumour, pass --enhancing-label 3."
        )
    if naming == "2023":
        return LabelScheme(3, both, f"files named as in 2023, values {sorted(values)}")
    return LabelScheme(4, False, f"files named as in 2018 to 2021, values {sorted(values)}")


def _scheme_of_2012(values: Collection[int], enhancing: int | None) -> LabelScheme:
    """Labels of 2013 to 2015: 1 necrosis, 2 oedema, 3 non-enhancing, 4 enhancing. Those of 2012 have no regions."""
    if enhancing == 4 or (enhancing is None and 4 in values):
        reason = f"files named as in 2013 to 2015, values {sorted(values)}"
        return LabelScheme(4, False, reason, non_enhancing=3 if 3 in values else None)
    if enhancing is None:
        raise InputError(
            f"The files are named as in 2012 to 2015, and their labels are {sorted(values)}, without 4. In 2012 they "
            "are 1 oedema and 2 core, which has no enhancing tumour to train on. For labels of 2013 to 2015 without "
            "any 4, pass --enhancing-label 4."
        )
    if enhancing != 3 or 4 in values:
        raise InputError(
            f"--enhancing-label {enhancing} does not fit files named as in 2013, whose labels have 4 for it."
        )
    return LabelScheme(3, False, "as told by --enhancing-label")


def brats_label_values(labels: DatasetLabels, style: Style) -> dict[int, int]:
    """Value in an nnU-Net data set -> value in BraTS, from the data set's regions, whatever values it has.

    Args:
        labels: Labels with the three BraTS regions, each with the next one inside.
        style: ``"2020"`` (enhancing tumour 4) or ``"2023"`` (enhancing tumour 3).

    Raises:
        InputError: The data set does not have the three regions, or the style has no value for one of its labels.
    """
    whole, core, enhancing = (set(region.labels) for region in brats_regions(labels).values())
    if not enhancing < core < whole:
        raise InputError("The enhancing tumour must be a part of the tumour core, and that of the whole tumour.")
    values = {0: 0}
    values |= dict.fromkeys(core - enhancing, 1)
    values |= dict.fromkeys(whole - core, 2)
    values |= dict.fromkeys(enhancing, 4 if style == "2020" else 3)
    for label in sorted(labels.values - values.keys()):
        names = [region.name for region in labels.regions if label in region.labels]
        if style == "2020" or RESECTION_CAVITY not in names:
            raise InputError(f"BraTS {style} has no label for {label} ({', '.join(names)}).")
        values[label] = 4
    return values


def convert_brats_labels(
    source: Path, output: Path, style: Style, dataset_json: Path | None = None, num_processes: int | None = None
) -> list[Path]:
    """Turn predictions for a converted data set into BraTS label values; headers stay as they are.

    Args:
        source: Folder of ``.nii.gz`` or ``.nii`` predictions.
        output: Folder to write files of the same names to; another one than ``source``.
        style: ``"2020"`` or ``"2023"``.
        dataset_json: The data set's ``dataset.json``; None looks for it in and above ``source``.
        num_processes: Parallel processes; None takes one a processor, at most 8.

    Returns:
        The files written.

    Raises:
        InputError: Unknown style, no files, unreadable files or unknown values, all listed, and nothing is written; or
            the first file that cannot be written, with those before it complete.
    """
    if style not in ("2020", "2023"):
        raise InputError(f"Unknown style '{style}'; there are 2020 and 2023.")
    labels = read_dataset_labels(dataset_json or find_dataset_json([source]))
    mapping = brats_label_values(labels, style)
    if source.resolve() == output.resolve():
        raise InputError(f"{output}: must be another folder than the predictions'.")
    files = sorted(path for path in source.glob(f"*{labels.file_ending}") if path.name[0] != ".")
    if not files:
        raise InputError(f"{source}: no files that end in '{labels.file_ending}'.")
    found = map_cases(label_values, [(path,) for path in files], num_processes, "Checking")
    problems = [
        f"{path}: label values {sorted(values - mapping.keys())} are not in dataset.json."
        for path, values in zip(files, found, strict=True)
        if values - mapping.keys()
    ]
    if problems:
        raise InputError(problems)
    output.mkdir(parents=True, exist_ok=True)
    written = [output / path.name for path in files]
    map_cases(
        write_mapped,
        [(*pair, mapping) for pair in zip(files, written, strict=True)],
        num_processes,
        "Writing",
        stop_at_first=True,
    )
    return written


def label_values(path: Path) -> set[int]:
    """Values that occur in a NIfTI label image.

    Raises:
        InputError: The file is unreadable or truncated, or holds values that are not whole numbers.
    """
    return set(np.unique(read_brats_labels(path)[0]).astype(int).tolist())


def write_mapped(source: Path, target: Path, mapping: Mapping[int, int]) -> None:
    """Write a NIfTI label image with other values; header and stored type stay (floats become bytes).

    Args:
        source: Label image whose values are all in ``mapping``.
        target: File to write; complete or not there.
        mapping: Old value -> new value, 0 to 255.
    """
    labels, image = read_brats_labels(source)
    mapped = np.zeros(labels.shape, dtype=labels.dtype if labels.dtype.kind in "iu" else np.uint8)
    for old, new in mapping.items():
        mapped[labels == old] = new
    header = image.header.copy()
    header.set_data_dtype(mapped.dtype)
    header.set_slope_inter(1, 0)
    with atomic_path(target) as temporary:
        nibabel.save(type(image)(mapped, image.affine, header), temporary)
