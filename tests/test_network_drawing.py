"""Drawings show the modules that run and what they read."""

import torch
from network_drawing import IMAGE, OUTPUT, Box, boxes_of, draw_network
from torch import nn

from nnunet_ext.architectures.network_output import NetworkOutput


class SmallUNet(nn.Module):
    """Encoder of two sizes, one decoder step with a skip, a block that runs twice, and a head of its own."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.ModuleList([nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU()), nn.Conv2d(2, 4, 2, 2)])
        self.shared = nn.Conv2d(4, 4, 1)
        self.decoder = nn.ModuleDict({"up": nn.ConvTranspose2d(4, 2, 2, 2), "conv": nn.Conv2d(4, 3, 1)})
        self.unused = nn.Conv2d(1, 1, 1)

    def forward(self, x):
        skip = self.encoder[0](x)
        deep = self.shared(self.shared(self.encoder[1](skip)) * 2)
        joined = torch.cat([skip, self.decoder["up"](deep)], 1)
        return NetworkOutput(self.decoder["conv"](joined) + x, deep.mean())


def test_boxes_by_hand():
    assert boxes_of(SmallUNet().train(), torch.zeros(1, 1, 8, 8)) == [
        Box("encoder.0", (2, 8, 8), frozenset({IMAGE})),
        Box("encoder.1", (4, 4, 4), frozenset({"encoder.0"})),
        Box("shared", (4, 4, 4), frozenset({"encoder.1"})),
        Box("decoder.up", (2, 8, 8), frozenset({"shared"})),
        Box("decoder.conv", (3, 8, 8), frozenset({"encoder.0", "decoder.up"})),
        Box(OUTPUT, (3, 8, 8), frozenset({"decoder.conv", IMAGE})),
    ]


def test_drawing_places_by_order_and_size(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, path, dpi: drawn.append(figure))
    draw_network(boxes_of(SmallUNet().train(), torch.zeros(1, 1, 8, 8)), tmp_path / "a.png", "small")
    (axes,) = drawn[0].axes
    places = {text.get_text().split("\n")[0]: text.get_position() for text in axes.texts if text.get_text()}
    down = [-places[name][1] for name in (IMAGE, "encoder.0", "encoder.1", "shared", "decoder.up", "decoder.conv")]
    assert down == sorted(set(down))
    # 64 pixels in the first column, 16 in another
    assert places["encoder.0"][0] == places["decoder.up"][0] < places["encoder.1"][0] == places["shared"][0]
