"""Layers of the papers written out with torch.nn.functional, from which tests build whole networks a second time.

Each function reads the weights of the network under test by name and shares nothing else with it, so a network that is
wired or computed in another way than its paper says gives other numbers.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

State = dict[str, Tensor]


def with_random_weights(network: nn.Module) -> nn.Module:
    """The network in float64, with every parameter drawn anew: norms and biases too, so that a wrong mapping shows."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.double().parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return network


def image(*shape: int) -> Tensor:
    """An image of noise, ``(B, C, *spatial)`` in float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def conv3(state: State, name: str, x: Tensor, stride: int = 1) -> Tensor:
    """3x3(x3) convolution with padding, with the bias where there is one."""
    convolution = F.conv3d if x.ndim == 5 else F.conv2d
    return convolution(x, state[f"{name}.weight"], state.get(f"{name}.bias"), stride=stride, padding=1)


def conv1(state: State, name: str, x: Tensor) -> Tensor:
    """1x1(x1) convolution, with the bias where there is one."""
    convolution = F.conv3d if x.ndim == 5 else F.conv2d
    return convolution(x, state[f"{name}.weight"], state.get(f"{name}.bias"))


def group_norm(state: State, name: str, x: Tensor) -> Tensor:
    """Group normalization with 8 groups."""
    return F.group_norm(x, 8, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-5)


def doubled(x: Tensor) -> Tensor:
    """Linear interpolation to twice the size; corners are not aligned."""
    return F.interpolate(x, scale_factor=2, mode="trilinear" if x.ndim == 5 else "bilinear", align_corners=False)


def lstm_direction(state: State, name: str, suffix: str, sequence: Tensor) -> Tensor:
    """One direction of one LSTM layer: ``(B, slices, features)`` to the hidden states, in the order of the input."""
    weight_input, weight_hidden = state[f"{name}.weight_ih_{suffix}"], state[f"{name}.weight_hh_{suffix}"]
    bias = state[f"{name}.bias_ih_{suffix}"] + state[f"{name}.bias_hh_{suffix}"]
    steps = list(sequence.unbind(1))
    if suffix.endswith("reverse"):
        steps.reverse()
    hidden = cell = sequence.new_zeros(len(sequence), weight_hidden.shape[1])
    states = []
    for step in steps:
        gates = step @ weight_input.T + hidden @ weight_hidden.T + bias
        enter, forget, candidate, leave = gates.chunk(4, 1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        states.append(hidden)
    if suffix.endswith("reverse"):
        states.reverse()
    return torch.stack(states, 1)


def slice_classifier(
    state: State, name: str, features: Tensor, slice_axis: int, layers: int, half_resolution: bool
) -> Tensor:
    """Tables 2 (``half_resolution``) and 3 of Nguyen et al.: slice logits ``(B, classes, slices)``."""
    # Conv block: conv3d3, GN, ReLU
    x = F.relu(group_norm(state, f"{name}conv.norm", conv3(state, f"{name}conv.conv", features)))
    # Pool: averages over the two axes of the plane
    x = x.movedim(2 + slice_axis, 2).mean(4).mean(3)  # shape: (B, features, slices)
    if half_resolution:
        # TransConv block: twice as many slices, GN, ReLU
        weight = state[f"{name}upsample.0.weight"].flatten(2)
        x = F.conv_transpose1d(x, weight, state[f"{name}upsample.0.bias"], stride=2, padding=1, output_padding=1)
        x = F.relu(group_norm(state, f"{name}upsample.1", x))
    # BiLSTM
    x = x.transpose(1, 2)
    for layer in range(layers):
        ahead, back = (lstm_direction(state, f"{name}lstm", f"l{layer}{way}", x) for way in ("", "_reverse"))
        x = torch.cat([ahead, back], 2)
    # FC: conv1d1
    return F.conv1d(x.transpose(1, 2), state[f"{name}fc.weight"], state[f"{name}fc.bias"])
