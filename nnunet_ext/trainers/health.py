"""Health of a training, measured in its own steps: what each region is called, gradients, weight of loss components."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nnunet_ext.architectures.network_output import NetworkOutput
from nnunet_ext.architectures.precision import at_least_float32
from nnunet_ext.losses.composite import CompositeLoss
from nnunet_ext.losses.target import TargetFormat

# Names in nnU-Net's log: a list with a number a region each epoch, ...
CALLED, REFERENCE, SATURATED, REGION_GRADIENT = REGION_CURVES = (
    "health_called",
    "health_reference",
    "health_saturated",
    "health_region_gradient",
)
# ... and one number each epoch.
NORM, CLIPPED_NORM, CLIPPED_STEPS = STEP_CURVES = (
    "health_gradient_norm",
    "health_clipped_gradient_norm",
    "health_clipped_steps",
)
SHARE_PREFIX = "health_gradient_share_"  # of a loss component, whose name follows

STEPS_BETWEEN_LOOKS = 10  # logits are looked at in the first step of an epoch and in every tenth after it
EPOCHS_BETWEEN_SHARES = 10  # so rarely, because it takes a backward pass a component
# A probability that is less than this from 0 or 1 is saturated: 1 - p would be 0 in float32.
SATURATION = 2.0**-24


class TrainingHealth:
    """Sums over the training steps of an epoch. They stay on the device, which is never waited for.

    Args:
        n_regions: Number of regions, or of foreground classes.
        target_format: How nnU-Net writes the target.
        clipping: Norm of the gradient that steps are clipped to.
    """

    def __init__(self, n_regions: int, target_format: TargetFormat, clipping: float):
        self.n_regions = n_regions
        self.format = target_format
        self.clipping = clipping
        self._restart()

    def _restart(self) -> None:
        self._steps = 0
        self._counts: list[Tensor] = []  # (4, R) a look: voxels called, of the reference, saturated, and all
        self._gradients: list[Tensor] = []  # (2, R) a look: gradient where the region is in the batch, and whether
        self._norms: list[Tensor] = []

    @contextmanager
    def watched_step(self, loss: nn.Module, scaler: Any = None) -> Iterator[None]:
        """Look at what the loss is called with in this block, if this step is one to look at.

        Args:
            loss: The trainer's loss.
            scaler: The trainer's gradient scaler, or None.
        """
        self._steps += 1
        if (self._steps - 1) % STEPS_BETWEEN_LOOKS:
            yield
            return
        hook = loss.register_forward_pre_hook(lambda _, arguments: self._look(arguments[0], arguments[1], scaler))
        try:
            yield
        finally:
            hook.remove()

    def add_norm(self, norm: Tensor) -> None:
        """Take down the norm of a step's gradient, before clipping."""
        self._norms.append(norm.detach())

    def pop_sums(self) -> dict[str, Any]:
        """Sums of the epoch, which those of other processes can be added to, as :func:`epoch_values` takes them."""
        norms = torch.stack(self._norms).tolist() if self._norms else []
        # the gradient scaler skips steps whose gradient is not finite
        finite = [norm for norm in norms if math.isfinite(norm)]
        empty = torch.zeros(1, 4, self.n_regions)
        sums = {
            "counts": torch.stack(self._counts).sum(0).tolist() if self._counts else empty[0].tolist(),
            "gradients": torch.stack(self._gradients).sum(0).tolist() if self._gradients else empty[0, :2].tolist(),
            "norms": [
                math.fsum(finite),
                math.fsum(min(norm, self.clipping) for norm in finite),
                sum(norm > self.clipping for norm in finite),
                len(finite),
            ],
        }
        self._restart()
        return sums

    def _look(self, output: Any, target: Any, scaler: Any) -> None:
        logits = output.logits if isinstance(output, NetworkOutput) else output
        maps = logits if isinstance(logits, list) else [logits]
        target = target[0] if isinstance(target, list) else target
        # maps of the full size: of the heads of a nested U-Net all, with deep supervision the first
        maps = [one for one in maps if one.shape[2:] == target.shape[2:]]
        with torch.no_grad(), torch.autocast(target.device.type, enabled=False):
            voxels = [0, *range(2, target.ndim)]
            counted = self.format.counted(target)
            reference = self.format.reference(target, self.n_regions).sum(voxels).float()
            everything = torch.ones_like(target[:, :1], dtype=torch.bool) if counted is None else counted
            n_counted = everything.sum().float().expand(self.n_regions)
            called, saturated = torch.stack([self._called_and_saturated(one, everything) for one in maps]).mean(0)
            self._counts.append(torch.stack([called, reference, saturated, n_counted]))
            is_there = (reference > 0).float()
        scale = torch.ones((), device=target.device) if scaler is None else scaler.scale(torch.ones_like(called[0]))

        def add_gradient(gradient: Tensor) -> None:
            size = at_least_float32(gradient.detach()).abs().sum([0, *range(2, gradient.ndim)])[-self.n_regions :]
            self._gradients.append(torch.stack([size / scale * is_there, torch.zeros_like(is_there)]))

        self._gradients.append(torch.stack([torch.zeros_like(is_there), is_there]))
        for one in maps:
            if one.requires_grad:
                one.register_hook(add_gradient)

    def _called_and_saturated(self, logits: Tensor, counted: Tensor) -> Tensor:
        """Voxels that are called a region, and those whose probability is saturated, ``(2, R)``."""
        voxels = [0, *range(2, logits.ndim)]
        if self.format.regions:
            called = logits > 0
            saturated = logits.abs() > -math.log(SATURATION)
        else:
            probabilities = at_least_float32(logits).softmax(1)
            numbers = torch.arange(1, self.n_regions + 1, device=logits.device)
            called = probabilities.argmax(1, keepdim=True) == numbers.view(1, -1, *[1] * (logits.ndim - 2))
            saturated = ((probabilities < SATURATION) | (probabilities > 1 - SATURATION))[:, 1:]
        return torch.stack([(called & counted).sum(voxels), (saturated & counted).sum(voxels)]).float()


def epoch_values(sums: list[dict[str, Any]]) -> dict[str, Any]:
    """What is logged of an epoch: a list with a number a region, or a number; nan where there was nothing to measure.

    Args:
        sums: What :meth:`TrainingHealth.pop_sums` gave in each process.
    """
    called, reference, saturated, counted = _added([of_one["counts"] for of_one in sums])
    gradient, looks = _added([of_one["gradients"] for of_one in sums])
    norm, clipped_norm, clipped, steps = (math.fsum(values) for values in zip(*(s["norms"] for s in sums), strict=True))
    return {
        CALLED: _ratios(called, counted),
        REFERENCE: _ratios(reference, counted),
        SATURATED: _ratios(saturated, counted),
        REGION_GRADIENT: _ratios(gradient, looks),
        NORM: norm / steps if steps else math.nan,
        CLIPPED_NORM: clipped_norm / steps if steps else math.nan,
        CLIPPED_STEPS: clipped / steps if steps else math.nan,
    }


def gradient_shares(
    loss: CompositeLoss, network: nn.Module, run: Callable[[], Tensor], scaler: Any = None
) -> dict[str, float]:
    """Share of each weighted component in the gradient of what all of them train, the shared encoder.

    A share is the norm of the component's gradient over the sum of these norms, on the parameters that every component
    has a gradient for. Random numbers, the network's buffers and the loss's record are afterwards as they were before.

    Args:
        loss: The loss that ``run`` calls.
        network: The network that ``run`` calls, neither compiled nor distributed.
        run: Forward pass and loss of a batch.
        scaler: The trainer's gradient scaler, or None.

    Returns:
        Component -> share; nan where the components train nothing together, or a gradient is not finite.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    devices = [parameters[0].device] if parameters[0].device.type == "cuda" else []
    with torch.random.fork_rng(devices), loss.collected_components() as calls:
        run()
    squares = []
    for name in loss.component_names:
        component = torch.stack([call[name] for call in calls]).sum()
        if scaler is not None:
            component = scaler.scale(component)
        gradients = torch.autograd.grad(component, parameters, retain_graph=True, allow_unused=True)
        nothing = component.new_zeros(())
        squares.append(torch.stack([nothing if g is None else g.float().square().sum() for g in gradients]))
    for buffer, before in buffers:
        buffer.copy_(before)
    of_components = torch.stack(squares).cpu()  # (components, parameters)
    sizes = of_components[:, (of_components != 0).all(0)].sum(1).sqrt()
    return dict(zip(loss.component_names, (sizes / sizes.sum()).tolist(), strict=True))


def _added(tables: list[list[list[float]]]) -> list[list[float]]:
    return [[math.fsum(values) for values in zip(*rows, strict=True)] for rows in zip(*tables, strict=True)]


def _ratios(numbers: list[float], of: list[float]) -> list[float]:
    return [number / whole if whole else math.nan for number, whole in zip(numbers, of, strict=True)]
