"""What every network of this package returns in training mode."""

from typing import Any, NamedTuple

from torch import Tensor


class NetworkOutput(NamedTuple):
    """Logits of the segmentation and whatever else the method's loss needs.

    Networks return it in training mode only. In eval mode they return the logits alone, since nnU-Net's prediction
    wants one tensor.

    Attributes:
        logits: Segmentation logits, ``(B, num_classes, *spatial)``, or with deep supervision a list of them, highest
            resolution first, as nnU-Net's own networks return.
        auxiliary: Inputs of the method's additional loss components: a tensor, or a (named) tuple of tensors.
    """

    logits: Tensor | list[Tensor]
    auxiliary: Any
