"""Loss of Myronenko's network: Dice, squared reconstruction error, and divergence of the autoencoder's latent."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnunet_ext.architectures.autoencoder_branch import AutoencoderOutput
from nnunet_ext.architectures.precision import at_least_float32
from nnunet_ext.losses.composite import AuxiliaryLoss, CompositeLoss
from nnunet_ext.losses.squared_dice import EPSILON, SquaredDiceLoss
from nnunet_ext.losses.target import TargetFormat, mean_of_counted, zero_uncounted

Reduction = Literal["mean", "sum"]


def reconstruction_error(reconstruction: Tensor, image: Tensor, reduction: Reduction = "mean") -> Tensor:
    """``L_L2 = ||I_input - I_pred||²`` (Eq. 3), averaged over the batch.

    Args:
        reconstruction: ``I_pred``, ``(B, C, *spatial)``.
        image: ``I_input``, of the same shape.
        reduction: ``"sum"`` is the norm as printed, the sum over channels and voxels; ``"mean"`` divides it by their
            number.
    """
    with torch.autocast(image.device.type, enabled=False):
        error = F.mse_loss(at_least_float32(reconstruction), at_least_float32(image), reduction=reduction)
    return error / image.shape[0] if reduction == "sum" else error


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor, n_voxels: int) -> Tensor:
    """``L_KL = (1/N) Σ (μ² + σ² - log σ² - 1)`` (Eq. 4), averaged over the batch.

    Args:
        mean: ``μ``, ``(B, latent)``.
        log_variance: ``log σ²``, ``(B, latent)``.
        n_voxels: ``N``, "total number of image voxels": those of one patch, whatever its number of channels.
    """
    with torch.autocast(mean.device.type, enabled=False):
        mean, log_variance = at_least_float32(mean), at_least_float32(log_variance)
        # expm1: near the prior, where σ² is 1, σ² - 1 would cancel.
        summed = (mean.square() + log_variance.expm1() - log_variance).sum(1)
        return summed.mean() / n_voxels


def autoencoder_components(
    reconstruction_weight: float, kl_weight: float, reconstruction_reduction: Reduction
) -> dict[str, tuple[float, AuxiliaryLoss]]:
    """``0.1 L_L2 + 0.1 L_KL`` of Eq. 1 as components of a ``CompositeLoss`` that are called with an AutoencoderOutput.

    Args:
        reconstruction_weight: Weight of ``L_L2``, Eq. 1.
        kl_weight: Weight of ``L_KL``, Eq. 1.
        reconstruction_reduction: See :func:`reconstruction_error`.

    Raises:
        ValueError: Unknown reduction.
    """
    if reconstruction_reduction not in ("mean", "sum"):
        raise ValueError(f"reconstruction_reduction is 'mean' or 'sum', not {reconstruction_reduction!r}.")

    def reconstruction(output: AutoencoderOutput, target: Any) -> Tensor:
        return reconstruction_error(output.reconstruction, output.image, reconstruction_reduction)

    def kl(output: AutoencoderOutput, target: Any) -> Tensor:
        return kl_to_standard_normal(output.mean, output.log_variance, output.image[0, 0].numel())

    return {"reconstruction": (reconstruction_weight, reconstruction), "kl": (kl_weight, kl)}


class AutoencoderRegularizedLoss(CompositeLoss):
    """``L = L_dice + 0.1 L_L2 + 0.1 L_KL`` (Eq. 1), the components logged as segmentation, reconstruction and kl.

    Takes what ``SegResNetVAE`` returns; plain logits give the segmentation loss.

    Args:
        regions: True for regions (sigmoid), False for labels (softmax); see :class:`TargetFormat`.
        ignore_label: See :class:`TargetFormat`. The reconstruction does not ignore anything: it needs no labels.
        reconstruction_weight: Weight of ``L_L2``, Eq. 1.
        kl_weight: Weight of ``L_KL``, Eq. 1.
        reconstruction_reduction: See :func:`reconstruction_error`.
        epsilon: ``ε`` of the Dice loss, Eq. 2; its value is not stated.
    """

    def __init__(
        self,
        regions: bool,
        ignore_label: int | None = None,
        reconstruction_weight: float = 0.1,
        kl_weight: float = 0.1,
        reconstruction_reduction: Reduction = "mean",
        epsilon: float = EPSILON,
    ):
        super().__init__(
            RegionDiceLoss(regions, ignore_label, epsilon),
            autoencoder_components(reconstruction_weight, kl_weight, reconstruction_reduction),
        )


class RegionDiceLoss(nn.Module):
    """Dice losses of all regions added (Sec. 3.4); for labels, those of the foreground classes, plus cross entropy.

    The paper has regions only. Softmax needs the cross entropy: the Dice term gives no gradient to classes that are
    absent from the patch.

    Args:
        regions: True for regions (sigmoid), False for labels (softmax); see :class:`TargetFormat`.
        ignore_label: See :class:`TargetFormat`.
        epsilon: ``ε``, Eq. 2.
    """

    def __init__(self, regions: bool, ignore_label: int | None, epsilon: float):
        super().__init__()
        self.dice = SquaredDiceLoss(regions, ignore_label, "sum", epsilon)
        self.format = TargetFormat(regions, ignore_label)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of logits ``(B, C, *spatial)`` against nnU-Net's target."""
        loss = self.dice(logits, target)
        if self.format.regions:
            return loss
        counted = self.format.counted(target)
        logits = at_least_float32(zero_uncounted(logits, counted))
        cross_entropy = F.cross_entropy(logits, self.format.labels(target), reduction="none")
        return loss + mean_of_counted(cross_entropy.unsqueeze(1), counted)
