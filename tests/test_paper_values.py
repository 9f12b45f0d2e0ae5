"""The papers' numbers: trainer, setting, value, source. Changing a default breaks this table."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from nnunet_ext.trainers import (
    TRAINERS,
    AttentionFusionTrainer,
    AutoencoderRegularizedTrainer,
    BiFPNClassifierTrainer,
    BiFPNTrainer,
    HostAutoencoderTrainer,
    HostClassifierTrainer,
    ModalityDropoutTrainer,
    ModalityPairingTrainer,
    NestedUNetClassifierTrainer,
    NestedUNetTrainer,
)

PAPER_VALUES = [
    (ModalityPairingTrainer, "num_epochs", 1000, "Wang et al., Sec. 3.2"),
    (ModalityPairingTrainer, "initial_lr", 0.01, "Wang et al., Sec. 3.2"),
    (ModalityPairingTrainer, "warmup_epochs", 20, "Wang et al., Sec. 3.2"),
    (ModalityPairingTrainer, "poly_exponent", 0.9, "Wang et al., Sec. 2, learning rate strategy"),
    (ModalityPairingTrainer, "pairing_weight", 0.5, "Wang et al., lambda_3 below Eq. 5"),
    (AutoencoderRegularizedTrainer, "num_epochs", 300, "Myronenko, Sec. 3.5"),
    (AutoencoderRegularizedTrainer, "initial_lr", 1e-4, "Myronenko, Sec. 3.5"),
    (AutoencoderRegularizedTrainer, "poly_exponent", 0.9, "Myronenko, Eq. 5"),
    (AutoencoderRegularizedTrainer, "weight_decay", 1e-5, "Myronenko, Sec. 3.6"),
    (AutoencoderRegularizedTrainer, "dropout", 0.2, "Myronenko, Sec. 3.6"),
    (AutoencoderRegularizedTrainer, "reconstruction_weight", 0.1, "Myronenko, Eq. 1"),
    (AutoencoderRegularizedTrainer, "kl_weight", 0.1, "Myronenko, Eq. 1"),
    (AutoencoderRegularizedTrainer, "intensity_shift", 0.1, "Myronenko, Sec. 3.7"),
    (AutoencoderRegularizedTrainer, "intensity_scale", 0.1, "Myronenko, Sec. 3.7"),
    (BiFPNTrainer, "schedule", "cosine", "Nguyen et al., Sec. 3.2, below Eq. 5"),
    (NestedUNetTrainer, "schedule", "poly", "Nguyen et al., Sec. 3.2, below Eq. 5"),
    *[
        (trainer, *row)
        for trainer in (BiFPNTrainer, NestedUNetTrainer)
        for row in (
            ("num_epochs", 200, "Nguyen et al., Sec. 3.2"),
            ("initial_lr", 1e-3, "Nguyen et al., Sec. 3.2"),
            ("warmup_epochs", 10, "Nguyen et al., Sec. 3.2"),
            ("poly_exponent", 0.9, "Nguyen et al., Eq. 5"),
            ("focal_alpha", 0.25, "not stated; Lin et al., Focal Loss, Sec. 5.1"),
            ("focal_gamma", 2.0, "not stated; Lin et al., Focal Loss, Sec. 5.1"),
            ("dropout", 0.2, "not stated; Myronenko, Sec. 3.6"),
            ("weight_decay", 0.0, "not stated; Adam's default"),
            ("intensity_scale", 0.1, "Nguyen et al., Sec. 3.1"),
            ("intensity_shift", 0.1, "Nguyen et al., Sec. 3.1"),
            ("intensity_probability", 0.8, "Nguyen et al., Sec. 3.1"),
        )
    ],
    (BiFPNClassifierTrainer, "lstm_layers", 2, "Nguyen et al., Table 2"),
    (NestedUNetClassifierTrainer, "lstm_layers", 3, "Nguyen et al., Table 3"),
    *[
        (trainer, *row)
        for trainer in (BiFPNClassifierTrainer, NestedUNetClassifierTrainer)
        for row in (
            ("gate_slices", True, "Nguyen et al., Sec. 3.3"),
            ("slice_axis", 0, "Nguyen et al., Sec. 2.3: axial"),
        )
    ],
    (AttentionFusionTrainer, "num_epochs", 300, "not stated by Li et al.: our choice"),
    (AttentionFusionTrainer, "initial_lr", 1e-4, "Li et al., Sec. 2, Implementation Details"),
    (AttentionFusionTrainer, "epochs_per_halving", 30, "Li et al., Sec. 2, Implementation Details"),
    (AttentionFusionTrainer, "weight_decay", 0.0, "not stated by Li et al.: our choice"),
    (AttentionFusionTrainer, "cross_entropy_weight", 1.0, "Li et al., alpha, Eq. 1"),
    (AttentionFusionTrainer, "dice_epsilon", 1.0, "Li et al., epsilon, Eq. 1"),
    (AttentionFusionTrainer, "batch_dice", False, "Li et al., Eq. 1: N is the total number of pixels in the image"),
    (AttentionFusionTrainer, "attention_reduction", 16, "Li et al., r, Sec. 2, Implementation Details"),
    (AttentionFusionTrainer, "attention_dilation", 4, "Li et al., d, Sec. 2, Implementation Details"),
    (ModalityDropoutTrainer, "modality_dropout", "uniform", "every set of modalities is as likely: RFNet, mmFormer"),
    (HostAutoencoderTrainer, "autoencoder_branch", True, "its own idea"),
    (HostAutoencoderTrainer, "slice_classifier", False, "the other's idea"),
    (HostClassifierTrainer, "autoencoder_branch", False, "the other's idea"),
    (HostClassifierTrainer, "slice_classifier", True, "its own idea"),
    *[
        (trainer, *row)
        for trainer in (HostAutoencoderTrainer, HostClassifierTrainer)
        for row in (
            ("num_epochs", 1000, "nnU-Net"),
            ("initial_lr", 1e-2, "nnU-Net"),
            ("reconstruction_weight", 0.1, "Myronenko, Eq. 1"),
            ("kl_weight", 0.1, "Myronenko, Eq. 1"),
            ("focal_alpha", 0.25, "not stated; Lin et al., Focal Loss, Sec. 5.1"),
            ("focal_gamma", 2.0, "not stated; Lin et al., Focal Loss, Sec. 5.1"),
            ("lstm_layers", 2, "Nguyen et al., Table 2"),
            ("lstm_dropout", 0.2, "not stated; Myronenko, Sec. 3.6"),
            ("gate_slices", True, "Nguyen et al., Sec. 3.3"),
            ("slice_axis", 0, "Nguyen et al., Sec. 2.3: axial"),
        )
    ],
    (ModalityDropoutTrainer, "num_epochs", 1000, "nnU-Net"),
    (ModalityDropoutTrainer, "initial_lr", 1e-2, "nnU-Net"),
]

PUBLISHED_SIZES = [
    (ModalityPairingTrainer, (128, 128, 128), 2, "Wang et al., Sec. 3.2"),
    (AutoencoderRegularizedTrainer, (128, 192, 160), 1, "Myronenko, Sec. 4: crop of 160x192x128, x first; Sec. 3.5"),
    (BiFPNTrainer, (96, 128, 128), 4, "Nguyen et al., Sec. 3.2: 128x128x96, x first"),
    (NestedUNetTrainer, (128, 128, 128), 2, "Nguyen et al., Sec. 3.2"),
    (AttentionFusionTrainer, (256, 256), 4, "Li et al., Sec. 2, Implementation Details"),
]

# settings that have no number in a paper: nnU-Net's values, or resolved from the dataset
NOT_IN_PAPERS = {
    "num_iterations_per_epoch": 250,
    "num_val_iterations_per_epoch": 50,
    "save_every": 50,
    "gradient_clipping": 12.0,
    "continue_with_changes": False,
    "seed": None,
    "weight_decay": 3e-5,
    "modality_dropout": 0.0,
    "required_modalities": None,
    "modality_groups": None,
    "branch_loss_weight": 0.0,
    "reconstruction_reduction": "mean",
    "master_modality": None,
    "presence_aware": False,
    "empty_branch": "keep",
    "restore_missing": True,
    "heat_map_order": None,
    "batch_norm": False,
}


@pytest.mark.parametrize(("trainer", "setting", "value", "source"), PAPER_VALUES)
def test_default_is_the_papers(trainer, setting, value, source):
    assert getattr(trainer.settings_class(), setting) == value, source


@pytest.mark.parametrize(("trainer", "patch_size", "batch_size", "source"), PUBLISHED_SIZES)
def test_published_size_is_the_papers(trainer, patch_size, batch_size, source):
    assert trainer.published_size == (patch_size, batch_size), source


PAGES = {
    "modality_pairing": ModalityPairingTrainer,
    "autoencoder": AutoencoderRegularizedTrainer,
    "attention_fusion": AttentionFusionTrainer,
}


@pytest.mark.parametrize(("page", "trainer"), PAGES.items())
def test_command_for_the_published_size_on_the_methods_page_gives_it(page, trainer):
    text = (Path(__file__).parents[1] / "docs" / "methods" / f"{page}.md").read_text()
    found = re.findall(r"nnunet_ext plan \.\.\. 'patch_size=(\[[\d,]+\])' batch_size=(\d+)", text)
    assert [(tuple(json.loads(patch)), int(batch)) for patch, batch in found] == [trainer.published_size]


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda trainer: trainer.__name__)
def test_every_setting_is_accounted_for(trainer):
    in_paper = {setting for owner, setting, _, _ in PAPER_VALUES if issubclass(trainer, owner)}
    for field in fields(trainer.settings_class):
        if field.name not in in_paper:
            assert getattr(trainer.settings_class(), field.name) == NOT_IN_PAPERS[field.name]
