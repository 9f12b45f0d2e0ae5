"""Modalities by name: channel indices of the roles a method gives to modalities, from ``dataset.json``."""

import re
from collections.abc import Callable, Mapping, Sequence

from nnunet_ext.errors import UserError

# Spellings in use for the same modality, lower case, without separators and without a leading "mr" or "3d". Sources:
# BraTS 2012 to 2025 (T1, T1c, T1ce, T1n, T2w, T2f, MR_Flair, ...), the Medical Segmentation Decathlon (t1gd, T2, ADC,
# CT), ISLES 2015 to 2022 (MR_DWI, MR_ADC, rCBF, rCBV, MTT, TTP, Tmax, CT_CBF, ...), WMH (3DT1, T1, FLAIR), multiple
# sclerosis (ISBI 2015: MPRAGE, PD; MSSEG: GADO, DP; Ljubljana: T1W, T1WKS, T2W), prostate (PROSTATEx, PI-CAI: t2w, adc,
# hbv, DWI), CT with PET (HECKTOR: PT; autoPET: SUV), and common names of DICOM series.
_SPELLINGS = {
    "T1": (
        "t1",
        "t1n",
        "t1w",
        "t1native",
        "t1nativ",
        "t1pre",
        "t1weighted",
        "t1wi",
        "t1se",
        "t1tse",
        "t1mprage",
        "mprage",
    ),
    "T1ce": (
        *(
            "t1ce",
            "t1c",
            "t1cew",
            "t1wce",
            "t1wc",
            "cet1",
            "cet1w",
            "t1contrast",
            "t1post",
            "t1wpost",
            "t1postcontrast",
        ),
        *("t1gd", "t1wgd", "t1gad", "t1gado", "t1gadolinium", "gado", "gd", "t1km", "t1ks", "t1wks"),
    ),
    "T2": ("t2", "t2w", "t2weighted", "t2wi", "t2tse", "t2wtse", "t2fse", "t2tra", "t2wtra"),
    "FLAIR": ("flair", "t2f", "t2flair", "t2wflair", "flairt2", "fla"),
    "PD": ("pd", "pdw", "dp", "protondensity", "pdweighted"),
    "T2star": ("t2star", "t2starw", "t2s", "t2gre", "gre"),
    "SWI": ("swi", "swan"),
    "DWI": (
        "dwi",
        "dw",
        "diffusion",
        "trace",
        "highb",
        "hbv",
        "b800",
        "dwib800",
        "b1000",
        "dwib1000",
        "b1400",
        "dwib1400",
    ),
    "ADC": ("adc", "adcmap"),
    "CBF": ("cbf", "rcbf", "ctcbf"),
    "CBV": ("cbv", "rcbv", "ctcbv"),
    "MTT": ("mtt", "ctmtt"),
    "TTP": ("ttp", "ctttp"),
    "Tmax": ("tmax", "cttmax"),
    "CT": ("ct", "ncct", "cta", "ctres"),
    "PET": ("pet", "pt", "suv", "petsuv", "fdg", "fdgpet", "fetpet"),
}
_MODALITY = {spelling: modality for modality, spellings in _SPELLINGS.items() for spelling in spellings}
# Modalities that show much the same, in the order in which branches are filled. The first two are the branches of Wang
# et al. with what is acquired as T2 is beside T2. Not stated: our choice, because the paper has four modalities
_FAMILIES = (
    ("FLAIR", "T2", "PD", "T2star", "SWI"),
    ("T1ce", "T1"),
    ("DWI", "ADC"),
    ("CBF", "CBV", "MTT", "TTP", "Tmax"),
    ("CT",),
    ("PET",),
)


class ModalityError(UserError):
    """A modality or group of modalities that the dataset does not have or a method cannot use."""


def normalise(name: str) -> str:
    """Common name of a modality: ``"T1Gd"`` -> ``"T1ce"``; an unknown name only loses case and separators."""
    plain = _plain(name)
    for spelling in (plain, re.sub(r"^(mr|3d)+", "", plain)):
        if spelling in _MODALITY:
            return _MODALITY[spelling]
    return plain


def _plain(name: str) -> str:
    """A name without case and separators."""
    return "".join(character for character in name.lower().replace("*", "star") if character.isalnum())


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
    for same in (_plain, normalise):
        matches = [index for index, other in enumerate(names) if same(other) == same(name)]
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
) -> tuple[list[list[int]], str]:
    """Channel indices of each modality group.

    Order: the explicit setting; else the method's known groups, where the dataset has at least one modality of each and
    no others; else two groups of modalities that are alike, where all names are known; else an even split in channel
    order.

    Args:
        names: Channel names of the dataset, in channel order.
        requested: Groups of channel names from the settings, or None.
        known: The method's two groups of common names, for example ``[["FLAIR", "T2"], ["T1ce", "T1"]]``.

    Returns:
        Groups of channel indices, and why they are our choice and not the method's or the user's, which deserves a line
        in the log; empty if they are not.

    Raises:
        ModalityError: The dataset has one channel only, fewer than two groups were requested, a group is empty, names a
            channel that does not exist, shares a channel with another group, or a channel is in no group.
    """
    if len(names) < 2:
        raise ModalityError(f"Modality groups need at least two channels; the dataset has {_listed(names)}.")
    if requested is not None:
        return _explicit_groups(names, requested), ""
    modalities = [normalise(name) for name in names]
    groups = [_channels(modalities, group) for group in known]
    if all(groups) and sum(map(len, groups)) == len(names):
        return groups, ""
    strangers = [name for name, modality in zip(names, modalities, strict=True) if modality not in _SPELLINGS]
    families = [channels for family in _FAMILIES if (channels := _channels(modalities, family))]
    if strangers or len(families) < 2:
        what = f"no known modality: {_listed(strangers)}" if strangers else f"all of one kind: {_listed(names)}"
        first = (len(names) + 1) // 2
        return [list(range(first)), list(range(first, len(names)))], f"{what}, so channels were split evenly in order"
    of_method = {modality for group in known for modality in group}
    others = [channel for family in families for channel in family if modalities[channel] not in of_method]
    strange = _listed([names[channel] for channel in others])
    why = f"the method has no {strange}, so channels were grouped by what is alike"
    if all(groups):
        # what the method does not have joins its first branch: most of it shows water, as T2 does
        return [groups[0] + others, *groups[1:]], why
    return [families[0], [channel for family in families[1:] for channel in family]], why


def _channels(modalities: Sequence[str], group: Sequence[str]) -> list[int]:
    """Channels of a group's modalities, in the group's order."""
    return [index for name in group for index, modality in enumerate(modalities) if modality == name]


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
