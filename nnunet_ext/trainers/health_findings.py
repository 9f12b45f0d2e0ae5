"""What the log of a training says of regions that do not learn."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nnunet_ext.trainers.health import CALLED, REFERENCE, REGION_GRADIENT, SATURATED

PATIENCE = 5  # epochs in a row before anything is said
NEARLY_ALL = 0.9  # share of the voxels that are called the region
NEARLY_NOTHING = 0.01  # times the reference's share
# Of a region's gradient, summed over the logits: Dice gives 0.001 to 0.1 where a region learns, and 0 where every
# probability is saturated (benchmarks/README.md)
NO_GRADIENT = 1e-5


class Finding(NamedTuple):
    """A region that does not learn.

    Attributes:
        region: Its name.
        since: First epoch in which it did not, counted from 0 as in nnU-Net's log.
        noticed: Epoch at whose end this is said.
        what: What is wrong, as the rest of a sentence that begins with the region.
    """

    region: str
    since: int
    noticed: int
    what: str

    @property
    def text(self) -> str:
        """One sentence."""
        return f"Region '{self.region}' {self.what}, since epoch {self.since}."

    def advice(self, initial_lr: float) -> str:
        """What to change.

        Args:
            initial_lr: The training's.
        """
        return (
            f"If this does not change soon, train anew with a lower initial_lr, for example {initial_lr / 10:g} "
            "(nnunet_ext plan), and look whether the labels have the region. progress_health.png shows the course."
        )


def region_names(dataset_json: Mapping[str, Any]) -> list[str]:
    """Names of regions, or of foreground labels, in the order of the network's outputs.

    Args:
        dataset_json: Content of ``dataset.json``.
    """
    labels = {name: value for name, value in dataset_json["labels"].items() if name != "ignore"}
    foreground = [name for name, value in labels.items() if value not in (0, [0], (0,))]
    has_regions = any(isinstance(value, list | tuple) and len(value) > 1 for value in labels.values())
    return foreground if has_regions else sorted(foreground, key=lambda name: _first(labels[name]))


def _first(value: Any) -> int:
    return int(value[0] if isinstance(value, list | tuple) else value)


def findings(curves: Mapping[str, Sequence[Any]], regions: Sequence[str]) -> list[Finding]:
    """The first finding of each region, in the order in which they were noticed.

    Args:
        curves: The log, name -> a value an epoch.
        regions: Names of the regions.
    """
    found = []
    epochs = len(curves.get(CALLED, []))
    for index, region in enumerate(regions):
        since: dict[str, int] = {}  # kind of fault -> first epoch of those in a row up to now
        for epoch in range(epochs):
            now = {name: curves[name][epoch][index] for name in (CALLED, REFERENCE, SATURATED, REGION_GRADIENT)}
            faults = _faults(now)
            since = {kind: since.get(kind, epoch) for kind in faults}
            lasting = [kind for kind, first in since.items() if epoch - first + 1 >= PATIENCE]
            if lasting:
                found.append(Finding(region, since[lasting[0]], epoch, faults[lasting[0]]))
                break
    return sorted(found, key=lambda finding: finding.noticed)


def _faults(now: Mapping[str, float]) -> dict[str, str]:
    """Kind -> words, the worst first; comparisons with nan, of what was not measured, find nothing."""
    called, reference, gradient = now[CALLED], now[REFERENCE], now[REGION_GRADIENT]
    shares = f"{_percent(called)} of the voxels are called so, {_percent(reference)} are"
    faults = {}
    if gradient < NO_GRADIENT:
        saturated = _percent(now[SATURATED])
        faults["gradient"] = f"gets no gradient ({saturated} of its probabilities are saturated; {shares})"
    if called > NEARLY_ALL > reference:
        faults["all"] = f"is found nearly everywhere ({shares})"
    if called < NEARLY_NOTHING * reference:
        faults["nothing"] = f"is found nearly nowhere ({shares})"
    return faults


def _percent(share: float) -> str:
    return "an unknown share" if math.isnan(share) else f"{100 * share:.3g} %"
