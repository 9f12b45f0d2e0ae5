"""A trainer's training step without data or files: the memory it holds and the arithmetic it does, counted."""

from collections.abc import Iterable
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nnunet_ext.counting.arithmetic import operation_counter
from nnunet_ext.counting.cuda_precision import cuda_mixed_precision
from nnunet_ext.counting.tensor_bytes import TensorBytes
from nnunet_ext.host.plans import input_channels
from nnunet_ext.host.torch_internals import TensorsWithoutData
from nnunet_ext.host.trainer import nnUNetTrainer
from nnunet_ext.plans.network_entry import check_names
from nnunet_ext.trainers.base import MethodTrainer
from nnunet_ext.trainers.without_output import without_output


@dataclass(frozen=True)
class StepCost:
    """What a training step takes.

    Attributes:
        parameters: Number of trained values.
        fixed: Bytes of weights and optimizer state.
        passes: Most bytes that forward and backward pass hold at once beside these: batch, layers' outputs, gradients.
        operations: Multiplications and additions of convolutions and matrix products in both passes; 0 if not asked
            for. Recurrent layers are not counted.
    """

    parameters: int
    fixed: int
    passes: int
    operations: int

    @property
    def memory(self) -> int:
        """Bytes held at the peak of a step."""
        return self.fixed + self.passes


class TrainingStep:
    """nnU-Net's training step with a trainer's own network, loss and optimizer, on a batch without content.

    Built inside ``TensorsWithoutData`` nothing is computed and nothing allocated; built outside, the step is real.

    Args:
        trainer_class: nnU-Net's trainer or one of this package.
        plans: Content of a plans file; not changed.
        configuration: Configuration to train.
        dataset_json: Content of ``dataset.json``. An ignore label is left out: nnU-Net's losses look into the data
            for it, and it costs no more than a mask.
        mixed_precision: Whether as on a GPU (autocast) or as on the CPU (float32).
    """

    def __init__(
        self,
        trainer_class: type[nnUNetTrainer],
        plans: dict[str, Any],
        configuration: str,
        dataset_json: dict[str, Any],
        mixed_precision: bool,
    ):
        labels = {name: value for name, value in dataset_json["labels"].items() if name != "ignore"}
        self.mixed_precision = mixed_precision
        check_names(plans, configuration)
        with without_output():
            trainer = trainer_class(
                deepcopy(plans) | {"continue_training": False},
                configuration,
                0,
                dataset_json | {"labels": labels},
                torch.device("cpu"),
            )
            manager = trainer.configuration_manager
            trainer.num_input_channels = input_channels(trainer.plans_manager, manager, trainer.dataset_json)
            trainer.network = trainer.build_network_architecture(
                trainer.plans_manager,
                manager,
                trainer.num_input_channels,
                trainer.label_manager.num_segmentation_heads,
                trainer.enable_deep_supervision,
            ).train()
            trainer.loss = trainer._build_loss()
            trainer.optimizer, _ = trainer.configure_optimizers()
        self.trainer = trainer

    def batch(self) -> tuple[Tensor, Any]:
        """Images and target as nnU-Net's data loader gives them."""
        trainer, manager = self.trainer, self.trainer.configuration_manager
        images = torch.zeros(manager.batch_size, trainer.num_input_channels, *manager.patch_size)
        scales = trainer._get_deep_supervision_scales() or [[1] * len(manager.patch_size)]
        regions = trainer.label_manager.has_regions
        channels = len(trainer.label_manager.foreground_regions) if regions else 1
        targets = [
            torch.zeros(
                manager.batch_size,
                channels,
                *(round(side * factor) for side, factor in zip(manager.patch_size, scale, strict=True)),
                dtype=torch.bool if regions else torch.int16,
            )
            for scale in scales
        ]
        return images, targets if trainer.enable_deep_supervision else targets[0]

    def passes(self) -> None:
        """Forward pass, loss and backward pass, from no gradients."""
        self.trainer.optimizer.zero_grad(set_to_none=True)
        images, target = self.batch()
        with cuda_mixed_precision() if self.mixed_precision else nullcontext():
            if isinstance(self.trainer, MethodTrainer):
                loss = self.trainer.forward_and_loss(images, target)
            else:
                loss = self.trainer.loss(self.trainer.network(images), target)  # as nnUNetTrainer.train_step
        loss.backward()

    def update(self) -> None:
        """Step the optimizer, which has its state from then on."""
        self.trainer.optimizer.step()

    def weights(self) -> list[Tensor]:
        """Parameters and buffers of the network."""
        return [*self.trainer.network.parameters(), *self.trainer.network.buffers()]

    def fixed_bytes(self) -> int:
        """Bytes of weights and, after an update, of the optimizer's state."""
        states = self.trainer.optimizer.state.values()
        return _bytes([*self.weights(), *(x for state in states for x in state.values() if isinstance(x, Tensor))])


def step_cost(
    trainer_class: type[nnUNetTrainer],
    plans: dict[str, Any],
    configuration: str,
    dataset_json: dict[str, Any],
    mixed_precision: bool = True,
    count_operations: bool = False,
) -> StepCost:
    """Cost of a training step, found without computing it; under a second for the published networks.

    Args:
        trainer_class: nnU-Net's trainer or one of this package.
        plans: Content of a plans file; not changed.
        configuration: Configuration whose patch and batch are used.
        dataset_json: Content of ``dataset.json``.
        mixed_precision: Whether as on a GPU (autocast) or as on the CPU (float32).
        count_operations: Whether to count arithmetic too, which takes longer.
    """
    with TensorsWithoutData():
        step = TrainingStep(
            trainer_class,
            plans,
            configuration=configuration,
            dataset_json=dataset_json,
            mixed_precision=mixed_precision,
        )
        with TensorBytes(step.weights()) as counted:
            step.passes()
        step.update()
        counter = operation_counter()
        if count_operations:
            # apart, because this counter keeps tensors alive
            with counter:
                step.passes()
        return StepCost(
            parameters=sum(p.numel() for p in step.trainer.network.parameters()),
            fixed=step.fixed_bytes(),
            passes=counted.peak,
            operations=counter.get_total_flops() if count_operations else 0,
        )


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
