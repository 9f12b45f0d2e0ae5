"""A trained model under the microscope: what its layers, its attention, its slice classifier or its autoencoder say.

    python examples/trained_model.py MODEL_FOLDER... [-o FOLDER]

A model folder is nnU-Net's ``TRAINER__PLANS__CONFIGURATION``, of a 3d configuration. The patch that it looks at is cut
from the phantom of four modalities; put a preprocessed image of your own in its place. A figure a model goes to FOLDER.
"""

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from torch import Tensor, nn

from nnunet_ext.architectures import AttentionFusionUNet, SegResNetVAE
from nnunet_ext.architectures.slice_network import SliceNetwork
from nnunet_ext.datasets.phantom import CHANNELS, phantom_case
from nnunet_ext.plans.modalities import channel_names, matching_names
from nnunet_ext.trainer_search import extended_search_path


class Model:
    """Network of a trained model's first fold, and what it was trained on.

    Args:
        folder: Folder of the model.
    """

    def __init__(self, folder: Path):
        os.environ["nnUNet_extTrainer"] = extended_search_path(os.environ)
        fold = sorted(path.name.removeprefix("fold_") for path in folder.glob("fold_*"))[0]
        predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False)
        predictor.initialize_from_trained_model_folder(str(folder), (fold,))
        self.network: nn.Module = predictor.network
        self.network.load_state_dict(predictor.list_of_parameters[0])
        self.network.eval()
        self.channels = channel_names(predictor.dataset_json)
        self.patch_size = tuple(predictor.configuration_manager.patch_size)

    def patch(self) -> Tensor:
        """Patch of the phantom as nnU-Net would normalize it, ``(1, C, *patch_size)``."""
        images = phantom_case((0, 0, 0), [max(32, side) for side in self.patch_size]).images.astype(np.float32)
        brain = (images != 0).any(0)
        for image in images:
            image[brain] = (image[brain] - image[brain].mean()) / image[brain].std()
        order = matching_names(self.channels, CHANNELS)
        corner = [(there - side) // 2 for there, side in zip(brain.shape, self.patch_size, strict=True)]
        middle = [slice(first, first + side) for first, side in zip(corner, self.patch_size, strict=True)]
        return torch.tensor(images[(order, *middle)])[None]


def feature_shapes(network: nn.Module, x: Tensor) -> dict[str, tuple[int, ...]]:
    """Shape of what each convolution gives, in the order of computation."""
    shapes: dict[str, tuple[int, ...]] = {}

    def remember(name: str, _: nn.Module, __: Any, output: Tensor) -> None:
        shapes.setdefault(name, tuple(output.shape[1:]))

    hooks = [
        module.register_forward_hook(partial(remember, name))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Conv3d)
    ]
    network(x)
    for hook in hooks:
        hook.remove()
    return shapes


def attention_maps(network: AttentionFusionUNet, x: Tensor) -> dict[str, Tensor]:
    """The master's heat map of each level, in (0, 1)."""
    levels = network.attention_maps(x)
    return {f"attention, level {level}": maps[0][0, 0] for level, maps in enumerate(levels, 1) if maps}


def slice_probabilities(network: SliceNetwork, x: Tensor) -> Tensor:
    """Probability that a slice holds a region, ``(regions, slices)``."""
    features = network.head_features(x)
    logits = network.classifier(network.concatenated(features), x.shape[2 + network.slice_axis])
    return logits[0].sigmoid()


def reconstruction(network: SegResNetVAE, x: Tensor) -> Tensor:
    """The image as the autoencoder gives it back, ``(C, *patch_size)``."""
    return network.reconstruct(x).reconstruction[0]


@torch.no_grad()
def look(folder: Path) -> dict[str, Any]:
    """What there is to see in a model.

    Returns:
        ``"image"`` ``(C, *patch_size)``, ``"features"``, and what the method adds: ``"pictures"`` (name -> one image
        channel's worth of voxels) and ``"slices"``.
    """
    model = Model(folder)
    x, network = model.patch(), model.network
    seen: dict[str, Any] = {"image": x[0], "features": feature_shapes(network, x), "pictures": {}, "slices": None}
    if isinstance(network, AttentionFusionUNet):
        seen["pictures"] = attention_maps(network, x)
    if isinstance(network, SliceNetwork) and network.classifier is not None:
        seen["slices"] = slice_probabilities(network, x)
    if isinstance(network, SegResNetVAE) and network.autoencoder is not None:
        names = [f"reconstructed {name}" for name in model.channels]
        seen["pictures"] = dict(zip(names, reconstruction(network, x), strict=True))
    return seen


def draw(seen: dict[str, Any], file: Path) -> None:
    """The middle slice of the first channel and of every picture, or the curve of the slices."""
    pictures = {"image": seen["image"][0], **seen["pictures"]}
    panels = len(pictures) + (seen["slices"] is not None)
    figure = Figure((3 * panels, 3), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for axis, (name, picture) in zip(axes, pictures.items(), strict=False):
        axis.imshow(picture[picture.shape[0] // 2].numpy(), cmap="gray")
        axis.set_title(name)
        axis.axis("off")
    if seen["slices"] is not None:
        axes[-1].plot(seen["slices"].T.numpy())
        axes[-1].set(title="slice probability", xlabel="slice", ylim=(0, 1))
    figure.savefig(file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, default=Path())
    arguments = parser.parse_args()
    for folder in arguments.models:
        found = look(folder)
        print(folder.name)
        for layer, shape in found["features"].items():
            print(f"    {layer}: {' x '.join(map(str, shape))}")
        for name, picture in found["pictures"].items():
            print(f"    {name}: {picture.min():.2f} to {picture.max():.2f}")
        if found["slices"] is not None:
            print(f"    slice probabilities: {found['slices'].min():.2f} to {found['slices'].max():.2f}")
        draw(found, arguments.output / f"{folder.name}.png")
