"""nnU-Net's trainer: what ours take from it is there, one test a name, and what is inside has our names."""

import ast

import pytest
import torch
from architecture import PACKAGE
from torch.nn.parallel import DistributedDataParallel

from nnunet_ext import trainers
from nnunet_ext.files.checkpoint import NEEDED_TO_CONTINUE, NEEDED_TO_PREDICT
from nnunet_ext.host.trainer import HostTrainer, PatchCutting, nnUNetTrainer, plans_in_checkpoints
from nnunet_ext.testing import Case, make_trainer
from nnunet_ext.trained.strip import KEPT

# What nnU-Net calls of ours, or reads after we have set it. Set for nothing, it would fail without a word.
OVERRIDDEN = (
    "_build_loss",
    "configure_optimizers",
    "configure_rotation_dummyDA_mirroring_and_inital_patch_size",
    "get_dataloaders",
    "get_training_transforms",
    "initialize",
    "load_checkpoint",
    "on_epoch_end",
    "on_train_end",
    "on_train_epoch_end",
    "on_train_epoch_start",
    "on_train_start",
    "on_validation_epoch_end",
    "perform_actual_validation",
    "save_checkpoint",
    "set_deep_supervision_enabled",
    "train_step",
    "validation_step",
)
SET = (
    "enable_deep_supervision",
    "initial_lr",
    "num_epochs",
    "num_iterations_per_epoch",
    "num_val_iterations_per_epoch",
    "save_every",
    "weight_decay",
)


def names_on_self():
    """Attributes that our trainers read of themselves, and those that our classes have or set."""
    read, own = set(), set()
    for file in (PACKAGE / "trainers").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                own |= {entry.name for entry in node.body if isinstance(entry, ast.FunctionDef)}
                own |= {entry.target.id for entry in node.body if isinstance(entry, ast.AnnAssign)}
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
                (read if isinstance(node.ctx, ast.Load) else own).add(node.attr)
    return read, own


def names_on_trainers():
    """Attributes that planning and the small cases for tests read of a trainer, nnU-Net's own among them."""
    names = set()
    for file in ("planning/training_step.py", "testing/trainer.py"):
        for node in ast.walk(ast.parse((PACKAGE / file).read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value).split(".")[-1] == "trainer":
                names.add(node.attr)
    return names


READ, OWN = names_on_self()
TAKEN = sorted((READ - OWN - set(vars(HostTrainer))) | names_on_trainers() - OWN | set(SET) | set(OVERRIDDEN))


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    return make_trainer(nnUNetTrainer, Case(), tmp_path_factory.mktemp("stock"))


@pytest.mark.parametrize("name", TAKEN)
def test_nnunets_trainer_has(stock, name):
    assert hasattr(stock, name), f"nnU-Net's trainer has no {name} any more"


def test_names_were_found():
    assert {"label_manager", "is_ddp", "current_epoch", "print_to_log_file"} <= set(TAKEN)
    assert {"_get_deep_supervision_scales", "build_network_architecture"} <= names_on_trainers()


def test_every_method_of_nnunet_that_ours_override_is_known():
    defined = {
        name
        for trainer in trainers.TRAINERS
        for base in trainer.__mro__
        if base.__module__.startswith("nnunet_ext.")
        for name, member in vars(base).items()
        if callable(member) and not name.startswith("__")
    }
    assert defined & set(dir(nnUNetTrainer)) == set(OVERRIDDEN)


def host(tmp_path):
    return make_trainer(HostTrainer, Case(), tmp_path)


def test_curve_that_is_opened_can_be_logged_and_is_saved(tmp_path):
    trainer = host(tmp_path)
    trainer.log_curves["mine"] = []
    trainer.logger.log("mine", 0.5, 0)
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    again = host(tmp_path)
    again.load_checkpoint(str(tmp_path / "checkpoint.pth"))
    assert again.log_curves["mine"] == [0.5]


@pytest.fixture(scope="module")
def checkpoint(stock, tmp_path_factory):
    file = tmp_path_factory.mktemp("checkpoint") / "checkpoint.pth"
    stock.save_checkpoint(str(file))
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("key", sorted({*KEPT, *NEEDED_TO_CONTINUE, *NEEDED_TO_PREDICT}))
def test_nnunets_checkpoint_has(checkpoint, key):
    assert key in checkpoint, key


@pytest.mark.parametrize("key", ["plans", "configuration", "fold", "dataset_json"])
def test_nnunets_checkpoint_has_the_trainers_argument(checkpoint, key):
    assert key in checkpoint["init_args"], key


def test_plans_in_checkpoints_are_the_own_ones_and_then_those_of_the_checkpoint(tmp_path):
    trainer = host(tmp_path)
    assert plans_in_checkpoints(trainer)["plans_name"] == "nnUNetPlans"
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    other = make_trainer(HostTrainer, Case(), tmp_path, plans=Case().plans | {"plans_name": "Others"})
    assert plans_in_checkpoints(other)["plans_name"] == "Others"
    made_with = other.made_with
    other.load_checkpoint(str(tmp_path / "checkpoint.pth"))
    assert plans_in_checkpoints(other)["plans_name"] == "nnUNetPlans"
    other.made_with = made_with
    assert plans_in_checkpoints(other)["plans_name"] == "Others"


def test_network_comes_out_of_compile_and_ddp(tmp_path):
    trainer = host(tmp_path)
    network = trainer.network
    assert trainer.unwrapped_network is network
    trainer.network = torch.compile(network, backend="eager")
    assert trainer.unwrapped_network is network
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        trainer.network, trainer.is_ddp = DistributedDataParallel(trainer.network), True
        assert trainer.unwrapped_network is network
    finally:
        torch.distributed.destroy_process_group()


def test_patch_cutting_reaches_nnunets_data_loaders(tmp_path):
    class Unrotated(HostTrainer):
        def patch_cutting(self, nnunets):
            self.nnunets = nnunets
            return nnunets._replace(size=(1, 2, 3), slice_by_slice=True)

    trainer = make_trainer(Unrotated, Case(), tmp_path)
    rotation, slice_by_slice, size, axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert isinstance(trainer.nnunets, PatchCutting)
    assert (slice_by_slice, size, axes) == (True, (1, 2, 3), trainer.nnunets.mirror_axes)
    assert trainer.nnunets.slice_by_slice is False
    assert min(trainer.nnunets.size) > 16  # nnU-Net cuts larger patches, to rotate them
    assert rotation is trainer.nnunets.rotation
