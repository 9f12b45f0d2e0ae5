"""A segmentation loss plus the weighted auxiliary losses of a method, each logged by name."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nnunet_ext.architectures.network_output import NetworkOutput

AuxiliaryLoss = Callable[[Any, Any], Tensor]


class CompositeLoss(nn.Module):
    """``segmentation + sum(weight * auxiliary)``, and a running mean of each component.

    In training mode networks return a :class:`NetworkOutput`, and all components are computed. In eval mode they
    return logits alone: then the loss is the segmentation loss, as nnU-Net's validation expects.

    Args:
        segmentation: Called with ``(logits, target)`` exactly as nnU-Net calls its own loss; weight 1.
        auxiliary: Name -> ``(weight, function)``. The function is called with ``(output.auxiliary, target)``, where
            target is what nnU-Net's data loader gives (a list with deep supervision), and returns a scalar. A component
            of weight 0 is not computed.

    Raises:
        ValueError: An auxiliary component is called ``"segmentation"``.
    """

    def __init__(self, segmentation: nn.Module, auxiliary: Mapping[str, tuple[float, AuxiliaryLoss]]):
        super().__init__()
        if "segmentation" in auxiliary:
            raise ValueError('"segmentation" is the name of the segmentation loss itself.')
        self.segmentation = segmentation
        self.auxiliary = {name: entry for name, entry in auxiliary.items() if entry[0] != 0}
        self._sums: dict[str, Tensor] = {}
        self._count = 0
        self._collected: list[dict[str, Tensor]] | None = None

    @property
    def component_names(self) -> tuple[str, ...]:
        """Names under which components are recorded, the segmentation loss first."""
        return ("segmentation", *self.auxiliary)

    def forward(self, output: Any, target: Any) -> Tensor:
        """Total loss of a training step (``NetworkOutput``) or segmentation loss of a validation step (logits)."""
        if not isinstance(output, NetworkOutput):
            return self.segmentation(output, target)
        total = segmentation = self.segmentation(output.logits, target)
        values = {"segmentation": segmentation}
        weighted = dict(values)
        for name, (weight, function) in self.auxiliary.items():
            values[name] = function(output.auxiliary, target)
            weighted[name] = weight * values[name]
            total = total + weighted[name]
        if self._collected is None:
            self._record(values)
        else:
            self._collected.append(weighted)
        return total

    @contextmanager
    def collected_components(self) -> Iterator[list[dict[str, Tensor]]]:
        """The weighted components of each call in the block, with their graph; such calls are not recorded."""
        self._collected = []
        try:
            yield self._collected
        finally:
            self._collected = None

    def _record(self, values: Mapping[str, Tensor]) -> None:
        # Sums stay on the device: reading them here would wait for the GPU in every step.
        for name, value in values.items():
            value = value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._count += 1

    def non_finite_components(self) -> list[str]:
        """Names of the components that were nan or infinite in a training step since the last means were taken."""
        return [name for name, total in self._sums.items() if not torch.isfinite(total)]

    def pop_component_means(self) -> dict[str, float]:
        """Mean of each unweighted component over the training steps since the last call, then start anew.

        Returns:
            Name -> mean; empty when no training step was recorded.
        """
        if self._count == 0:
            return {}
        means = torch.stack([self._sums[name] for name in self.component_names]) / self._count
        self._sums, self._count = {}, 0
        return dict(zip(self.component_names, means.tolist(), strict=True))
