"""A method in MONAI: modality pairing trained by SupervisedTrainer, validated by sliding windows; nnU-Net is not used.

    python examples/method_in_monai.py

The data is the phantom of four modalities; put your own dictionaries of ``"image"`` and ``"label"`` in its place. Needs
``pip install pytorch-ignite`` beside this package, for MONAI's trainer. About 15 seconds on a CPU.
"""

import argparse

import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import MeanDice, from_engine
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.transforms import AsDiscreted, Compose, NormalizeIntensityd, RandFlipd, RandSpatialCropd
from monai.utils import set_determinism

from nnunet_ext.architectures import ModalityPairingUNet
from nnunet_ext.datasets.phantom import CHANNELS, phantom_case
from nnunet_ext.losses import CompositeLoss, ModalityPairingLoss

CLASSES = 4  # background, core, oedema, enhancing
PATCH = (16, 24, 24)  # voxels
SHAPE = (20, 28, 28)  # voxels


def cases(number: int, seed: int) -> list[dict[str, torch.Tensor]]:
    """Images ``(4, Z, Y, X)`` and labels ``(1, Z, Y, X)``."""
    drawn = (phantom_case((seed, index), SHAPE) for index in range(number))
    return [{"image": torch.tensor(case.images).float(), "label": torch.tensor(case.labels)[None]} for case in drawn]


def build_network() -> ModalityPairingUNet:
    """One branch for FLAIR and T2, one for T1ce and T1. 32 in place of 4 are the published widths."""
    groups = [["FLAIR", "T2"], ["T1ce", "T1"]]
    return ModalityPairingUNet.from_sizes(
        len(CHANNELS),
        CLASSES,
        PATCH,
        base_num_features=4,
        modality_groups=[[CHANNELS.index(name) for name in group] for group in groups],
    )


def build_loss() -> CompositeLoss:
    """MONAI's Dice and cross entropy, and the paper's correlation loss between the branches (Eq. 5)."""
    pairing = ModalityPairingLoss()
    segmentation = DiceCELoss(to_onehot_y=True, softmax=True)
    return CompositeLoss(segmentation, {"modality_pairing": (0.5, lambda output, _: pairing(*output.features))})


def train(epochs: int = 2, num_cases: int = 8) -> dict[str, list[float]]:
    """Train, and validate after each epoch.

    Returns:
        Mean of each loss component in each epoch, and the mean Dice over the classes but background, ``"dice"``.
    """
    set_determinism(0)
    normalize = NormalizeIntensityd("image", nonzero=True, channel_wise=True)
    augment = [RandSpatialCropd(("image", "label"), PATCH, random_size=False), RandFlipd(("image", "label"), 0.5, 2)]
    training = Dataset(cases(num_cases, seed=1), Compose([normalize, *augment]))
    validation = Dataset(cases(2, seed=2), normalize)

    network, loss = build_network(), build_loss()
    optimizer = torch.optim.SGD(network.parameters(), 1e-2, momentum=0.99, nesterov=True, weight_decay=3e-5)
    to_classes = Compose([AsDiscreted("pred", argmax=True, to_onehot=CLASSES), AsDiscreted("label", to_onehot=CLASSES)])
    evaluator = SupervisedEvaluator(
        torch.device("cpu"),
        DataLoader(validation),
        network,
        inferer=SlidingWindowInferer(PATCH, sw_batch_size=2, overlap=0.5, mode="gaussian"),
        postprocessing=to_classes,
        key_val_metric={"dice": MeanDice(include_background=False, output_transform=from_engine(["pred", "label"]))},
    )
    trainer = SupervisedTrainer(
        torch.device("cpu"),
        epochs,
        DataLoader(training, batch_size=2, shuffle=True),
        network,
        optimizer,
        loss,
        decollate=False,  # the network's output is more than a tensor
    )
    history: dict[str, list[float]] = {name: [] for name in (*loss.component_names, "dice")}

    def after_epoch() -> None:
        evaluator.run()
        found = {**loss.pop_component_means(), "dice": float(evaluator.state.metrics["dice"])}
        for name, value in found.items():
            history[name].append(value)
        print(", ".join(f"{name} {value:.3f}" for name, value in found.items()))

    trainer.add_event_handler("EPOCH_COMPLETED", after_epoch)
    trainer.run()
    return history


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=2)
    train(parser.parse_args().epochs)
