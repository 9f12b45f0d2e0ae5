"""The folder that ``nnunet_ext uncertainty`` writes: what lies where in it."""

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nnunet_ext.errors import InputError
from nnunet_ext.files.json_object import read_json_object

SETTINGS, TABLE = "uncertainty.json", "cases.csv"
JOINT = "all classes"  # in place of a region, for maps over all classes


@dataclass(frozen=True)
class UncertaintyFolder:
    """Maps and table of several predictions of the same cases.

    Args:
        folder: The folder.
        regions: Names of the regions, and :data:`JOINT` behind them where there are maps over all classes.
        largest: What certain ignorance has in the maps of entropy: 1, or 100 where they are whole numbers.
    """

    folder: Path
    regions: tuple[str, ...]
    largest: float

    def map_file(self, kind: str, region: str, case: str) -> Path:
        """File of a map.

        Args:
            kind: For example ``"entropy"``, see :data:`nnunet_ext.uncertainty.maps.KINDS`.
            region: Name of the region, or :data:`JOINT`.
            case: Name of the case.
        """
        return self.folder / kind / self._words(region) / f"{case}.nii.gz"

    def table(self) -> pd.DataFrame:
        """Rows of ``cases.csv``.

        Raises:
            InputError: It is missing or no such table.
        """
        path = self.folder / TABLE
        try:
            table = pd.read_csv(path, dtype={"case": str, "region": str})
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
        except ValueError as error:
            raise InputError(f"{path}: not a table that `nnunet_ext uncertainty` wrote ({error}).") from None
        if missing := [name for name in ("case", "region", "expected_dice", "flagged") if name not in table]:
            raise InputError(f"{path}: has no column '{missing[0]}'; `nnunet_ext uncertainty` writes one.")
        return table

    def _words(self, region: str) -> str:
        """Name of a region as that of a folder; of two that would be the same, the later has a number behind it."""
        plain = [re.sub(r"[^A-Za-z0-9.-]+", "_", name).strip("_.") or "region" for name in self.regions]
        index = self.regions.index(region)
        before = plain[:index].count(plain[index])
        return f"{plain[index]}_{before + 1}" if before else plain[index]


def read_uncertainty_folder(folder: Path) -> UncertaintyFolder:
    """Read what a folder holds.

    Raises:
        InputError: ``nnunet_ext uncertainty`` did not write it.
    """
    path = folder / SETTINGS
    if not path.is_file():
        raise InputError(f"{folder}: has no {SETTINGS}. Give the folder that `nnunet_ext uncertainty -o` wrote.")
    content = read_json_object(path)
    regions, largest = content.get("regions"), content.get("largest")
    if not isinstance(regions, list) or not all(isinstance(name, str) for name in regions) or largest not in (1, 100):
        raise InputError(f"{path}: not what `nnunet_ext uncertainty` writes.")
    return UncertaintyFolder(folder, tuple(regions), float(largest))
