"""nnU-Net's way from files to a prediction: preprocessing, tiles, loaded models, export."""

from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from nnunet_ext.host.plans import ConfigurationManager, PlansManager
from nnunet_ext.host.torch_internals import uncompiled


class Preprocessed(NamedTuple):
    """A case as a network sees it.

    Attributes:
        images: ``(C, Z, Y, X)``.
        labels: ``(1, Z, Y, X)``, -1 outside the image; without a reference not defined.
        properties: What export needs to go back to the files' grid.
    """

    images: np.ndarray
    labels: np.ndarray
    properties: dict[str, Any]


def preprocess_files(
    files: Sequence[str],
    reference: str | None,
    plans: PlansManager,
    configuration: ConfigurationManager,
    dataset_json: dict[str, Any],
) -> Preprocessed:
    """Preprocess a case.

    Args:
        files: One image a channel.
        reference: Label image, or None.
        plans: Plans of the model.
        configuration: Its configuration.
        dataset_json: Content of ``dataset.json``.
    """
    preprocessor = configuration.preprocessor_class(verbose=False)
    return Preprocessed(*preprocessor.run_case(list(files), reference, plans, configuration, dataset_json))


def tile_starts(shape: Sequence[int], patch_size: Sequence[int]) -> list[list[int]]:
    """Where tiles begin along each axis; neighbours share half of their voxels.

    Args:
        shape: Voxels of the image, at least those of a tile.
        patch_size: Voxels of a tile.
    """
    from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window

    return compute_steps_for_sliding_window(tuple(shape), tuple(patch_size), 0.5)


def tile_weight(patch_size: Sequence[int]) -> Tensor:
    """Weight of each voxel of a tile where tiles are averaged: a Gaussian around its centre, in float32."""
    from nnunetv2.inference.sliding_window_prediction import compute_gaussian

    device = torch.device("cpu")
    return compute_gaussian(tuple(patch_size), sigma_scale=1 / 8, value_scaling_factor=10, device=device).float()


class LoadedModel:
    """A trained model that predicts cases from arrays.

    Args:
        folder: Folder of the model.
        folds: Folds whose logits are averaged.
        checkpoint: Name of the checkpoint file.
        mirroring: Whether mirrored passes are averaged.
        device: Where the network runs.

    Attributes:
        dataset_json: Content of its ``dataset.json``.
        plans: Content of its ``plans.json``.

    Raises:
        LookupError: nnU-Net does not find its trainer.
    """

    def __init__(self, folder: Path, folds: Sequence[str], checkpoint: str, mirroring: bool, device: torch.device):
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        with redirect_stdout(StringIO()):  # nnU-Net tells its progress
            self.predictor = nnUNetPredictor(use_mirroring=mirroring, device=device, allow_tqdm=False)
            try:
                self.predictor.initialize_from_trained_model_folder(str(folder), tuple(folds), checkpoint)
            except RuntimeError as error:
                if "nnunet trainer" not in str(error):
                    raise
                raise LookupError(str(error)) from None
        self.dataset_json: dict[str, Any] = self.predictor.dataset_json
        self.plans: dict[str, Any] = self.predictor.plans_manager.plans

    @property
    def network(self) -> nn.Module:
        """The network, whose weights are those of a fold while it predicts."""
        return uncompiled(self.predictor.network)

    @property
    def is_second_stage(self) -> bool:
        """Whether it is the second stage of a cascade."""
        return self.predictor.configuration_manager.previous_stage_name is not None

    def read_images(self, files: Sequence[Path]) -> tuple[np.ndarray, dict[str, Any]]:
        """Images of a case as ``(C, Z, Y, X)``, and what export needs."""
        reader = self.predictor.plans_manager.image_reader_writer_class()
        return reader.read_images([str(file) for file in files])

    @property
    def patch_size(self) -> tuple[int, ...]:
        """Voxels of a tile."""
        return tuple(self.predictor.configuration_manager.patch_size)

    @property
    def outer_mirror_axes(self) -> tuple[int, ...]:
        """Spatial axes along which nnU-Net mirrors what it gives the network."""
        return tuple(self.predictor.allowed_mirroring_axes or ()) if self.predictor.use_mirroring else ()

    def networks(self) -> Iterator[nn.Module]:
        """The network in eval mode and on its device, with the weights of one fold after the other."""
        network = self.network.to(self.predictor.device).eval()
        for weights in self.predictor.list_of_parameters:
            network.load_state_dict(weights)
            yield network

    def preprocess(self, images: np.ndarray, properties: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """A case as the network sees it, ``(C, Z, Y, X)``, and what export needs.

        Args:
            images: ``(C, Z, Y, X)`` float32, as read.
            properties: As read; changed.
        """
        plans, configuration = self.predictor.plans_manager, self.predictor.configuration_manager
        with redirect_stdout(StringIO()):  # nnU-Net tells its progress
            preprocessor = configuration.preprocessor_class(verbose=False)
            case = preprocessor.run_case_npy(images, None, properties, plans, configuration, self.dataset_json)
        return torch.from_numpy(case[0]).float().contiguous(), case[2]

    def labels(self, logits: Tensor, properties: dict[str, Any]) -> np.ndarray:
        """Label map on the grid of the files, ``(Z, Y, X)`` as read.

        Args:
            logits: On the grid that the network sees.
            properties: From :meth:`preprocess`.
        """
        from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape

        plans, configuration = self.predictor.plans_manager, self.predictor.configuration_manager
        return convert_predicted_logits_to_segmentation_with_correct_shape(
            logits.numpy(), plans, configuration, plans.get_label_manager(self.dataset_json), properties
        )

    def predict(self, images: np.ndarray, properties: dict[str, Any], stem: Path) -> None:
        """Preprocess a case, predict it and write the segmentation.

        Args:
            images: ``(C, Z, Y, X)`` float32, as read.
            properties: As read; changed.
            stem: File to write, without the data set's ending.
        """
        from nnunetv2.inference.export_prediction import export_prediction_from_logits

        plans, configuration = self.predictor.plans_manager, self.predictor.configuration_manager
        data, properties = self.preprocess(images, properties)
        with redirect_stdout(StringIO()):
            array = self.predictor.predict_logits_from_preprocessed_data(data).cpu().numpy()
            export_prediction_from_logits(array, properties, configuration, plans, self.dataset_json, str(stem))
