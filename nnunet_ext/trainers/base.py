"""What all trainers share: settings and network through the plans, loss components in the log."""

import math
import random
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from importlib.metadata import version
from os.path import join
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from torch import Tensor, nn
from torch import distributed as dist

from nnunet_ext import __version__
from nnunet_ext.architectures.method_network import MethodNetwork
from nnunet_ext.augmentation.modality_dropout import ModalityDropout, resolve_modality_dropout
from nnunet_ext.files.atomic import check_writable
from nnunet_ext.files.checkpoint import atomic_checkpoint, read_to_continue
from nnunet_ext.files.fold_lock import lock_fold
from nnunet_ext.host.trainer import HostTrainer
from nnunet_ext.losses.composite import CompositeLoss
from nnunet_ext.losses.target import TargetFormat
from nnunet_ext.parallel import exit_when_a_child_is_killed, forked_processes_end_with_this_one
from nnunet_ext.plans.modalities import ModalityError, channel_names
from nnunet_ext.plans.network_entry import PlansError, write_architecture
from nnunet_ext.plans.settings import (
    PLANS_KEY,
    TrainingSettings,
    given_settings,
    read_settings,
    settings_as_json,
    settings_block,
)
from nnunet_ext.trainers.component_plot import plot_component_losses
from nnunet_ext.trainers.continuation import ContinuationError, differences
from nnunet_ext.trainers.health import (
    EPOCHS_BETWEEN_SHARES,
    REGION_CURVES,
    SHARE_PREFIX,
    STEP_CURVES,
    TrainingHealth,
    epoch_values,
    gradient_shares,
)
from nnunet_ext.trainers.health_findings import findings, region_names
from nnunet_ext.trainers.health_plot import is_drawn_after, plot_health
from nnunet_ext.version import commit, version_text

COMPONENT_PREFIX = "loss_"
CHECKPOINT_PER_WEIGHTS = 3  # with both moments of Adam; SGD has one
REST_OF_A_TRAINING = 1 << 20  # bytes; plans, logs, figures


class NonFiniteLossError(RuntimeError):
    """The training loss is nan or infinite."""


class PublishedSize(NamedTuple):
    """Patch and batch that a paper trains with.

    Attributes:
        patch_size: Voxels along each axis, in the order of nnU-Net's images: (Z, Y, X), or (Y, X).
        batch_size: Samples a step.
    """

    patch_size: tuple[int, ...]
    batch_size: int


class MethodTrainer(HostTrainer):
    """Base of this package's trainers.

    A method sets the class attributes, says in ``topology`` and ``method_kwargs`` what goes into the plans, and
    overrides ``_build_loss`` and ``configure_optimizers`` as in any nnU-Net trainer. One whose training step is more
    than the loss of the network's output overrides ``forward_and_loss``.

    Args:
        plans: Content of the plans file; a block ``"nnunet_ext"`` in it overrides settings. Not changed.
        configuration: For example ``"3d_fullres"``.
        fold: Fold, or ``"all"``.
        dataset_json: Content of ``dataset.json``.
        device: Device to train on.

    Raises:
        SettingsError: Unknown setting, wrong type or value out of range.
        PlansError: The plans lack the configuration or were made for another network.
        ModalityError: The dataset's channels do not fit the method.
    """

    paper: ClassVar[str]
    adds: ClassVar[str]
    network_class: ClassVar[type[MethodNetwork]]
    settings_class: ClassVar[type[TrainingSettings]] = TrainingSettings
    deep_supervision: ClassVar[bool] = False
    published_size: ClassVar[PublishedSize | None] = None

    # nnU-Net reads the names of these parameters and accepts no others
    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's own signature
    ):
        # before nnU-Net's __init__, so that an error leaves no folder behind
        plans, settings, notes = self.prepare_plans(plans, configuration, dataset_json)
        super().__init__(plans, configuration, fold, dataset_json, device)
        # nnU-Net writes a trainer's attributes into debug.json, and no version but that of PyTorch
        self.nnunet_ext_version, self.nnunet_ext_commit = __version__, commit()
        self.nnunetv2_version = version("nnunetv2")
        self.print_to_log_file(f"nnunet_ext {version_text()}; nnunetv2 {self.nnunetv2_version}")
        self.settings = settings
        self.enable_deep_supervision = self.deep_supervision
        self.num_epochs = settings.num_epochs
        self.num_iterations_per_epoch = settings.num_iterations_per_epoch
        self.num_val_iterations_per_epoch = settings.num_val_iterations_per_epoch
        self.save_every = settings.save_every
        self.initial_lr = settings.initial_lr
        self.weight_decay = settings.weight_decay
        self.modality_dropout = ModalityDropout.of_settings(settings, channel_names(dataset_json), self.device)
        self._step = 0
        self._cases: list[str] = []
        self.region_names = region_names(dataset_json)
        labels = TargetFormat(self.label_manager.has_regions, self.label_manager.ignore_label)
        self._health = TrainingHealth(len(self.region_names), labels, settings.gradient_clipping)
        self._shares: dict[str, float] = {}
        for note in notes:
            self.print_to_log_file(note)

    @classmethod
    def prepare_plans(
        cls, plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any]
    ) -> tuple[dict[str, Any], Any, list[str]]:
        """Plans that describe this method's network and hold all its settings; the given plans are not changed.

        Args:
            plans: Content of a plans file.
            configuration: Configuration to prepare.
            dataset_json: Content of ``dataset.json``.

        Returns:
            The plans, the settings, and lines for the training log.

        Raises:
            SettingsError, PlansError, ModalityError: As the class says.
        """
        plans = deepcopy(plans)
        notes: list[str] = []
        settings = cls.settings_for(given_settings(plans), dataset_json, notes)
        cls.write_network(settings, plans, configuration, dataset_json)
        plans[PLANS_KEY] = settings_block(settings_as_json(settings))
        return plans, settings, notes

    @classmethod
    def settings_for(cls, values: dict[str, Any], dataset_json: dict[str, Any], notes: list[str]) -> Any:
        """Settings of a training, with what depends on the dataset filled in.

        Args:
            values: Settings that differ from the paper's.
            dataset_json: Content of ``dataset.json``.
            notes: Lines for the training log are appended.

        Raises:
            SettingsError, ModalityError: As the class says.
        """
        settings = read_settings(cls.settings_class, values)
        names = channel_names(dataset_json)
        if len(names) < cls.min_channels():
            from nnunet_ext.trainers import TRAINERS  # which imports this file

            fitting = [trainer.__name__ for trainer in TRAINERS if trainer.min_channels() <= len(names)]
            raise ModalityError(
                f"{cls.__name__} needs at least {cls.min_channels()} channels; the dataset has only "
                f"{', '.join(map(repr, names)) or 'none'}. Trainers that work on it: "
                f"{', '.join(fitting)}, and nnU-Net's nnUNetTrainer."
            )
        return cls.resolve_settings(settings, dataset_json, notes)

    @classmethod
    def min_channels(cls) -> int:
        """Channels that a dataset must have; two or more for methods between modalities."""
        return 1

    @classmethod
    def resolve_settings(cls, settings: Any, dataset_json: dict[str, Any], notes: list[str]) -> Any:
        """Settings with what depends on the dataset filled in, so that the saved plans hold it.

        Args:
            settings: Settings as the plans give them.
            dataset_json: Content of ``dataset.json``.
            notes: Lines for the training log can be appended.
        """
        return resolve_modality_dropout(settings, channel_names(dataset_json), notes)

    @classmethod
    def write_network(
        cls, settings: Any, plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any]
    ) -> None:
        """Make the plans' configuration describe this method's network, in place."""
        method_kwargs = cls.method_kwargs(settings, plans, configuration, dataset_json)
        write_architecture(
            plans, configuration, network_class=cls.network_class, topology=cls.topology, method_kwargs=method_kwargs
        )

    @classmethod
    def topology(cls, arch_kwargs: dict[str, Any]) -> dict[str, Any]:
        """Constructor arguments of this method's network from those of nnU-Net's U-Net.

        Raises:
            PlansError: The plans have too few stages for it.
        """
        try:
            return cls.network_class.topology(arch_kwargs)
        except ValueError as error:
            raise PlansError(str(error)) from None

    @classmethod
    def method_kwargs(
        cls, settings: Any, plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any]
    ) -> dict[str, Any]:
        """Constructor arguments of this method's network that come from the settings and the dataset."""
        return {}

    def initialize(self) -> None:
        """Seed where asked to, build all as nnU-Net does, then open the log entries of this package."""
        if self.settings.seed is not None:
            seed_everything(self.settings.seed + self.local_rank)
        super().initialize()
        for key in self._own_curves():
            self.log_curves.setdefault(key, [])

    def _own_curves(self) -> dict[str, Any]:
        """Names in the log -> what stands there for an epoch without a value."""
        curves: dict[str, Any] = dict.fromkeys(REGION_CURVES, [math.nan] * len(self.region_names))
        curves |= dict.fromkeys(STEP_CURVES, math.nan)
        if isinstance(self.loss, CompositeLoss):
            names = self.loss.component_names
            curves |= dict.fromkeys([COMPONENT_PREFIX + name for name in names], math.nan)
            if len(names) > 1:
                curves |= dict.fromkeys([SHARE_PREFIX + name for name in names], math.nan)
        return curves

    def get_training_transforms(self, *arguments: Any, **keywords: Any) -> BasicTransform:
        """What nnU-Net's data loader does to a training sample.

        Trainers with an augmentation of their own override ``own_training_transforms``, never this, so that
        ``change_training_transforms`` reaches all of them.

        Args:
            arguments: As nnU-Net passes them: patch size, rotation, scales of deep supervision, axes to mirror, whether
                to augment slice by slice.
            keywords: As nnU-Net passes them: ``use_mask_for_norm``, and what the labels are.
        """
        return self.change_training_transforms(self.own_training_transforms(*arguments, **keywords))

    def own_training_transforms(self, *arguments: Any, **keywords: Any) -> BasicTransform:
        """The trainer's augmentation and what nnU-Net does to labels: here nnU-Net's own.

        Args:
            arguments: See ``get_training_transforms``.
            keywords: See ``get_training_transforms``.
        """
        return super().get_training_transforms(*arguments, **keywords)

    def change_training_transforms(self, transforms: BasicTransform) -> BasicTransform:
        """The hook of the augmentation, the same for every trainer: override to put transforms before or after.

        Args:
            transforms: The trainer's own. Before them labels are as stored and -1 is outside the image; after them the
                image has the cascade's channels, and labels are those of the loss, a list with deep supervision.
        """
        return transforms

    def get_dataloaders(self) -> Any:
        """Start the data loaders as nnU-Net does; their processes end with this one, even where it is killed."""
        with forked_processes_end_with_this_one():
            return super().get_dataloaders()

    def on_train_start(self) -> None:
        """Start the training as nnU-Net does, where no other process trains this fold and a checkpoint has room.

        nnU-Net replaces the plans beside the models of all folds first, and a full disk may cut them off.

        Raises:
            TrainingError: Another process trains this fold.
            InputError: The disk has no room for a checkpoint, or the folder cannot be written to.
        """
        self._lock_fold()
        if not self.was_initialized:  # nnU-Net's first step, and the network's size is needed
            self.initialize()
        if self.local_rank == 0:
            weights = sum(parameter.nbytes for parameter in self.network.parameters())
            check_writable(Path(self.output_folder), CHECKPOINT_PER_WEIGHTS * weights + REST_OF_A_TRAINING)
        super().on_train_start()

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Validate as nnU-Net does, where no other process trains or validates this fold.

        Where the system kills a process that writes predictions, this one ends, too, instead of waiting for ever.

        Args:
            save_probabilities: Whether probabilities are written, too.

        Raises:
            TrainingError: One does.
        """
        self._lock_fold()
        if self.is_ddp:
            # A rank without a case of its own waits for the others, which would wait for it at their first pass.
            self.network.broadcast_buffers = False
        with exit_when_a_child_is_killed(self._say_why_validation_ends):
            super().perform_actual_validation(save_probabilities)

    def _say_why_validation_ends(self, signal_name: str) -> None:
        self.print_to_log_file(
            f"Error: A process that writes predictions of the validation was killed ({signal_name}), most likely for "
            "lack of memory. The training is complete: run the same command with --val, with fewer such processes "
            "(nnUNet_def_n_proc=1)."
        )

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Switch deep supervision of the network; stays off for methods without it."""
        self.unwrapped_network.deep_supervision = enabled and self.deep_supervision

    def forward_and_loss(self, images: Tensor, target: Any) -> Tensor:
        """Loss of a batch in training: what training, planning, and the tests of gradients and of DDP all compute.

        Call the network as ``self.network``, never unwrapped, so that DDP and torch.compile see every forward pass.

        Args:
            images: ``(B, C, *patch_size)``, on the trainer's device.
            target: Labels ``(B, 1, *patch_size)`` or regions ``(B, R, *patch_size)``, with an ignore label one channel
                more; a list of them, finest first, with deep supervision.

        Returns:
            Scalar to go backward from.
        """
        return self.loss(self.network(self.modality_dropout(images)), target)

    def on_train_epoch_start(self) -> None:
        """Start the epoch as nnU-Net does, and modality dropout's draws."""
        super().on_train_epoch_start()
        self.modality_dropout.start_epoch(self.current_epoch, self.local_rank)

    def train_step(self, batch: dict) -> dict:
        """Train on a batch, with the numbers of nnU-Net's own step; stop with a message when the loss is not finite.

        Args:
            batch: ``"data"`` and ``"target"`` of ``forward_and_loss``, and ``"keys"``, the names of the cases.

        Returns:
            ``"loss"``, as nnU-Net collects it over the epoch.

        Raises:
            NonFiniteLossError: With the step, the loss components that are not finite and the cases of the batch.
        """
        self._step += 1
        self._cases = list(batch.get("keys", []))
        images, target = _to_device(batch["data"], self.device), _to_device(batch["target"], self.device)
        if self._step == 1 and self.current_epoch % EPOCHS_BETWEEN_SHARES == 0:
            self._measure_shares(images, target)
        self.optimizer.zero_grad(set_to_none=True)
        with self._mixed_precision(), self._health.watched_step(self.loss, self.grad_scaler):
            loss = self.forward_and_loss(images, target)
        if self.grad_scaler is None:
            # before the weights are lost
            self._stop_unless_finite(loss.detach())
            loss.backward()
            self._clip_gradients()
            self.optimizer.step()
        else:
            # The scaler skips the optimizer's step when gradients are not finite, so it is enough to look at the loss
            # below, where it is on the CPU anyway: the GPU is not waited for once more.
            self.grad_scaler.scale(loss).backward()
            self.grad_scaler.unscale_(self.optimizer)
            self._clip_gradients()
            self.grad_scaler.step(self.optimizer)
            self.grad_scaler.update()
        value = loss.detach().cpu().numpy()
        self._stop_unless_finite(value)
        return {"loss": value}

    def _mixed_precision(self) -> AbstractContextManager:
        # as nnU-Net: on NVIDIA GPUs alone
        return torch.autocast("cuda") if self.device.type == "cuda" else nullcontext()

    def _measure_shares(self, images: Tensor, target: Any) -> None:
        """Weigh the gradients of the loss components on the first sample, in passes of their own.

        Not with several processes: their losses wait for each other, and one that is out of memory would not be there.
        """
        if not isinstance(self.loss, CompositeLoss) or len(self.loss.component_names) < 2 or self.is_ddp:
            return
        one = [each[:1] for each in target] if isinstance(target, list) else target[:1]
        # compiled networks free what a second backward pass would need
        network, self.network = self.network, self.unwrapped_network
        draws = self.modality_dropout.generator.get_state()
        try:
            with self._mixed_precision():
                self._shares = gradient_shares(
                    self.loss, self.network, lambda: self.forward_and_loss(images[:1], one), self.grad_scaler
                )
        except torch.OutOfMemoryError:
            self.print_to_log_file("No memory to weigh the gradients of the loss components.")
        finally:
            self.network = network
            self.modality_dropout.generator.set_state(draws)

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """Log the training loss as nnU-Net does, the mean of each loss component, and the epoch's health."""
        self._step = 0
        super().on_train_epoch_end(train_outputs)
        self._log_health()
        if not isinstance(self.loss, CompositeLoss):
            return
        means = self.loss.pop_component_means()
        if self.is_ddp:
            of_all_ranks: list[dict[str, float]] = [{} for _ in range(dist.get_world_size())]
            dist.all_gather_object(of_all_ranks, means)
            means = {name: math.fsum(m[name] for m in of_all_ranks) / len(of_all_ranks) for name in means}
        for key in self._component_curves():
            self.logger.log(key, means.get(key.removeprefix(COMPONENT_PREFIX), math.nan), self.current_epoch)
        self.print_to_log_file("loss components", {name: round(value, 4) for name, value in means.items()})

    def _log_health(self) -> None:
        sums = [self._health.pop_sums()]
        if self.is_ddp:
            of_all_ranks: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(of_all_ranks, sums[0])
            sums = of_all_ranks
        values = epoch_values(sums) | {SHARE_PREFIX + name: share for name, share in self._shares.items()}
        self._shares = {}
        for key, nothing in self._own_curves().items():
            if not key.startswith(COMPONENT_PREFIX):
                self.logger.log(key, values.get(key, nothing), self.current_epoch)
        for finding in findings(self.log_curves, self.region_names):
            if finding.noticed == self.current_epoch:
                self.print_to_log_file(f"WARNING: {finding.text} {finding.advice(self.initial_lr)}")

    def on_epoch_end(self) -> None:
        """End the epoch as nnU-Net does, and plot the loss components and the health beside progress.png."""
        super().on_epoch_end()
        if self.local_rank == 0 and is_drawn_after(self.current_epoch, self.num_epochs):
            plot_health(self.log_curves, self.region_names, join(self.output_folder, "progress_health.png"))
        curves = self._component_curves()
        if self.local_rank == 0 and curves:
            named = {key.removeprefix(COMPONENT_PREFIX): values for key, values in curves.items()}
            plot_component_losses(named, join(self.output_folder, "progress_components.png"))

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        """Load a checkpoint as nnU-Net does; curves that it has no history of get nan for the epochs before.

        Raises:
            UnreadableCheckpointError: The file is damaged or no checkpoint that a training can go on from.
            ContinuationError: Trainer, network or loss are others, and ``continue_with_changes`` is off.
        """
        notes = self._notes_on_continuing(filename_or_checkpoint) if isinstance(filename_or_checkpoint, str) else []
        made_with = self.made_with
        super().load_checkpoint(filename_or_checkpoint)
        self.made_with = made_with  # checkpoints say how they were trained last, not how they were at first
        for key, nothing in self._own_curves().items():
            self.log_curves.setdefault(key, [nothing] * self.current_epoch)
        for note in notes:
            self.print_to_log_file(note)

    def _notes_on_continuing(self, file: str) -> list[str]:
        checkpoint = read_to_continue(Path(file))
        plans, configuration = self.made_with["plans"], self.made_with["configuration"]
        found = differences(
            checkpoint, type(self).__name__, plans=plans, configuration=configuration, settings=self.settings
        )
        if found.major and not self.settings.continue_with_changes:
            plans_file = join(self.preprocessed_dataset_folder_base, f"{self.plans_manager.plans_name}.json")
            raise ContinuationError(
                f"{file} was trained otherwise. {' '.join(found.major)} Train as it was trained, or anew without --c. "
                f'To continue all the same, add "continue_with_changes": true to the block "{PLANS_KEY}" of '
                f"{plans_file}."
            )
        return found.minor + found.major

    def save_checkpoint(self, filename: str) -> None:
        """Write a checkpoint as nnU-Net does, but whole or not at all: a killed process leaves the one before it.

        Raises:
            InputError: The disk is full, or the file cannot be written for another reason of the operating system.
        """
        if self.local_rank != 0 or self.disable_checkpointing:
            super().save_checkpoint(filename)  # writes nothing
            return
        with atomic_checkpoint(Path(filename)) as temporary:
            super().save_checkpoint(str(temporary))

    def _lock_fold(self) -> None:
        if self.local_rank == 0 and (note := lock_fold(Path(self.output_folder))):
            self.print_to_log_file(note)

    def _clip_gradients(self) -> None:
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_clipping)
        self._health.add_norm(norm)

    def _stop_unless_finite(self, loss: Any) -> None:
        if math.isfinite(loss):
            return
        names = self.loss.non_finite_components() if isinstance(self.loss, CompositeLoss) else []
        message = (
            f"The loss is {float(loss)} in step {self._step} of epoch {self.current_epoch}; "
            f"not finite: {', '.join(names) or 'the loss'}; cases of the batch: {', '.join(self._cases) or 'unknown'}. "
            "The weights are those of the step before. Check these cases; if they are fine, lower initial_lr "
            "(nnunet_ext plan) and continue with --c."
        )
        self.print_to_log_file(message)
        raise NonFiniteLossError(message)

    def _component_curves(self) -> dict[str, list[float]]:
        return {key: values for key, values in self.log_curves.items() if key.startswith(COMPONENT_PREFIX)}


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and PyTorch; processes that nnU-Net starts for its data seed themselves, each time anew."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # the generator that nnU-Net's augmentation draws from
    torch.manual_seed(seed)


def _to_device(tensors: Any, device: torch.device) -> Any:
    """A tensor, or a list of tensors with deep supervision, on a device."""
    if isinstance(tensors, list):
        return [_to_device(tensor, device) for tensor in tensors]
    return tensors.to(device, non_blocking=True)
