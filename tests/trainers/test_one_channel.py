"""Data sets of one channel: methods between modalities name the trainers that work there, and these do."""

import pytest

from nnunet_ext.planning.training_step import step_cost
from nnunet_ext.plans.modalities import ModalityError
from nnunet_ext.testing import Case
from nnunet_ext.trainers import TRAINERS

CT = Case(channels=("CT",), patch_size=(32, 32, 32))
FOR_ONE = [trainer for trainer in TRAINERS if trainer.min_channels() == 1]
FOR_MORE = [trainer for trainer in TRAINERS if trainer.min_channels() > 1]


@pytest.mark.parametrize("trainer", FOR_MORE, ids=lambda trainer: trainer.__name__)
def test_trainers_between_modalities_name_those_that_work(trainer):
    with pytest.raises(ModalityError, match="needs at least 2 channels; the dataset has only 'CT'") as error:
        trainer.prepare_plans(CT.plans, "3d", CT.dataset_json)
    words = set(str(error.value).replace(",", " ").replace(".", " ").split())
    assert {other.__name__ for other in TRAINERS} & words == {other.__name__ for other in (trainer, *FOR_ONE)}
    assert "nnUNetTrainer" in words


@pytest.mark.parametrize("trainer", FOR_ONE, ids=lambda trainer: trainer.__name__)
def test_the_named_trainers_train_a_step(trainer, tmp_path, monkeypatch):
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    assert step_cost(trainer, CT.plans, "3d", CT.dataset_json).passes > 0


def test_methods_that_read_one_image_are_among_them():
    names = {trainer.__name__ for trainer in FOR_ONE}
    assert {"AutoencoderRegularizedTrainer", "BiFPNClassifierTrainer", "SingleModalityUNetTrainer"} <= names
    assert {"ModalityPairingTrainer", "AttentionFusionTrainer"} <= {trainer.__name__ for trainer in FOR_MORE}
