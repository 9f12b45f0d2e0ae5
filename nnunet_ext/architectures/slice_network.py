"""What BiFPNet and NestedUNet share: the slice classifier beside the segmentation, mirrored passes, and the gate.

Paper: Nguyen et al., "Enhancing MRI Brain Tumor Segmentation with an Additional Classification Network", BraTS 2020,
Sec. 2.3 and 3.3. Written from the paper.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from nnunet_ext.architectures.method_network import MethodNetwork
from nnunet_ext.architectures.network_output import NetworkOutput
from nnunet_ext.architectures.precision import at_least_float32
from nnunet_ext.architectures.slice_classifier import (
    FIRST_RULE,
    TODAYS_RULE,
    SliceOutput,
    gate_logits,
    slices_with_content,
)

PUBLISHED_DROPOUT = 0.2  # rate not stated, see SliceTrainingSettings


def common_options(dropout_op: str | None) -> dict[str, Any]:
    """Constructor arguments that both networks take, as plans hold them.

    Args:
        dropout_op: Dropout of the network's blocks, or None.
    """
    return {
        "conv_bias": True,  # not stated: our choice, because nnU-Net's plans have it
        "norm_op": "nnunet_ext.architectures.GroupNorm",
        "norm_op_kwargs": {"num_groups": 8},  # Sec. 2
        "dropout_op": dropout_op,
        "nonlin": "torch.nn.ReLU",
        "nonlin_kwargs": {"inplace": True},
    }


class SliceNetwork(MethodNetwork):
    """Segmentation network with or without a slice classifier that reads the features before its heads.

    Subclasses build the layers, set ``classifier``, and say what heads and classifier read.

    Args:
        input_channels: Channels of the input.
        regions: Whether the logits are of regions, or of classes with the background first.
        slice_axis: Spatial axis of the slices; None where the input is one slice (2d).
        gate_slices: Whether slices that the classifier calls negative are emptied in eval mode.
        mirror_axes: Spatial axes along which eval mode mirrors the input; segmentation and slice logits are averaged
            over all combinations of them before the gate, as in Sec. 3.3, and nnU-Net must not mirror as well. An empty
            sequence is one pass. None, in models whose plans do not name the axes: the first version's gate, in each
            pass, with nnU-Net's mirroring behind it.
        deep_supervision: Whether logits of lower resolutions are wanted in training, of networks that have them.
    """

    classifier: Any  # a SliceClassifier, or None

    def __init__(
        self,
        input_channels: int,
        regions: bool,
        slice_axis: int | None,
        gate_slices: bool,
        mirror_axes: Sequence[int] | None,
        deep_supervision: bool,
    ):
        super().__init__(input_channels, deep_supervision)
        self.regions = regions
        self.slice_axis = slice_axis
        self.gate_slices = gate_slices
        self.mirror_axes = () if mirror_axes is None else tuple(mirror_axes)
        self.gate_rule = FIRST_RULE if mirror_axes is None else TODAYS_RULE
        self._one_classified_pass = False

    def head_features(self, x: Tensor) -> list[Tensor]:
        """Feature maps that the heads read, and, concatenated, the classifier."""
        raise NotImplementedError

    def concatenated(self, features: Sequence[Tensor]) -> Tensor:
        """The feature maps side by side, as the classifier reads them."""
        raise NotImplementedError

    def training_logits(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor | list[Tensor]:
        """What the segmentation loss reads: the final map, or a list of the logits of several heads."""
        return self.final_logits(features, size)

    @classmethod
    def size_options(cls, input_channels: int, patch_size: Sequence[int]) -> dict[str, Any]:
        """Slices along the first axis, a single pass in evaluation, and dropout."""
        return {
            "slice_axis": 0 if len(patch_size) == 3 else None,
            "mirror_axes": [],
            "dropout_op_kwargs": {"p": PUBLISHED_DROPOUT},
        }

    def final_logits(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """The final map ``(B, C, *size)``."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor | list[Tensor] | NetworkOutput:
        """Segment the image ``(B, input_channels, *spatial)``.

        Returns:
            In eval mode logits ``(B, C, *spatial)``, gated if so wanted. In training mode :meth:`training_logits`, with
            a classifier in a NetworkOutput whose auxiliary part is a :class:`SliceOutput`.
        """
        if not self.training:
            return self._predict(x)
        features = self.head_features(x)
        logits = self.training_logits(features, x.shape[2:])
        if self.classifier is None:
            return logits
        slice_logits = self._slice_logits(features, x)
        return NetworkOutput(logits, SliceOutput(slice_logits, slices_with_content(x, self.slice_axis)))

    @contextmanager
    def one_classified_pass(self) -> Iterator[None]:
        """Eval mode inside: one pass, not mirrored, in which the classifier is computed even where the gate is off.

        The training logs the classifier's scores on its validation patches this way.
        """
        self._one_classified_pass = True
        try:
            yield
        finally:
            self._one_classified_pass = False

    def logits_before_gate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and slice logits of eval mode, averaged over its mirrored passes; with the gate off as well.

        Args:
            x: Image ``(B, input_channels, *spatial)``.

        Returns:
            ``(B, C, *spatial)`` and ``(B, R, slices)``.

        Raises:
            ValueError: There is no classifier.
        """
        logits, slice_logits = self._passes(x, classify=True)
        if slice_logits is None:
            raise ValueError("This network has no slice classifier.")
        return logits, slice_logits

    def gated(self, logits: Tensor, slice_logits: Tensor) -> Tensor:
        """Logits in which slices that the classifier calls negative are empty; both as before the gate."""
        return gate_logits(logits, slice_logits, slice_axis=self.slice_axis, regions=self.regions, rule=self.gate_rule)

    def _predict(self, x: Tensor) -> Tensor:
        passes = self._pass if self._one_classified_pass else self._passes
        return self._gated_if_wanted(*passes(x, classify=self._wants_slices))

    def _gated_if_wanted(self, logits: Tensor, slice_logits: Tensor | None) -> Tensor:
        return self.gated(logits, slice_logits) if self.gate_slices and slice_logits is not None else logits

    @property
    def _wants_slices(self) -> bool:
        """Whether eval mode computes the classifier."""
        return self.classifier is not None and (self.gate_slices or self._one_classified_pass)

    def _passes(self, x: Tensor, classify: bool) -> tuple[Tensor, Tensor | None]:
        return self._mirrored_passes(x, classify) if self.mirror_axes else self._pass(x, classify)

    def _pass(self, x: Tensor, classify: bool) -> tuple[Tensor, Tensor | None]:
        """Logits, and slice logits where they are wanted and there is a classifier."""
        features = self.head_features(x)
        logits = self.final_logits(features, x.shape[2:])
        return logits, self._slice_logits(features, x) if classify and self.classifier is not None else None

    @torch.compiler.disable(recursive=False)  # the passes are compiled, once, not all of them in one graph
    def _mirrored_passes(self, x: Tensor, classify: bool) -> tuple[Tensor, Tensor | None]:
        """Mean over the passes mirrored along each combination of axes, of logits and of slice logits."""
        mirrored = [axes for n in range(len(self.mirror_axes) + 1) for axes in combinations(self.mirror_axes, n)]
        total, slice_total = None, None
        for axes in mirrored:
            spatial = [2 + axis for axis in axes]
            logits, slice_logits = self._pass(x.flip(spatial), classify)
            # eight half-precision maps are summed in float32
            logits = at_least_float32(logits.flip(spatial))
            total = logits if total is None else total + logits
            if slice_logits is not None:
                slice_logits = slice_logits.flip(2) if self.slice_axis in axes else slice_logits
                slice_total = slice_logits if slice_total is None else slice_total + slice_logits
        assert total is not None
        return total / len(mirrored), None if slice_total is None else slice_total / len(mirrored)

    def _slice_logits(self, features: Sequence[Tensor], x: Tensor) -> Tensor:
        assert self.classifier is not None
        slices = 1 if self.slice_axis is None else x.shape[2 + self.slice_axis]
        return self.classifier(self.concatenated(features), slices)
