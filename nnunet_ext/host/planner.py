"""nnU-Net's experiment planners."""

from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib import import_module
from inspect import getmembers, isclass, signature
from io import StringIO
from pkgutil import walk_packages
from typing import Any, NamedTuple

from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
    ResEncUNetPlanner,
)

from nnunet_ext.host.plans import make_json_ready

NO_LIMIT = 999999  # nnU-Net's own number, of poolings


class Topology(NamedTuple):
    """What nnU-Net makes of a spacing and a patch.

    Attributes:
        strides: Of each stage.
        kernel_sizes: Of each stage.
        patch_size: The patch, padded to what the strides divide.
    """

    strides: Sequence[Sequence[int]]
    kernel_sizes: Sequence[Sequence[int]]
    patch_size: Sequence[int]


class HostPlanner(ExperimentPlanner):
    """nnU-Net's planner, its fields under names that say what for, its steps as methods to override.

    Args:
        dataset: Dataset ID or name.
        gpu_memory: Memory to plan for, in GB.
        plans_name: Name of the new plans.
        base_num_features: Features of the first stage.
        bytes_per_gigabyte: Bytes of ``step_memory`` that may be filled of each GB.
        residual: Whether nnU-Net's residual-encoder U-Net is planned in place of its plain one.
    """

    def __init__(
        self,
        dataset: str | int,
        gpu_memory: float,
        plans_name: str,
        base_num_features: int,
        bytes_per_gigabyte: float,
        residual: bool = False,
    ):
        super().__init__(dataset, gpu_memory, plans_name=plans_name)
        default_base = self.UNet_reference_com_nfeatures
        changed: dict[str, float] = {"UNet_base_num_features": base_num_features}
        for dimension in ("2d", "3d"):
            widest = f"UNet_max_features_{dimension}"
            changed[widest] = getattr(self, widest) * base_num_features // default_base
            # the estimate is that of the smallest batch, in bytes: with these nnU-Net compares it with the memory
            changed[f"UNet_reference_val_{dimension}"] = self.UNet_reference_val_corresp_GB * bytes_per_gigabyte
            changed[f"UNet_reference_val_corresp_bs_{dimension}"] = self.UNet_min_batch_size
        for name, value in changed.items():
            if not hasattr(self, name):
                raise AttributeError(f"nnU-Net's planner has no {name} any more.")  # else it would be set for nothing
            setattr(self, name, value)

        self._residual = ResEncUNetPlanner(dataset) if residual else None

    def step_memory(self, patch_size: Sequence[int], architecture: dict[str, Any]) -> int:
        """Bytes that count against the memory: of a training step with the smallest batch.

        Args:
            patch_size: Candidate patch, in voxels.
            architecture: Entry of the plans that describes nnU-Net's network for this patch.
        """
        raise NotImplementedError

    def finish_configuration(self, plan: dict[str, Any], dataset_voxels: float) -> None:
        """Change nnU-Net's plan of a configuration, in place.

        Args:
            plan: The plan.
            dataset_voxels: Voxels of all cases at the configuration's spacing, about.
        """

    def finish_plans(self, plans: dict[str, Any]) -> None:
        """Complete the plans before they are returned, in place."""

    def plan_experiment(self) -> dict[str, Any]:
        """Plans of all configurations; without a word and not written, unlike nnU-Net's."""
        with redirect_stdout(StringIO()):
            return super().plan_experiment()

    def plan_configuration(
        self, spacing: Any, median_shape: Any, data_identifier: str, dataset_voxels: float
    ) -> dict[str, Any]:
        """Plan of one configuration.

        Args:
            spacing: Voxel size in mm.
            median_shape: Median shape of the images at this spacing, in voxels.
            data_identifier: Folder of the preprocessed data.
            dataset_voxels: See ``finish_configuration``.
        """
        return self.get_plans_for_configuration(spacing, median_shape, data_identifier, dataset_voxels, {})

    @property
    def gigabytes(self) -> float:
        """Memory to plan for."""
        return self.UNet_vram_target_GB

    @property
    def smallest_batch(self) -> int:
        """Samples of the smallest batch."""
        return self.UNet_min_batch_size

    @property
    def smallest_feature_map(self) -> int:
        """Edge below which nnU-Net does not pool, in voxels."""
        return self.UNet_featuremap_min_edge_length

    @property
    def largest_share(self) -> float:
        """Largest share of all voxels of the data set that may be in a batch."""
        return self.max_dataset_covered

    def axes_order(self) -> list[int]:
        """Axis of the images that is each axis of the plans."""
        return [int(axis) for axis in self.determine_transpose()[0]]

    def topology(self, spacing: Sequence[float], patch_size: Sequence[int]) -> Topology:
        """Strides, kernels and the patch that fits them.

        Args:
            spacing: Voxel size in mm.
            patch_size: Wanted patch, in voxels.
        """
        from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props

        _, *found, _ = get_pool_and_conv_props(spacing, patch_size, self.smallest_feature_map, NO_LIMIT)
        return Topology(*found)

    def stages(self, dimension: int, number: int) -> dict[str, Any]:
        """Width and convolutions or blocks of each stage of the U-Net, as ``arch_kwargs`` names them.

        Args:
            dimension: 2 or 3.
            number: Number of stages.
        """
        widest = self.UNet_max_features_2d if dimension == 2 else self.UNet_max_features_3d
        planner = self._residual or self
        return {
            "features_per_stage": [min(widest, self.UNet_base_num_features * 2**stage) for stage in range(number)],
            "n_conv_per_stage" if self._residual is None else "n_blocks_per_stage": (
                planner.UNet_blocks_per_stage_encoder[:number]
            ),
            "n_conv_per_stage_decoder": planner.UNet_blocks_per_stage_decoder[: number - 1],
        }

    def _wanted_network(self, architecture: dict[str, Any]) -> dict[str, Any]:
        """nnU-Net's plain U-Net of a plan, or the residual one of the same topology."""
        if self._residual is None:
            return architecture
        network = self._residual.UNet_class
        kwargs = {name: value for name, value in architecture["arch_kwargs"].items() if name != "n_conv_per_stage"}
        return {
            **architecture,
            "network_class_name": f"{network.__module__}.{network.__name__}",
            "arch_kwargs": kwargs | self.stages(len(kwargs["strides"][0]), kwargs["n_stages"]),
        }

    def static_estimate_VRAM_usage(  # noqa: N802 - nnU-Net's name; it calls this for each candidate
        self,
        patch_size: Sequence[int],
        input_channels: int,
        output_channels: int,
        arch_class_name: str,
        arch_kwargs: dict[str, Any],
        arch_kwargs_req_import: Sequence[str],
    ) -> int:
        """``step_memory`` in place of nnU-Net's estimate."""
        architecture = {
            "network_class_name": arch_class_name,
            "arch_kwargs": arch_kwargs,
            "_kw_requires_import": arch_kwargs_req_import,
        }
        return self.step_memory(patch_size, self._wanted_network(architecture))

    def get_plans_for_configuration(
        self, spacing: Any, median_shape: Any, data_identifier: str, approximate_n_voxels_dataset: float, _cache: dict
    ) -> dict[str, Any]:
        """nnU-Net's plan of a configuration, and then ``finish_configuration``."""
        plan = super().get_plans_for_configuration(
            spacing, median_shape, data_identifier, approximate_n_voxels_dataset, _cache
        )
        plan["architecture"] = self._wanted_network(plan["architecture"])
        self.finish_configuration(plan, approximate_n_voxels_dataset)
        return plan

    def save_plans(self, plans: dict[str, Any]) -> None:
        """``finish_plans`` in place of writing a file."""
        self.finish_plans(plans)
        make_json_ready(plans)


def planners_by_plans_name() -> dict[str, str]:
    """Name of plans -> planner of nnU-Net that makes them, where it is told no other name."""
    from nnunetv2.experiment_planning import experiment_planners

    planners: dict[str, str] = {}
    for module in walk_packages(experiment_planners.__path__, f"{experiment_planners.__name__}."):
        for name, member in getmembers(import_module(module.name), isclass):
            if issubclass(member, ExperimentPlanner):
                planners.setdefault(signature(member).parameters["plans_name"].default, name)
    return planners
