"""nnU-Net's experiment planner with a trainer's own memory in place of the plain U-Net's."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from nnunet_ext.host.planner import HostPlanner
from nnunet_ext.host.plans import make_json_ready
from nnunet_ext.planning.memory_share import read_memory_share
from nnunet_ext.planning.training_step import StepCost, step_cost
from nnunet_ext.plans.network_entry import PlansError
from nnunet_ext.plans.settings import PLANS_KEY
from nnunet_ext.trainers.base import MethodTrainer

GIGABYTE = 10**9  # bytes
CASCADE = "3d_cascade_fullres"


class MethodPlanner(HostPlanner):
    """Chooses topology, patch and batch by what a training step of a trainer's own network holds in memory.

    nnU-Net's search is unchanged: it starts from the aspect ratio of the images and shrinks the patch until two samples
    fit. What changes is the estimate, a counted training step of the trainer (network, loss, optimizer; in mixed
    precision as on a GPU). The batch is then the largest that fits, within nnU-Net's limit of 5 % of the dataset.

    Plans name nnU-Net's own network, as all plans of this package, so that every trainer can use them.

    Args:
        dataset: Dataset ID or name.
        trainer: Trainer to plan for.
        plans_name: Name of the new plans.
        settings: Settings of the trainer that differ from its defaults; written into the plans.
        gpu_memory: Memory of the GPU, in GB of 10^9 bytes; tensors get the share in ``memory_share.json`` of it.
        base_num_features: Features of the first stage.
        mixed_precision: Whether training is in mixed precision, as on a GPU; nnU-Net trains in float32 on the CPU.
        residual: Whether nnU-Net's residual-encoder U-Net is planned in place of its plain one.
        begin: Called with the name of each candidate when it is taken on, for a display of the progress.
    """

    def __init__(
        self,
        dataset: str | int,
        trainer: type[MethodTrainer],
        plans_name: str,
        settings: dict[str, Any],
        gpu_memory: float,
        base_num_features: int = 32,
        mixed_precision: bool = True,
        residual: bool = False,
        begin: Callable[[str], None] = lambda name: None,
    ):
        self.memory_share = read_memory_share().share
        super().__init__(
            dataset,
            gpu_memory,
            plans_name,
            base_num_features=base_num_features,
            bytes_per_gigabyte=self.memory_share * GIGABYTE,
            residual=residual,
        )
        self.trainer = trainer
        self.settings = settings
        self.target = self.memory_share * gpu_memory * GIGABYTE
        self.mixed_precision = mixed_precision
        self.begin = begin
        self._transpose_forward = self.axes_order()
        self._previous_stage: str | None = None
        self._costs: dict[str, StepCost] = {}

    def step_memory(self, patch_size: Sequence[int], architecture: dict[str, Any]) -> int:
        """Bytes of a training step with the smallest batch.

        Args:
            patch_size: Candidate patch, in voxels.
            architecture: Entry of the plans that describes nnU-Net's network for this patch.

        Raises:
            PlansError: The patch cannot shrink any more and does not fit.
        """
        cost = self._cost(patch_size, architecture, self.smallest_batch)
        smallest = max(patch_size) < 2 * self.smallest_feature_map or min(patch_size) == 1
        if cost.fixed > self.target or (smallest and cost.memory > self.target):
            raise PlansError(
                f"No patch fits {self.gigabytes:g} GB, of which tensors get {self.memory_share:.0%}: "
                f"{self.trainer.__name__}'s weights and optimizer take "
                f"{cost.fixed / GIGABYTE:.2f} GB, and two patches of {tuple(map(int, patch_size))} voxels "
                f"{cost.passes / GIGABYTE:.2f} GB. Give more memory (--gpu-memory) or narrow the network "
                "(base_num_features=16)."
            )
        return cost.memory

    def finish_configuration(self, plan: dict[str, Any], dataset_voxels: float) -> None:
        """Give a configuration the largest batch that fits, instead of one from a proportion."""
        patch_size, architecture = plan["patch_size"], plan["architecture"]
        limit = round(dataset_voxels * self.largest_share / np.prod(patch_size, dtype=np.float64))
        plan["batch_size"] = largest_batch(
            lambda batch: self._cost(patch_size, architecture, batch).memory,
            self.target,
            self.smallest_batch,
            max(limit, self.smallest_batch),
        )

    def finish_plans(self, plans: dict[str, Any]) -> None:
        """Complete the plans: the settings, and a patch of the cascade's own where its extra channels need one."""
        plans[PLANS_KEY] = dict(self.settings)
        if CASCADE in plans["configurations"]:
            self._plan_cascade(plans)

    def use_published_size(self, plans: dict[str, Any]) -> str:
        """Give the configuration that the paper trains its patch and batch, with the topology nnU-Net has for them.

        Args:
            plans: What ``plan_experiment`` returned; changed.

        Returns:
            Name of the configuration.

        Raises:
            PlansError: The trainer states no published size, or the dataset has no such configuration.
        """
        published = self.trainer.published_size
        if published is None:
            raise PlansError(f"{self.trainer.__name__} has no published patch and batch.")
        name = "2d" if len(published.patch_size) == 2 else "3d_fullres"
        if name not in plans["configurations"]:
            raise PlansError(f"The paper's configuration is {name}, and this dataset has none.")
        plan = plans["configurations"][name]
        patch: Sequence[int] = published.patch_size
        if name == "3d_fullres":
            # the plans' axes are those of the images in another order
            patch = [patch[axis] for axis in self._transpose_forward]
        topology = self.topology(plan["spacing"], patch)
        stages = len(topology.strides)
        plan["patch_size"], plan["batch_size"] = topology.patch_size, published.batch_size
        plan["architecture"]["arch_kwargs"].update(
            n_stages=stages,
            strides=topology.strides,
            kernel_sizes=topology.kernel_sizes,
            **self.stages(len(patch), stages),
        )
        make_json_ready(plans)
        return name

    def _plan_cascade(self, plans: dict[str, Any]) -> None:
        inherited = plans["configurations"]["3d_fullres"]
        voxels = float(np.prod(inherited["median_image_size_in_voxels"], dtype=np.float64))
        self._previous_stage = "3d_lowres"
        own = self.plan_configuration(
            inherited["spacing"],
            inherited["median_image_size_in_voxels"],
            inherited["data_identifier"],
            voxels * self.dataset_json["numTraining"],
        )
        self._previous_stage = None
        if (tuple(own["patch_size"]), own["batch_size"]) != (tuple(inherited["patch_size"]), inherited["batch_size"]):
            changed = {key: own[key] for key in ("patch_size", "batch_size", "architecture")}
            plans["configurations"][CASCADE].update(changed)

    def _cost(self, patch_size: Sequence[int], architecture: dict[str, Any], batch_size: int) -> StepCost:
        """Cost of a step; remembered, since the search for the low resolution comes back to the same sizes."""
        kwargs = architecture["arch_kwargs"]
        key = f"{self._previous_stage} {list(patch_size)} {kwargs['strides']} {kwargs['kernel_sizes']} {batch_size}"
        if key not in self._costs:
            self.begin(f"patch {'x'.join(str(int(side)) for side in patch_size)}, batch {batch_size}")
            self._costs[key] = step_cost(
                self.trainer,
                self._candidate(patch_size, architecture, batch_size),
                configuration="candidate",
                dataset_json=self.dataset_json,
                mixed_precision=self.mixed_precision,
            )
        return self._costs[key]

    def _candidate(self, patch_size: Sequence[int], architecture: dict[str, Any], batch_size: int) -> dict[str, Any]:
        """Plans with what a trainer reads to build its network, its loss and a batch."""
        configuration = {
            "data_identifier": "candidate",
            "batch_size": batch_size,
            "patch_size": [int(side) for side in patch_size],
            "batch_dice": True,
            "architecture": deepcopy(architecture),
        }
        if self._previous_stage is not None:
            configuration["previous_stage"] = self._previous_stage
        plans = {
            "dataset_name": self.dataset_name,
            "plans_name": self.plans_identifier,
            "transpose_forward": self._transpose_forward,
            "label_manager": "LabelManager",
            PLANS_KEY: dict(self.settings),
            "configurations": {"candidate": configuration},
        }
        make_json_ready(plans)
        return plans


def largest_batch(memory: Callable[[int], int], target: float, least: int, most: int) -> int:
    """Largest batch from ``least`` to ``most`` whose memory is not above the target; ``least`` if none is.

    Args:
        memory: Batch size to bytes; grows with the batch, nearly in proportion.
        target: Bytes.
        least: Smallest batch.
        most: Largest batch.
    """
    if most <= least or memory(least + 1) > target:
        return least
    if memory(most) <= target:
        return most
    fits, too_large = least, most
    while too_large - fits > 1:
        # where a line between the two meets the target; a step beyond it keeps both ends moving
        share = (target - memory(fits)) / max(memory(too_large) - memory(fits), 1)
        guess = fits + int(share * (too_large - fits))
        for batch in (guess, guess + 1):
            if fits < batch < too_large:
                if memory(batch) <= target:
                    fits = batch
                else:
                    too_large = batch
    return fits
