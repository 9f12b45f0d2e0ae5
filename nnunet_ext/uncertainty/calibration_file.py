"""``calibration.json``: temperatures, which cases they were fitted on, and what they change on folds left out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nnunet_ext.errors import InputError
from nnunet_ext.files.json_object import read_json_object
from nnunet_ext.uncertainty.calibration_tally import Reliability

Temperature = Annotated[float, Field(gt=0)]


class CalibratedFold(BaseModel):
    """A fold: its cases, and the temperatures that all other folds give, which are the ones to use for its cases.

    Attributes:
        folder: Its folder of predictions.
        cases: Its cases.
        temperatures: As of the whole file, fitted without this fold.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    folder: str
    cases: list[str]
    temperatures: list[Temperature]


class HeldOut(BaseModel):
    """Scores of a region, each fold's with temperatures of the others.

    Attributes:
        before: Of the probabilities as saved.
        after: Of the calibrated ones.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    before: Reliability
    after: Reliability


class Calibration(BaseModel):
    """Content of the file.

    Attributes:
        nnunet_ext: Version that wrote it.
        regions: Names of the regions, or of the classes without the background.
        exclusive: Whether they are classes, which share one temperature.
        temperatures: One a region, or a single one; fitted on all folds, for cases that are in none.
        folds: The folds.
        held_out: Region -> scores on folds left out.
        voxels: Number of voxels that count.
        margin: Voxels around reference and prediction that count.
        without_foreground: Cases that do not count, since neither reference nor prediction has anything.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    nnunet_ext: str
    regions: list[str]
    exclusive: bool
    temperatures: list[Temperature]
    folds: list[CalibratedFold]
    held_out: dict[str, HeldOut]
    voxels: int
    margin: int
    without_foreground: list[str]

    def temperatures_for(self, case: str) -> tuple[list[float], bool]:
        """Temperatures that a case had no part in, and whether it is one of those that they were fitted on."""
        for fold in self.folds:
            if case in fold.cases:
                return fold.temperatures, True
        return self.temperatures, False

    def named(self, temperatures: Sequence[float]) -> Mapping[str, float]:
        """Temperatures by what they are for."""
        return dict(zip(["all classes"] if self.exclusive else self.regions, temperatures, strict=True))


def read_calibration(path: Path) -> Calibration:
    """Read a file that ``nnunet_ext calibrate`` wrote.

    Raises:
        InputError: It is missing, or something else.
    """
    content: dict[str, Any] = read_json_object(path)
    try:
        calibration = Calibration.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: not what `nnunet_ext calibrate` writes ({place}: {first['msg']}).") from None
    number = 1 if calibration.exclusive else len(calibration.regions)
    if any(len(some) != number for some in (calibration.temperatures, *(f.temperatures for f in calibration.folds))):
        raise InputError(f"{path}: not what `nnunet_ext calibrate` writes (expected {number} temperatures).")
    return calibration
