"""Heat maps of a trained attention fusion model over a case, at every level."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from torch import Tensor

from nnunet_ext.architectures import AttentionFusionUNet
from nnunet_ext.errors import UserError
from nnunet_ext.evaluation.overlap import count_voxels, dice
from nnunet_ext.files.checkpoint import configuration_of, read_checkpoint
from nnunet_ext.files.json_object import read_json_object
from nnunet_ext.host.plans import ConfigurationManager, PlansManager, input_channels
from nnunet_ext.host.prediction import preprocess_files
from nnunet_ext.images.grid import grid_difference
from nnunet_ext.images.reader import read_image_grid
from nnunet_ext.labels.label_image import read_label_image
from nnunet_ext.plans.modalities import channel_names
from nnunet_ext.plans.network_entry import check_names, network_path
from nnunet_ext.trained.model_folder import fold_checkpoint
from nnunet_ext.trained.tiles import mean_over_tiles


class AttentionModel(NamedTuple):
    """A trained model of one fold, ready to look at a case."""

    network: AttentionFusionUNet
    plans: PlansManager
    configuration: ConfigurationManager
    dataset_json: dict[str, Any]


class ReferenceMasks(NamedTuple):
    """Reference of a case, on the grid that the network sees.

    Attributes:
        foreground: Where it has any class but background, ``(Z, Y, X)``.
        ignored: Where it says that nothing counts, of the same shape.
    """

    foreground: np.ndarray
    ignored: np.ndarray


class CaseAttention(NamedTuple):
    """What the attention of a model does to a case, on the grid that the network sees.

    Attributes:
        images: Preprocessed modality of each stream that has heat maps, ``(streams, Z, Y, X)``.
        maps: Heat maps in (0, 1), ``(levels, streams, Z, Y, X)``.
        foreground: Where the model predicts any class but background, ``(Z, Y, X)``.
        streams: Name of each stream's modality.
        spacing: Voxel size in mm, Z, Y, X.
        reference: What the reference says; None without one.
    """

    images: np.ndarray
    maps: np.ndarray
    foreground: np.ndarray
    streams: list[str]
    spacing: tuple[float, ...]
    reference: ReferenceMasks | None = None

    def dice(self, index: int | slice = slice(None)) -> float:
        """Dice of prediction and reference, all classes but background as one; NaN where both are empty.

        Args:
            index: Slice along the first axis; the whole case by default.

        Raises:
            ValueError: There is no reference.
        """
        if self.reference is None:
            raise ValueError("Dice needs a reference.")
        counted = ~self.reference.ignored[index]
        masks = self.reference.foreground[index] & counted, self.foreground[index] & counted
        return dice(count_voxels(*masks, int(counted.sum())))


def load_attention_model(folder: Path, fold: str | None, checkpoint: str) -> AttentionModel:
    """A model of an nnU-Net results folder.

    Args:
        folder: Folder of the trainer, plans and configuration, with ``plans.json`` and the folders of the folds.
        fold: Fold, or ``"all"``; None takes the first there is.
        checkpoint: Name of the checkpoint file.

    Raises:
        UserError: Not such a folder, no such checkpoint, a model of another method, without attention or of a cascade.
    """
    file = fold_checkpoint(folder, fold, checkpoint)
    dataset_json = read_json_object(folder / "dataset.json")
    plans = PlansManager(read_json_object(folder / "plans.json"))
    weights = read_checkpoint(file)
    configuration = plans.get_configuration(configuration_of(weights, file))
    if configuration.network_arch_class_name != network_path(AttentionFusionUNet):
        raise UserError(f"{folder} holds a {weights['trainer_name']}, which is not of the attention fusion family.")
    if configuration.previous_stage_name is not None:
        raise UserError("Heat maps of the second stage of a cascade are not supported; use its first stage.")
    check_names(plans.plans, configuration_of(weights, file))
    # here, since it imports all of nnU-Net's training
    from nnunet_ext.trainers import AttentionFusionTrainer

    network = AttentionFusionTrainer.build_network_architecture(
        plans,
        configuration,
        input_channels(plans, configuration, dataset_json),
        plans.get_label_manager(dataset_json).num_segmentation_heads,
        enable_deep_supervision=False,
    )
    network.load_state_dict(weights["network_weights"])
    if not network.encoder.mapped_streams:
        raise UserError(f"{weights['trainer_name']} has no attention, so there are no heat maps to draw.")
    return AttentionModel(network.eval(), plans, configuration, dataset_json)


def attention_of_case(
    model: AttentionModel, images: Sequence[Path], device: torch.device, reference: Path | None = None
) -> CaseAttention:
    """Heat maps and prediction for one case, preprocessed and tiled as nnU-Net's prediction does, without mirroring.

    Args:
        model: Trained model.
        images: One file a modality, in the order of ``dataset.json``.
        device: Where the network runs.
        reference: Label image of the case, on the grid of its images; None: there is none.

    Raises:
        UserError: A file does not exist, there are more or fewer than modalities, or the reference does not fit.
    """
    names = channel_names(model.dataset_json)
    if len(images) != len(names):
        raise UserError(f"The model reads {len(names)} images ({', '.join(names)}), got {len(images)}.")
    for image in images:
        if not image.is_file():
            raise UserError(f"Image {image} does not exist.")
    if reference is not None:
        _check_reference(reference, images[0], model)
    files = [str(image) for image in images]
    data = preprocess_files(
        files, None, plans=model.plans, configuration=model.configuration, dataset_json=model.dataset_json
    ).images
    patch = tuple(model.configuration.patch_size)
    padded, unpad = pad_nd_image(torch.as_tensor(data).float(), patch, "constant", {"value": 0}, True)
    logits, maps = _sliding_window(model.network.to(device), padded, patch, device)
    inside = (Ellipsis, *unpad[1:])
    logits, maps = logits[inside], maps[inside]
    label_manager = model.plans.get_label_manager(model.dataset_json)
    segmentation = label_manager.convert_logits_to_segmentation(logits)
    channels = [model.network.streams[stream][0] for stream in model.network.encoder.mapped_streams]
    spacing = tuple(float(step) for step in model.configuration.spacing)
    return CaseAttention(
        data[channels],
        maps.numpy(),
        foreground=np.asarray(segmentation) > 0,
        streams=[_stream_name(model.network.streams[stream], names) for stream in model.network.encoder.mapped_streams],
        # a 2d configuration has no spacing across slices
        spacing=spacing if len(spacing) == 3 else (1.0, *spacing),
        reference=None if reference is None else _reference_masks(reference, files, model),
    )


def _reference_masks(reference: Path, files: list[str], model: AttentionModel) -> ReferenceMasks:
    # apart from the images, because a reference beside them would have a say in what nnU-Net normalizes
    labels = preprocess_files(
        files, str(reference), plans=model.plans, configuration=model.configuration, dataset_json=model.dataset_json
    ).labels
    ignore = model.plans.get_label_manager(model.dataset_json).ignore_label
    ignored = np.zeros(labels[0].shape, bool) if ignore is None else labels[0] == ignore
    return ReferenceMasks((labels[0] > 0) & ~ignored, ignored)


def _check_reference(reference: Path, image: Path, model: AttentionModel) -> None:
    """Raise UserError unless a file is a label image of the model's data set on the grid of an image."""
    truth = read_label_image(reference, model.dataset_json)
    labels = model.plans.get_label_manager(model.dataset_json)
    allowed = {*labels.all_labels, *([] if labels.ignore_label is None else [labels.ignore_label])}
    unknown = sorted(set(np.unique(truth.labels).tolist()) - allowed)
    if unknown:
        raise UserError(f"{reference}: label values {unknown} are not in dataset.json, which has {sorted(allowed)}.")
    difference = grid_difference(truth.grid, read_image_grid(image, model.dataset_json))
    if difference:
        raise UserError(f"{reference}: {difference} as in {image}.")


def _stream_name(channels: Sequence[int], names: Sequence[str]) -> str:
    return " + ".join(names[channel] for channel in channels)


@torch.inference_mode()
def _sliding_window(
    network: AttentionFusionUNet, data: Tensor, patch: tuple[int, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Logits ``(C, Z, Y, X)`` and heat maps ``(levels, streams, Z, Y, X)``, averaged over tiles."""

    def logits_and_heat(tile: Tensor) -> Tensor:
        features, maps = network.encode(tile[None].to(device))
        logits = network.decoder(features)[0]
        return torch.cat([logits, *(F.interpolate(heat, patch)[0] for level in maps for heat in level)])

    means = mean_over_tiles(logits_and_heat, data, patch)
    n_levels = len(network.encoder.levels)
    n_maps = n_levels * len(network.encoder.mapped_streams)
    return means[:-n_maps], means[-n_maps:].reshape(n_levels, -1, *data.shape[1:])
