"""A small data set and its plans, without images on disk."""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

CHANNELS = ("T1", "T1ce", "T2", "FLAIR")
LABELS = {"background": 0, "necrosis": 1, "oedema": 2, "enhancing": 3}
REGIONS = {"background": 0, "whole_tumor": [1, 2, 3], "tumor_core": [1, 3], "enhancing_tumor": [3]}


@dataclass(frozen=True)
class Case:
    """A dataset and a configuration; the defaults are the plain 3d case."""

    name: str = "3d"
    dimension: int = 3
    patch_size: tuple[int, ...] = (16, 16, 16)
    strides: tuple[tuple[int, ...], ...] = ((1, 1, 1), (2, 2, 2), (2, 2, 2))
    kernel_sizes: tuple[tuple[int, ...], ...] = ((3, 3, 3), (3, 3, 3), (3, 3, 3))
    regions: bool = False
    ignore: bool = False
    cascade: bool = False
    residual: bool = False
    channels: tuple[str, ...] = CHANNELS
    base: int = 4
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def configuration(self) -> str:
        """Name of the configuration under test."""
        return "3d_cascade_fullres" if self.cascade else f"{self.dimension}d"

    @property
    def dataset_json(self) -> dict[str, Any]:
        """What ``dataset.json`` holds."""
        labels: dict[str, Any] = dict(REGIONS if self.regions else LABELS)
        if self.ignore:
            labels["ignore"] = 4
        json = {
            "channel_names": {str(i): name for i, name in enumerate(self.channels)},
            "labels": labels,
            "numTraining": 2,
            "file_ending": ".nii.gz",
        }
        return json | ({"regions_class_order": [2, 1, 3]} if self.regions else {})

    @property
    def plans(self) -> dict[str, Any]:
        """What nnU-Net's planner writes, as ``nnUNetv2_train`` passes it to a trainer."""
        stages = len(self.strides)
        convs = (
            {"n_blocks_per_stage": [1, 3, 4][:stages], "n_conv_per_stage_decoder": [1] * (stages - 1)}
            if self.residual
            else {"n_conv_per_stage": [2] * stages, "n_conv_per_stage_decoder": [2] * (stages - 1)}
        )
        network = "ResidualEncoderUNet" if self.residual else "PlainConvUNet"
        configuration = {
            "data_identifier": "nnUNetPlans_3d",
            "preprocessor_name": "DefaultPreprocessor",
            "batch_size": 2,
            "patch_size": list(self.patch_size),
            "spacing": [1.0] * self.dimension,
            "normalization_schemes": ["ZScoreNormalization"] * len(self.channels),
            "use_mask_for_norm": [True] * len(self.channels),
            "batch_dice": False,
            "architecture": {
                "network_class_name": f"dynamic_network_architectures.architectures.unet.{network}",
                "arch_kwargs": {
                    "n_stages": stages,
                    "features_per_stage": [self.base * 2**i for i in range(stages)],
                    "conv_op": f"torch.nn.modules.conv.Conv{self.dimension}d",
                    "kernel_sizes": [list(size) for size in self.kernel_sizes],
                    "strides": [list(stride) for stride in self.strides],
                    **convs,
                    "conv_bias": True,
                    "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{self.dimension}d",
                    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                    "dropout_op": None,
                    "dropout_op_kwargs": None,
                    "nonlin": "torch.nn.LeakyReLU",
                    "nonlin_kwargs": {"inplace": True},
                },
                "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
            },
        }
        configurations: dict[str, Any] = {f"{self.dimension}d": configuration}
        if self.cascade:
            # as nnU-Net plans it: the second stage inherits everything but its place in the cascade
            configurations["3d_cascade_fullres"] = {"inherits_from": "3d", "previous_stage": "3d_lowres"}
        return {
            "dataset_name": "Dataset999_Case",
            "plans_name": "nnUNetPlans",
            "original_median_spacing_after_transp": [1.0] * 3,
            "original_median_shape_after_transp": [20] * 3,
            "image_reader_writer": "SimpleITKIO",
            "transpose_forward": [0, 1, 2],
            "transpose_backward": [0, 1, 2],
            "label_manager": "LabelManager",
            "experiment_planner_used": "ExperimentPlanner",
            "foreground_intensity_properties_per_channel": {},
            "configurations": configurations,
            "nnunet_ext": deepcopy(self.settings),
        }

    @property
    def input_channels(self) -> int:
        """Channels of a batch, the cascade's one-hot channels included."""
        return len(self.channels) + (3 if self.cascade else 0)

    @property
    def num_classes(self) -> int:
        """Logits of the network."""
        return 3 if self.regions else 4
