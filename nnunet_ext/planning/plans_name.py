"""Names of plans: how those of this package are called, and which names plans can have."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from nnunet_ext.plans.network_entry import PlansError

DEFAULT_PLANS = "nnUNetPlans"
# Part of the name of a results folder, whose parts nnU-Net joins with a double underscore; a word of a command line.
# config.schema.yaml of the workflow has the same.
PLAIN_NAME = "[A-Za-z0-9][A-Za-z0-9-]*(_[A-Za-z0-9-]+)*"
# what nnU-Net keeps beside the plans, as <name>.json
RESERVED = ("dataset", "dataset_fingerprint", "splits_final")


def plans_name(
    trainer: str,
    values: Mapping[str, Any],
    plans: str = DEFAULT_PLANS,
    configurations: Sequence[str] = (),
    gpu_memory: float | None = None,
    paper: bool = False,
) -> str:
    """Name of plans for a trainer that tells everything apart that was chosen for them.

    ``nnUNetExt<Method>Plans``, with ``Paper`` before ``Plans`` for the published size, ``_24G`` for a memory target (as
    in nnU-Net's documentation), and eight characters that stand for settings, plans to start from and
    configurations where these are not the default: ``nnUNetExtModalityPairingPlans_24G_0a1b2c3d``.

    Args:
        trainer: Name of a trainer of this package.
        values: What ``key=value`` gave, in any order.
        plans: Plans that the new ones start from; the default where they are planned anew.
        configurations: Configurations that given sizes apply to; empty for all.
        gpu_memory: Memory target, in GB of 10^9 bytes; None where nothing is planned anew.
        paper: Whether the published patch and batch are used.
    """
    name = f"nnUNetExt{trainer.replace('Trainer', '')}{'Paper' if paper else ''}Plans"
    if gpu_memory is not None:
        name += f"_{gpu_memory:.10g}G".replace(".", "-").replace("+", "")
    if values or plans != DEFAULT_PLANS or configurations:
        chosen = json.dumps([dict(values), plans, sorted(configurations)], sort_keys=True)
        name += f"_{hashlib.sha256(chosen.encode()).hexdigest()[:8]}"
    return name


def check_plain(name: str) -> None:
    """Raise PlansError unless this is a name of plans, and no path or the like."""
    if not re.fullmatch(PLAIN_NAME, name):
        raise PlansError(f"'{name}' cannot be the name of plans: use letters, digits, '-' and single '_'.")


def check_new_name(name: str, plans: str = DEFAULT_PLANS) -> None:
    """Raise PlansError unless this can be the name of new plans.

    Args:
        name: Name of the new plans.
        plans: Plans to start from.
    """
    check_plain(name)
    # file systems that do not tell upper from lower case
    if name.lower() in {taken.lower() for taken in (*RESERVED, DEFAULT_PLANS, plans)}:
        raise PlansError(
            f"'{name}' cannot be the name of the new plans: {name}.json is nnU-Net's own or holds those to start from."
        )
