"""Modalities by name: channel indices of the roles a method gives to modalities, from ``dataset.json``."""

from collections.abc import Callable, Mapping, Sequence

from nnunet_ext.errors import UserError

# Spellings in use for the same contrast, lower case, without separators. Sources: BraTS 2012-2023, the Medical
# Segmentation Decathlon's Task01, nnU-Net's BraTS dataset conversions, and common DICOM series names.
_SPELLINGS = {
    "T1": ("t1", "t1n", "t1w", "t1native", "t1pre", "mrt1"),
    "T1ce": ("t1ce", "t1c", "t1gd", "t1km", "t1post", "t1contrast", "t1wce", "t1cew", "mrt1c"),
    "T2": ("t2", "t2w", "t2tse", "mrt2"),
    "FLAIR": ("flair", "t2f", "t2flair", "fla", "t2wflair", "mrflair"),
}
_MODALITY = {spelling: modality for modality, spellings in _SPELLINGS.items() for spelling in spellings}


class ModalityError(UserError):
    """A modality or group of modalities that the dataset does not have or a method cannot use."""


def normalise(name: str) -> str:
    """Common name of a modality: ``"T1Gd"`` -> ``"T1ce"``; an unknown name only loses case and separators."""
    plain = "".join(character for character in name.lower() if character.isalnum())
    return _MODALITY.get(plain, plain)


def channel_names(dataset_json: Mapping) -> list[str]:
    """Channel names of a dataset in channel order, as ``dataset.json`` spells them."""
    names = dataset_json.get("channel_names", dataset_json.get("modality"))
    return [names[index] for index in sorted(names, key=int)]


def channel_index(name: str, names: Sequence[str]) -> int:
    """Index of the channel with this name; the exact spelling first, then the same modality spelt otherwise.

    Args:
        name: Name as a user writes it.
        names: Channel names of the dataset, in channel order.

    Raises:
        ModalityError: No channel, or more than one, has this name.
    """
    if name in names:
        return list(names).index(name)
    matches = [index for index, other in enumerate(names) if normalise(other) == normalise(name)]
    if len(matches) == 1:
        return matches[0]
    problem = "is ambiguous" if matches else "does not exist"
    raise ModalityError(f"Channel '{name}' {problem}. The dataset has the channels {_listed(names)}.")


def matching_names(
    names: Sequence[str], others: Sequence[str], common: Callable[[str], str] = normalise
) -> list[int | None]:
    """Which of the other names means the same as each name; the exact spelling first, then the common name.

    Args:
        names: Names of channels, or of labels.
        others: Names to find them among.
        common: Gives the common name of a spelling.

    Returns:
        An index among ``others`` for each name; None where none means the same.

    Raises:
        ModalityError: Several of either mean the same, so that it cannot be told which is which.
    """
    found = {name: others.index(name) for name in names if name in others}
    left = {name: common(name) for name in names if name not in found}
    free = {other: common(other) for other in others if other not in found}
    for name, meant in left.items():
        same = [other for other, its in free.items() if its == meant]
        rivals = [rival for rival, its in left.items() if its == meant]
        if same and len(same) + len(rivals) > 2:
            raise ModalityError(f"It cannot be told which of {_listed(same)} is which of {_listed(rivals)}.")
        if same:
            found[name] = others.index(same[0])
    return [found.get(name) for name in names]


def resolve_groups(
    names: Sequence[str],
    requested: Sequence[Sequence[str]] | None,
    known: Sequence[Sequence[str]],
) -> tuple[list[list[int]], bool]:
    """Channel indices of each modality group.

    Order: the explicit setting; else the method's known groups where the dataset has exactly these modalities; else an
    even split in channel order.

    Args:
        names: Channel names of the dataset, in channel order.
        requested: Groups of channel names from the settings, or None.
        known: The method's groups of common names, for example ``[["FLAIR", "T2"], ["T1ce", "T1"]]``.

    Returns:
        Groups of channel indices, and whether they are the even split, which deserves a line in the log.

    Raises:
        ModalityError: The dataset has one channel only, fewer than two groups were requested, a group is empty, names a
            channel that does not exist, shares a channel with another group, or a channel is in no group.
    """
    if len(names) < 2:
        raise ModalityError(f"Modality groups need at least two channels; the dataset has {_listed(names)}.")
    if requested is not None:
        return _explicit_groups(names, requested), False
    common = [normalise(name) for name in names]
    if sorted(common) == sorted(name for group in known for name in group):
        return [[common.index(name) for name in group] for group in known], False
    first = (len(names) + 1) // 2
    return [list(range(first)), list(range(first, len(names)))], True


def resolve_master(names: Sequence[str], requested: str | None, known: str) -> tuple[int, bool]:
    """Channel index of the master modality.

    Order: the explicit setting; else the first channel that is the known modality; else the first channel.

    Args:
        names: Channel names of the dataset, in channel order.
        requested: Channel name from the settings, or None.
        known: Common name of the modality that the method prefers, for example ``"T1ce"``.

    Returns:
        Index, and whether it is merely the first channel, which deserves a line in the log.

    Raises:
        ModalityError: The requested channel does not exist or is ambiguous.
    """
    if requested is not None:
        return channel_index(requested, names), False
    matches = [index for index, name in enumerate(names) if normalise(name) == known]
    return (matches[0], False) if matches else (0, True)


def _explicit_groups(names: Sequence[str], requested: Sequence[Sequence[str]]) -> list[list[int]]:
    if len(requested) < 2:
        raise ModalityError(f"modality_groups needs at least two groups, got {len(requested)}.")
    groups = []
    for position, group in enumerate(requested):
        if not group:
            raise ModalityError(f"Group {position} of modality_groups is empty. Channels to use: {_listed(names)}.")
        groups.append([channel_index(name, names) for name in group])
    flat = [index for group in groups for index in group]
    twice = sorted({names[index] for index in flat if flat.count(index) > 1})
    if twice:
        raise ModalityError(f"modality_groups uses {_listed(twice)} more than once; each channel belongs to one group.")
    missing = [name for index, name in enumerate(names) if index not in flat]
    if missing:
        raise ModalityError(f"modality_groups leaves out {_listed(missing)}; each channel belongs to one group.")
    return groups


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
