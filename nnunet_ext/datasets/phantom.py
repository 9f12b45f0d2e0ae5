"""A small four-modality MR phantom of a brain with a tumour, for trials and tests on a laptop.

Labels and regions are those of BraTS: 1 necrotic and non-enhancing core, 2 oedema, 3 enhancing rim around the core.
No modality shows all of them, which is what makes pairing worth while:

=======  ==============  ======  =======  =======
part     T1              T1ce    T2       FLAIR
=======  ==============  ======  =======  =======
oedema   as healthy      as T1   bright   bright
core     dark            as T1   = oedema = oedema
rim      as the core     bright  = oedema = oedema
=======  ==============  ======  =======  =======

So the outline of the tumour is in T2 and FLAIR alone, and what is inside it in T1 and T1ce alone.

Beside this tumour there are two situations with one label, lesion, in which the papers expect their methods to help:

- ``small_lesions``: one to three lesions of 3 to 5 voxels across, bright in T2 and FLAIR, all in four slices side by
  side; the others are empty, which a classifier of slices can know.
- ``one_modality``: a tumour that only T1ce shows, while noise covers the other modalities.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import SimpleITK

from nnunet_ext.files.atomic import atomic_folder
from nnunet_ext.files.written_image import check_written

CHANNELS = ("T1", "T1ce", "T2", "FLAIR")
CORE, OEDEMA, ENHANCING = 1, 2, 3
CEREBROSPINAL_FLUID, GREY_MATTER, WHITE_MATTER = 1, 2, 3
SMALLEST_SIDE = 16  # voxels; the rim is thinner than a voxel there and has holes; from about 24 on it has none
LESION = 1  # of the situations with one label
Situation = Literal["tumour", "small_lesions", "one_modality"]
SLAB = 4  # slices that hold all small lesions
NOISE = 20.0  # standard deviation; the weakest contrast that carries a label is 150

# Signal in arbitrary units, one column a channel, in the order of CHANNELS.
_TISSUE_SIGNAL = {
    CEREBROSPINAL_FLUID: (200, 200, 950, 150),
    GREY_MATTER: (450, 450, 550, 550),
    WHITE_MATTER: (600, 600, 400, 450),
}
_TUMOUR_SIGNAL: dict[int, tuple[int | None, ...]] = {
    OEDEMA: (None, None, 800, 850),  # None: the tissue's own signal
    CORE: (250, 250, 800, 850),
    ENHANCING: (250, 900, 800, 850),
}
_SITUATION_SIGNAL: dict[str, dict[int, tuple[int | None, ...]]] = {
    "tumour": _TUMOUR_SIGNAL,
    "small_lesions": {LESION: (None, None, 750, 750)},
    "one_modality": {LESION: (None, 850, None, None)},
}
_SITUATION_NOISE = {  # standard deviation of each channel; contrasts of lesions are from 200 on
    "tumour": (NOISE,) * 4,
    "small_lesions": (60.0,) * 4,
    "one_modality": (250.0, 80.0, 250.0, 250.0),
}
_SPACING = (1.5, 1.5, 2.0)  # mm, in the order x, y, z
_ORIGIN = (-31.5, 27.0, -12.0)  # mm
_DIRECTION = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)


class PhantomCase(NamedTuple):
    """One case of the phantom.

    Attributes:
        images: Intensities, int16 `(4, Z, Y, X)` in the order T1, T1ce, T2, FLAIR; 0 outside the brain, >= 1 inside.
        labels: Tumour, uint8 `(Z, Y, X)`: 0 none, 1 core, 2 oedema, 3 enhancing.
        tissue: Healthy anatomy under the tumour, uint8 `(Z, Y, X)`: 0 outside, 1 cerebrospinal fluid, 2 grey, 3 white.
    """

    images: np.ndarray
    labels: np.ndarray
    tissue: np.ndarray


def phantom_case(
    seed: Sequence[int] | int,
    shape: tuple[int, int, int] = (32, 40, 36),
    enhancing: bool = True,
    situation: Situation = "tumour",
) -> PhantomCase:
    """One brain with one tumour.

    Args:
        seed: Any seed of numpy's `default_rng`; the same seed gives the same arrays.
        shape: Voxels `(Z, Y, X)`, each at least 16.
        enhancing: Whether the tumour has an enhancing rim; without it, its place belongs to the core.
        situation: What lesions there are, see above.

    Raises:
        ValueError: A side is shorter than 16 voxels.
    """
    if len(shape) != 3 or min(shape) < SMALLEST_SIDE:
        raise ValueError(f"The phantom needs three sides of at least {SMALLEST_SIDE} voxels, got {shape}.")
    rng = np.random.default_rng(seed)
    coordinates = np.stack(np.meshgrid(*[np.linspace(-1, 1, side) for side in shape], indexing="ij"))
    tissue = _anatomy(rng, coordinates)
    if situation == "small_lesions":
        labels = _small_lesions(rng, tissue)
    else:
        labels = _tumour(rng, coordinates, tissue, enhancing)
        if situation == "one_modality":
            labels = np.where(labels > 0, LESION, 0).astype(np.uint8)
    images = np.stack(
        [
            _image(rng, coordinates, tissue=tissue, labels=labels, channel=channel, situation=situation)
            for channel in range(len(CHANNELS))
        ]
    )
    return PhantomCase(images, labels, tissue)


def write_phantom_dataset(
    folder: str | Path,
    num_cases: int = 10,
    shape: tuple[int, int, int] = (32, 40, 36),
    seed: int = 0,
    num_test_cases: int = 3,
    situation: Situation = "tumour",
) -> None:
    """Writes the phantom as a data set in nnU-Net's raw format; `folder` appears when all of it is written.

    Every third case has no enhancing rim. A case depends on the seed and its number only, so a larger data set of the
    same seed starts with the same cases.

    Args:
        folder: Data set folder, for example `nnUNet_raw/Dataset999_Phantom`; must not exist, or be empty.
        num_cases: Training cases, in imagesTr and labelsTr; nnU-Net's five folds need at least 5.
        shape: Voxels `(Z, Y, X)` of every case, each at least 16.
        seed: Seed of the whole data set, at least 0.
        num_test_cases: Test cases, in imagesTs with their reference in labelsTs.
        situation: What lesions there are.

    Raises:
        InputError: `folder` holds something already, or it cannot be written.
        ValueError: A side is shorter than 16 voxels.
    """
    with atomic_folder(Path(folder)) as partial:
        for number, split, count in ((0, "Tr", num_cases), (1, "Ts", num_test_cases)):
            (partial / f"images{split}").mkdir()
            (partial / f"labels{split}").mkdir()
            for index in range(count):
                case = phantom_case((seed, number, index), shape, enhancing=index % 3 != 2, situation=situation)
                name = f"phantom_{split.lower()}{index:03d}"
                for channel, image in enumerate(case.images):
                    _write(image, partial / f"images{split}" / f"{name}_{channel:04d}.nii.gz")
                _write(case.labels, partial / f"labels{split}" / f"{name}.nii.gz")
        description = phantom_dataset_json(num_cases, shape, seed, num_test_cases, situation=situation)
        (partial / "dataset.json").write_text(json.dumps(description, indent=2))


def phantom_dataset_json(
    num_cases: int, shape: tuple[int, int, int], seed: int, num_test_cases: int, situation: Situation = "tumour"
) -> dict:
    """Content of the phantom's `dataset.json`; the key "phantom" holds the arguments of `write_phantom_dataset`."""
    arguments = {"num_cases": num_cases, "shape": list(shape), "seed": seed, "num_test_cases": num_test_cases}
    channels = {str(index): name for index, name in enumerate(CHANNELS)}
    if situation != "tumour":
        return {
            "channel_names": channels,
            "labels": {"background": 0, "lesion": LESION},
            "numTraining": num_cases,
            "file_ending": ".nii.gz",
            "phantom": arguments | {"situation": situation},
        }
    return {
        "channel_names": channels,
        # nnU-Net paints the regions in this order, each with the label of regions_class_order at its place
        "labels": {
            "background": 0,
            "whole_tumor": [CORE, OEDEMA, ENHANCING],
            "tumor_core": [CORE, ENHANCING],
            "enhancing_tumor": [ENHANCING],
        },
        "regions_class_order": [OEDEMA, CORE, ENHANCING],
        "numTraining": num_cases,
        "file_ending": ".nii.gz",
        "phantom": arguments,
    }


def _anatomy(rng: np.random.Generator, coordinates: np.ndarray) -> np.ndarray:
    """Tissue of an ellipsoid brain: grey matter around white matter around two ventricles, `(Z, Y, X)`."""
    radius = _radius(coordinates, centre=np.zeros(3), radii=rng.uniform(0.82, 0.92, size=3))
    folded = radius * (1 + 0.06 * _smooth_field(rng, coordinates, waves=4))
    tissue = np.zeros(radius.shape, dtype=np.uint8)
    tissue[radius <= 1] = GREY_MATTER
    tissue[folded <= 0.8] = WHITE_MATTER
    width = rng.uniform(0.08, 0.14)
    for side in (-1, 1):
        ventricle = _radius(coordinates, np.array([0.05, 0, 0.2 * side]), np.array([0.2, 0.35, width]))
        tissue[ventricle <= 1] = CEREBROSPINAL_FLUID
    return tissue


def _tumour(rng: np.random.Generator, coordinates: np.ndarray, tissue: np.ndarray, enhancing: bool) -> np.ndarray:
    """Nested tumour around a voxel half-way to the brain's surface, `(Z, Y, X)`."""
    direction = rng.normal(size=3)
    wanted = rng.uniform(0.3, 0.45) * direction / np.linalg.norm(direction)
    nearest = np.unravel_index(_radius(coordinates, wanted, np.ones(3)).argmin(), tissue.shape)
    centre = np.array([axis[nearest] for axis in coordinates])  # a voxel's centre, so that even a tiny core has a voxel
    radius = _radius(coordinates, centre, rng.uniform(0.38, 0.5, size=3))
    radius = radius * (1 + 0.15 * _smooth_field(rng, coordinates, waves=2))
    core = rng.uniform(0.6, 0.7)  # of the tumour's radius
    labels = np.zeros(tissue.shape, dtype=np.uint8)
    labels[(radius <= 1) & (tissue > 0)] = OEDEMA
    labels[(radius <= core) & (tissue > 0)] = CORE
    if enhancing:
        labels[(labels == CORE) & (radius > 0.6 * core)] = ENHANCING
    return labels


def _small_lesions(rng: np.random.Generator, tissue: np.ndarray) -> np.ndarray:
    """One to three lesions in white matter, all within a slab of slices, `(Z, Y, X)`."""
    indices = np.indices(tissue.shape)
    middle = tissue.shape[0] // 2
    first = middle + int(rng.integers(-middle // 2, middle // 2 - SLAB))
    in_slab = (indices[0] >= first) & (indices[0] < first + SLAB)
    places = np.argwhere(in_slab & (tissue == WHITE_MATTER))
    labels = np.zeros(tissue.shape, dtype=np.uint8)
    for centre in places[rng.choice(len(places), size=int(rng.integers(1, 4)), replace=False)]:
        distance = np.sqrt(((indices - centre[:, None, None, None]) ** 2).sum(axis=0))
        labels[(distance <= rng.uniform(1.5, 2.5)) & in_slab & (tissue > 0)] = LESION
    return labels


def _image(
    rng: np.random.Generator,
    coordinates: np.ndarray,
    tissue: np.ndarray,
    labels: np.ndarray,
    channel: int,
    situation: Situation,
) -> np.ndarray:
    """One modality: signal, times a smooth bias field of +-10 %, plus noise; int16 `(Z, Y, X)`."""
    signal = np.zeros(tissue.shape)
    for kind, tissue_signals in _TISSUE_SIGNAL.items():
        signal[tissue == kind] = tissue_signals[channel]
    for label, lesion_signals in _SITUATION_SIGNAL[situation].items():
        if (value := lesion_signals[channel]) is not None:
            signal[labels == label] = value
    bias = 1 + 0.1 * _smooth_field(rng, coordinates, waves=1)
    noisy = signal * bias + rng.normal(scale=_SITUATION_NOISE[situation][channel], size=signal.shape)
    noisy *= rng.uniform(0.8, 1.2)  # MR intensities have no common scale
    return np.where(tissue > 0, np.maximum(np.rint(noisy), 1), 0).astype(np.int16)


def _radius(coordinates: np.ndarray, centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Distance from an ellipsoid's centre, 1 on its surface, `(Z, Y, X)`."""
    return np.sqrt((((coordinates - centre[:, None, None, None]) / radii[:, None, None, None]) ** 2).sum(axis=0))


def _smooth_field(rng: np.random.Generator, coordinates: np.ndarray, waves: float) -> np.ndarray:
    """Smooth random field from exactly -1 to 1, `(Z, Y, X)`; `waves` is its largest number of waves a side."""
    field = np.zeros(coordinates.shape[1:])
    for _ in range(4):
        frequency = rng.uniform(-waves, waves, size=3) * np.pi / 2
        field += np.cos(np.tensordot(frequency, coordinates, axes=1) + rng.uniform(0, 2 * np.pi))
    return 2 * (field - field.min()) / np.ptp(field) - 1


def _write(array: np.ndarray, path: Path) -> None:
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(_SPACING)
    image.SetOrigin(_ORIGIN)
    image.SetDirection(_DIRECTION)
    SimpleITK.WriteImage(image, str(path))
    check_written(path)
