"""Mixed precision of a GPU on tensors of the CPU, so that its memory can be counted where there is no GPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from nnunet_ext.host.torch_internals import map_leaves

# PyTorch's documentation of automatic mixed precision, "CUDA Ops that can autocast to float32"; those of them that
# networks and losses use. The CPU's own autocast leaves them in half precision.
FLOAT32_INPUT = frozenset(
    [
        "__pow__", "__rpow__", "__rtruediv__", "binary_cross_entropy_with_logits", "cosine_similarity",
        "cross_entropy", "exp", "expm1", "group_norm", "kl_div", "l1_loss", "layer_norm", "log", "log1p", "mse_loss",
        "nll_loss", "norm", "normalize", "pow", "reciprocal", "rsqrt", "smooth_l1_loss", "softplus",
    ]
)  # fmt: skip
# these without a copy of the input
FLOAT32_OUTPUT = frozenset(["cumprod", "cumsum", "log_softmax", "prod", "softmax", "sum"])
# The CPU's autocast has float32 for these, the GPU's leaves them as their input is (no network here pools otherwise)
INPUT_PRECISION = frozenset(["max_pool3d"])
HALF = (torch.float16, torch.bfloat16)


class _CudaRules(TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(function, "__name__", "")
        if torch.is_autocast_enabled("cpu"):
            if name in FLOAT32_INPUT:
                args, kwargs = map_leaves(_as_float32, (args, kwargs))
            elif name in FLOAT32_OUTPUT and args and getattr(args[0], "dtype", None) in HALF:
                kwargs = {**kwargs, "dtype": kwargs.get("dtype") or torch.float32}
            elif name in INPUT_PRECISION:
                with torch.autocast("cpu", enabled=False):
                    return function(*args, **kwargs)
        return function(*args, **kwargs)


def _as_float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype in HALF else value


@contextmanager
def cuda_mixed_precision() -> Iterator[None]:
    """Autocast of the CPU to bfloat16, which has float16's two bytes, with the GPU's list of operations in float32."""
    with torch.autocast("cpu", dtype=torch.bfloat16), _CudaRules():
        yield
