"""nnU-Net's experiment planner with a trainer's own memory in place of the plain U-Net's."""

from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from copy import deepcopy
from io import StringIO
from typing import Any

import numpy as np
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props
from nnunetv2.utilities.json_export import recursive_fix_for_json_export

from nnunet_ext.planning.training_step import StepCost, step_cost
from nnunet_ext.plans.network_entry import PlansError
from nnunet_ext.plans.settings import PLANS_KEY
from nnunet_ext.trainers.base import MethodTrainer

GIGABYTE = 10**9  # bytes
# Share of the target that tensors may fill. The rest is for what cannot be counted: the kernels' workspace and what the
# allocator loses to fragmentation. Our choice, not measured; nnU-Net's own plans for 8 GB count 5.1 GB of tensors.
FILLED = 0.9
CASCADE = "3d_cascade_fullres"


class MethodPlanner(ExperimentPlanner):
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
        gpu_memory: Memory of the GPU, in GB of 10^9 bytes; tensors get 90 % of it.
        base_num_features: Features of the first stage.
        mixed_precision: Whether training is in mixed precision, as on a GPU; nnU-Net trains in float32 on the CPU.
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
    ):
        super().__init__(dataset, gpu_memory, plans_name=plans_name)
        self.trainer = trainer
        self.settings = settings
        self.target = FILLED * gpu_memory * GIGABYTE
        self.mixed_precision = mixed_precision
        default_base = self.UNet_reference_com_nfeatures
        self.UNet_base_num_features = base_num_features
        for name in ("UNet_max_features_2d", "UNet_max_features_3d"):
            setattr(self, name, getattr(self, name) * base_num_features // default_base)
        # The estimate is that of the smallest batch, in bytes: these make nnU-Net compare it with the target
        self.UNet_reference_val_2d = self.UNet_reference_val_3d = self.UNet_reference_val_corresp_GB * FILLED * GIGABYTE
        self.UNet_reference_val_corresp_bs_2d = self.UNet_reference_val_corresp_bs_3d = self.UNet_min_batch_size
        self._transpose_forward = [int(axis) for axis in self.determine_transpose()[0]]
        self._previous_stage: str | None = None
        self._costs: dict[str, StepCost] = {}

    def static_estimate_VRAM_usage(  # noqa: N802 - nnU-Net's name
        self,
        patch_size: Sequence[int],
        input_channels: int,
        output_channels: int,
        arch_class_name: str,
        arch_kwargs: dict[str, Any],
        arch_kwargs_req_import: Sequence[str],
    ) -> int:
        """Bytes of a training step with the smallest batch.

        Args:
            patch_size: Candidate patch, in voxels.
            input_channels: Not used: the trainer knows the dataset and the cascade.
            output_channels: Not used.
            arch_class_name: nnU-Net's network.
            arch_kwargs: Its arguments for this patch.
            arch_kwargs_req_import: Which of them are classes.

        Raises:
            PlansError: The patch cannot shrink any more and does not fit.
        """
        architecture = {
            "network_class_name": arch_class_name,
            "arch_kwargs": arch_kwargs,
            "_kw_requires_import": arch_kwargs_req_import,
        }
        cost = self._cost(patch_size, architecture, self.UNet_min_batch_size)
        smallest = max(patch_size) < 2 * self.UNet_featuremap_min_edge_length or min(patch_size) == 1
        if cost.fixed > self.target or (smallest and cost.memory > self.target):
            raise PlansError(
                f"No patch fits {self.UNet_vram_target_GB:g} GB, of which tensors get {FILLED:.0%}: "
                f"{self.trainer.__name__}'s weights and optimizer take "
                f"{cost.fixed / GIGABYTE:.2f} GB, and two patches of {tuple(map(int, patch_size))} voxels "
                f"{cost.passes / GIGABYTE:.2f} GB. Give more memory (--gpu-memory) or narrow the network "
                "(base_num_features=16)."
            )
        return cost.memory

    def get_plans_for_configuration(
        self, spacing: Any, median_shape: Any, data_identifier: str, approximate_n_voxels_dataset: float, _cache: dict
    ) -> dict[str, Any]:
        """nnU-Net's plan of a configuration, with the largest batch that fits instead of one from a proportion."""
        plan = super().get_plans_for_configuration(
            spacing, median_shape, data_identifier, approximate_n_voxels_dataset, _cache
        )
        patch_size, architecture = plan["patch_size"], plan["architecture"]
        voxels = np.prod(patch_size, dtype=np.float64)
        limit = round(approximate_n_voxels_dataset * self.max_dataset_covered / voxels)
        plan["batch_size"] = largest_batch(
            lambda batch: self._cost(patch_size, architecture, batch).memory,
            self.target,
            self.UNet_min_batch_size,
            max(limit, self.UNet_min_batch_size),
        )
        return plan

    def plan_experiment(self) -> dict[str, Any]:
        """Plans of all configurations; not written, unlike nnU-Net's."""
        with redirect_stdout(StringIO()):
            plans = super().plan_experiment()
        return plans

    def save_plans(self, plans: dict[str, Any]) -> None:
        """Complete the plans: the settings, and a patch of the cascade's own where its extra channels need one."""
        plans[PLANS_KEY] = dict(self.settings)
        if CASCADE in plans["configurations"]:
            self._plan_cascade(plans)
        recursive_fix_for_json_export(plans)

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
        _, strides, kernels, patch, _ = get_pool_and_conv_props(
            plan["spacing"], patch, self.UNet_featuremap_min_edge_length, 999999
        )
        stages = len(strides)
        widest = self.UNet_max_features_2d if len(patch) == 2 else self.UNet_max_features_3d
        plan["patch_size"], plan["batch_size"] = patch, published.batch_size
        plan["architecture"]["arch_kwargs"].update(
            n_stages=stages,
            features_per_stage=[min(widest, self.UNet_base_num_features * 2**stage) for stage in range(stages)],
            strides=strides,
            kernel_sizes=kernels,
            n_conv_per_stage=self.UNet_blocks_per_stage_encoder[:stages],
            n_conv_per_stage_decoder=self.UNet_blocks_per_stage_decoder[: stages - 1],
        )
        recursive_fix_for_json_export(plans)
        return name

    def _plan_cascade(self, plans: dict[str, Any]) -> None:
        inherited = plans["configurations"]["3d_fullres"]
        voxels = float(np.prod(inherited["median_image_size_in_voxels"], dtype=np.float64))
        self._previous_stage = "3d_lowres"
        own = self.get_plans_for_configuration(
            inherited["spacing"],
            inherited["median_image_size_in_voxels"],
            inherited["data_identifier"],
            voxels * self.dataset_json["numTraining"],
            {},
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
            self._costs[key] = step_cost(
                self.trainer,
                self._candidate(patch_size, architecture, batch_size),
                "candidate",
                self.dataset_json,
                self.mixed_precision,
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
        recursive_fix_for_json_export(plans)
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
