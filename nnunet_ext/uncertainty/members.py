"""Folders of predictions with probabilities: what is in them, and whether they can be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.errors import InputError
from nnunet_ext.images.grid import grid_difference
from nnunet_ext.labels.dataset_labels import DatasetLabels, Region, find_dataset_json, read_dataset_labels
from nnunet_ext.labels.label_image import LabelImage, read_label_image
from nnunet_ext.uncertainty.saved_probabilities import read_header


@dataclass(frozen=True)
class SavedCase:
    """Files of a case.

    Args:
        probabilities: The ``.npz`` file.
        segmentation: The label image beside it, which says on which grid it lies.
    """

    probabilities: Path
    segmentation: Path


@dataclass(frozen=True)
class Member:
    """One of several predictions of the same cases: a model, a fold, a seed.

    Args:
        folder: Folder of predictions, or of a trained model, whose folds' validation predictions are taken.
        labels: The data set's labels.
        folds: Folder of predictions -> case -> its files; one entry unless this is a trained model.
    """

    folder: Path
    labels: DatasetLabels
    folds: Mapping[Path, Mapping[str, SavedCase]]

    @property
    def cases(self) -> dict[str, SavedCase]:
        """All cases of all folds."""
        return {case: files for fold in self.folds.values() for case, files in fold.items()}


@dataclass(frozen=True)
class Channels:
    """Meaning of the first axis of saved probabilities.

    Args:
        regions: Channel -> region, or label without the background.
        number: Length of the axis.
        exclusive: Whether the values of a voxel sum to 1 (labels, softmax) or each is one of its own (regions).
    """

    regions: Mapping[int, Region]
    number: int
    exclusive: bool


def channels_of(labels: DatasetLabels) -> Channels:
    """Channels in nnU-Net's order: regions as ``dataset.json`` lists them, labels by value with the background first.

    Raises:
        InputError: The data set has regions and does not say which label their voxels get.
    """
    if labels.has_regions:
        order = labels.content.get("regions_class_order")
        if not isinstance(order, list) or len(order) != len(labels.regions):
            raise InputError(f"dataset.json: 'regions_class_order' {order} needs a label for each of its regions.")
        return Channels(dict(enumerate(labels.regions)), len(labels.regions), exclusive=False)
    values = sorted(labels.values)
    regions = {values.index(region.labels[0]): region for region in labels.regions}
    return Channels(dict(sorted(regions.items())), len(values), exclusive=True)


def read_member(folder: Path, dataset_json: Path | None = None) -> Member:
    """Look what a folder holds; the probabilities are not read.

    Args:
        folder: Folder of predictions, or of a trained model (``fold_X/validation`` in it).
        dataset_json: The data set's ``dataset.json``; None looks for it in and above the folder.

    Raises:
        InputError: No such folder, no probabilities in it, probabilities without label image, a case in two folds.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder.")
    validation = sorted(path for path in folder.glob("fold_*/validation") if path.is_dir())
    labels = read_dataset_labels(dataset_json or find_dataset_json([folder]))
    folds = {path: _saved_cases(path, labels.file_ending) for path in validation or [folder]}
    check_disjoint(folds)
    return Member(folder, labels, folds)


def check_disjoint(folds: Mapping[Path, Mapping[str, SavedCase]]) -> None:
    """Check that no case is in two folds: what one fold was trained on, the other one would be judged by.

    Raises:
        InputError: Cases that are.
    """
    first: dict[str, Path] = {}
    problems = []
    for folder, cases in folds.items():
        for case in cases:
            if case in first:
                problems.append(f"Case '{case}' is in {first[case]} and in {folder}: folds share no cases.")
            first.setdefault(case, folder)
    if problems:
        raise InputError(problems)


def check_same_labels(members: Sequence[Member]) -> None:
    """Check that all members predict the same regions.

    Raises:
        InputError: They do not.
    """
    first = members[0]
    problems = [
        f"{member.folder}: labels {_declared(member.labels)}, but {first.folder} has {_declared(first.labels)}."
        for member in members[1:]
        if _declared(member.labels) != _declared(first.labels)
    ]
    if problems:
        raise InputError(problems)


def common_cases(members: Sequence[Member]) -> list[str]:
    """Cases of the members, sorted.

    Raises:
        InputError: The members have other regions or lack cases; all that is wrong is listed.
    """
    check_same_labels(members)
    every = {case for member in members for case in member.cases}
    problems = [
        f"{member.folder}: lacks case '{case}', which another member has."
        for member in members
        for case in sorted(every - member.cases.keys())
    ]
    if len({member.folder.resolve() for member in members}) < len(members):
        problems.append("The same folder is given twice: it would agree with itself.")
    if problems:
        raise InputError(problems)
    return sorted(every)


def read_segmentations(cases: Sequence[SavedCase], labels: DatasetLabels) -> list[LabelImage]:
    """Label images of a case, one a member, after a look at all files of the case.

    Raises:
        InputError: They are not on one grid, or probabilities have another shape or number of channels.
    """
    number = channels_of(labels).number
    images: list[LabelImage] = []
    problems = []
    for files in cases:
        image = read_label_image(files.segmentation, labels.content)
        shape = read_header(files.probabilities).shape
        # nnU-Net reads a plane as a volume of one slice
        if shape[1:] not in (image.labels.shape, (1, *image.labels.shape)):
            problems.append(f"{files.probabilities}: shape {shape[1:]}, but {files.segmentation} {image.labels.shape}.")
        if shape[0] != number:
            problems.append(
                f"{files.probabilities}: {shape[0]} channels, but dataset.json has {number} "
                f"{'regions' if labels.has_regions else 'labels with the background'}."
            )
        if images and (difference := grid_difference(image.grid, images[0].grid)):
            problems.append(f"{files.segmentation}: {difference} as in {cases[0].segmentation}.")
        images.append(image)
    if problems:
        raise InputError(problems)
    return images


def _saved_cases(folder: Path, file_ending: str) -> dict[str, SavedCase]:
    # a leading dot marks files in the making
    files = sorted(path for path in folder.glob("*.npz") if path.name[0] != ".")
    if not files:
        raise InputError(
            f"{folder}: no probabilities (.npz). Predict with --save_probabilities, or train with --npz (after "
            "training: nnUNetv2_train ... --val --npz)."
        )
    cases = {path.stem: SavedCase(path, path.with_name(path.stem + file_ending)) for path in files}
    lacking = [saved.segmentation for saved in cases.values() if not saved.segmentation.is_file()]
    if lacking:
        raise InputError([f"{path}: no such file beside the probabilities; its grid is needed." for path in lacking])
    return cases


def _declared(labels: DatasetLabels) -> dict[str, object]:
    """What decides the channels and the labels that are made of them."""
    return {
        **{region.name: list(region.labels) for region in labels.regions},
        **({"regions_class_order": labels.content.get("regions_class_order")} if labels.has_regions else {}),
    }
