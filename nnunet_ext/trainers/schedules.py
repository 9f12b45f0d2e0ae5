"""Learning rates as functions of the absolute epoch, and the scheduler that applies one of them."""

import math
from collections.abc import Callable

from torch.optim import Optimizer


def poly(epoch: int, initial_lr: float, num_epochs: int, exponent: float = 0.9) -> float:
    """Polynomial decay, ``initial_lr * (1 - epoch / num_epochs) ** exponent``: nnU-Net's own schedule.

    Args:
        epoch: Absolute epoch, counted from 0.
        initial_lr: Learning rate at epoch 0.
        num_epochs: Length of the training in epochs.
        exponent: Exponent of the decay; 0.9 in all papers implemented here.
    """
    return initial_lr * (1 - epoch / num_epochs) ** exponent


def cosine(epoch: int, initial_lr: float, num_epochs: int) -> float:
    """Cosine decay, ``initial_lr * (1 + cos(pi * epoch / num_epochs)) / 2`` (slice classification Eq. 4).

    Args:
        epoch: Epoch, counted from 0.
        initial_lr: Learning rate at epoch 0.
        num_epochs: Length of the decay in epochs.
    """
    return initial_lr * (1 + math.cos(math.pi * epoch / num_epochs)) / 2


def with_warmup(epoch: int, initial_lr: float, warmup_epochs: int, learning_rate: float) -> float:
    """Linear warm-up, ``initial_lr * (epoch + 1) / warmup_epochs`` before epoch ``warmup_epochs``, then as given.

    Args:
        epoch: Absolute epoch, counted from 0.
        initial_lr: Learning rate that the last warm-up epoch reaches.
        warmup_epochs: Length of the warm-up in epochs; 0 turns it off.
        learning_rate: What the schedule after the warm-up gives for this epoch.
    """
    return initial_lr * (epoch + 1) / warmup_epochs if epoch < warmup_epochs else learning_rate


def halving(epoch: int, initial_lr: float, epochs_per_step: int) -> float:
    """Step decay, ``initial_lr * 0.5 ** (epoch // epochs_per_step)``.

    Args:
        epoch: Absolute epoch, counted from 0.
        initial_lr: Learning rate at epoch 0.
        epochs_per_step: Epochs between two halvings; 30 in Li et al. (MICCAI 2019), Implementation Details.
    """
    return initial_lr * 0.5 ** (epoch // epochs_per_step)


class EpochScheduler:
    """Sets every parameter group to ``learning_rate(epoch)``.

    nnU-Net calls ``step(current_epoch)`` at the start of each epoch and keeps no scheduler state in its checkpoints, so
    a schedule that depends on the absolute epoch alone is right after resuming as well.

    Args:
        optimizer: Optimizer whose learning rate is set; at once to that of epoch 0.
        learning_rate: Absolute epoch, counted from 0, to learning rate.
    """

    def __init__(self, optimizer: Optimizer, learning_rate: Callable[[int], float]):
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.step(0)

    def step(self, epoch: int) -> None:
        """Set the learning rate of ``epoch`` (absolute, from 0)."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(epoch)
