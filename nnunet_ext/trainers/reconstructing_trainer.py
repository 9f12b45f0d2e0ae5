"""Trainer of networks that reconstruct their image: what is to be reconstructed, and a picture of it at the end."""

from os.path import join
from typing import Any

import torch
from torch import Tensor

from nnunet_ext.plans.modalities import channel_names
from nnunet_ext.trainers.base import MethodTrainer
from nnunet_ext.trainers.reconstruction_plot import most_labelled_slice, plot_reconstruction


class ReconstructingTrainer(MethodTrainer):
    """Restores what modality dropout took away, if so wanted, and writes ``reconstruction.png``."""

    @property
    def reconstructs(self) -> bool:
        """Whether the network has an autoencoder branch."""
        return True

    def to_reconstruct(self, auxiliary: Any, images: Tensor) -> Any:
        """The network's auxiliary output with other images to reconstruct.

        Args:
            auxiliary: What the losses beside the segmentation's read.
            images: ``(B, C, *patch_size)``, the image channels first.
        """
        return auxiliary._replace(image=images[:, : auxiliary.image.shape[1]])

    def forward_and_loss(self, images: Tensor, target: Any) -> Tensor:
        """As every trainer; to be reconstructed is the image before modalities were dropped, unless told not."""
        given = self.modality_dropout(images)
        output = self.network(given)
        if self.reconstructs and self.settings.restore_missing and given is not images:
            output = output._replace(auxiliary=self.to_reconstruct(output.auxiliary, images))
        return self.loss(output, target)

    def on_train_end(self) -> None:
        """End the training as nnU-Net does, and write ``reconstruction.png`` beside ``progress.png``."""
        batch = next(self.dataloader_val) if self.reconstructs and self.local_rank == 0 else None
        super().on_train_end()
        if batch is not None:
            target = batch["target"][0] if isinstance(batch["target"], list) else batch["target"]
            self.write_reconstruction(batch["data"], target, join(self.output_folder, "reconstruction.png"))

    def write_reconstruction(self, images: torch.Tensor, target: torch.Tensor, file: str) -> None:
        """Write an axial slice of each image channel above its reconstruction.

        A training with modality dropout that restores what is missing has a third row: each channel as it is restored
        from the others, where it alone is missing.

        Args:
            images: Network input ``(B, C, *patch_size)``; the first sample is shown.
            target: nnU-Net's target; the slice with most labelled voxels is shown.
            file: PNG to write.
        """
        network = self.unwrapped_network
        network.eval()
        images = images[:1].to(self.device, non_blocking=True)
        with torch.no_grad():
            output = network.reconstruct(images)
            rows = {"network input": output.image[0], "its reconstruction": output.reconstruction[0]}
            if self.modality_dropout.probability and self.settings.restore_missing:
                rows["restored where it is missing"] = _restored(network, images, len(output.image[0]))
        rows = {name: row.float().cpu() for name, row in rows.items()}
        if images.ndim == 5:
            # nnU-Net's arrays begin with the axial direction, until the plans transpose them
            axis = list(self.plans_manager.transpose_forward).index(0)
            index = most_labelled_slice(target[0], axis)
            rows = {name: row.select(axis + 1, index) for name, row in rows.items()}
        pictures = {name: row.numpy() for name, row in rows.items()}
        plot_reconstruction(pictures, channel_names(self.dataset_json), file)


def _restored(network: Any, images: torch.Tensor, n_channels: int) -> torch.Tensor:
    """Each channel of one sample as reconstructed from the others."""
    restored = []
    for channel in range(n_channels):
        others = images.clone()
        others[:, channel] = 0
        restored.append(network.reconstruct(others).reconstruction[0, channel])
    return torch.stack(restored)
