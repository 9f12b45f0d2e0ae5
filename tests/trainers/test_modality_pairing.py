"""The trainer's loss, schedule, groups and plans."""

import json
from pathlib import Path

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_ext.losses import ModalityPairingLoss
from nnunet_ext.testing import Case, make_batch, make_trainer
from nnunet_ext.trainers import ModalityPairingTrainer


def trainer_for(case, tmp_path):
    return make_trainer(ModalityPairingTrainer, case, tmp_path)


@pytest.mark.parametrize("case", [Case(), Case(regions=True), Case(ignore=True)], ids=["labels", "regions", "ignore"])
def test_loss_without_pairing_is_exactly_nnunets(case, tmp_path):
    trainer = trainer_for(Case(**vars(case) | {"settings": {"pairing_weight": 0.0}}), tmp_path)
    plain = nnUNetTrainer._build_loss(trainer)
    images, target = make_batch(trainer, case)
    output = trainer.network.train()(images)
    assert torch.equal(trainer.loss(output, target), plain(output.logits, target))


def test_loss_adds_half_the_pairing_loss_of_equation_5(tmp_path):
    trainer = trainer_for(Case(), tmp_path)
    images, target = make_batch(trainer, Case())
    output = trainer.network.train()(images)
    expected = nnUNetTrainer._build_loss(trainer)(output.logits, target) + 0.5 * ModalityPairingLoss()(
        *output.auxiliary.features
    )
    assert trainer.loss(output, target).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("branch", [0, 1])
def test_pairing_loss_alone_reaches_the_weights_of_each_branch(branch, tmp_path):
    trainer = trainer_for(Case(), tmp_path)
    images, _ = make_batch(trainer, Case())
    _, pairing = trainer.loss.auxiliary["modality_pairing"]
    pairing(trainer.network.train()(images).auxiliary, None).backward()
    # branch-own, after the last layer in which the branches meet
    assert trainer.network.later_convs[-1][0].convs[branch].weight.grad.any()


@pytest.mark.parametrize("case", [Case(), Case(regions=True, ignore=True)], ids=["labels", "regions, ignore"])
def test_loss_of_each_branch_is_nnunets_at_full_resolution(case, tmp_path):
    case = Case(**vars(case) | {"settings": {"branch_loss_weight": 0.25}})
    trainer = trainer_for(case, tmp_path)
    images, target = make_batch(trainer, case)
    output = trainer.network.train()(images)
    total = trainer.loss(output, target)
    whole = nnUNetTrainer._build_loss(trainer)
    one_output = whole.loss
    of_branches = sum(one_output(logits, target[0]) for logits in output.auxiliary.branch_logits) / 2
    expected = whole(output.logits, target) + 0.5 * ModalityPairingLoss()(*output.auxiliary.features)
    assert total.item() == pytest.approx((expected + 0.25 * of_branches).item(), rel=1e-6)
    total.backward()
    assert all(conv.weight.grad.any() for conv in trainer.network.branch_classifiers.convs)
    assert trainer.loss.pop_component_means()["branches"] == pytest.approx(of_branches.item(), rel=1e-6)


def test_branches_have_no_loss_of_their_own_by_default(tmp_path):
    trainer = trainer_for(Case(), tmp_path)
    assert trainer.loss.component_names == ("segmentation", "modality_pairing")
    assert trainer.network.branch_classifiers is None


# lr(e) = 0.01 (e + 1) / 20 below epoch 20, then 0.01 (1 - e / 1000)^0.9:
# 20: 0.01 * 0.98^0.9; 500: 0.01 * 0.5^0.9 = 0.0053589; 999: 0.01 * 0.001^0.9 = 1.9953e-5
RATES = {0: 5e-4, 10: 5.5e-3, 19: 1e-2, 20: 9.8198e-3, 500: 5.35887e-3, 999: 1.99526e-5}


@pytest.mark.parametrize(("epoch", "rate"), RATES.items())
def test_learning_rate(epoch, rate, tmp_path):
    trainer = trainer_for(Case(), tmp_path)
    trainer.lr_scheduler.step(epoch)
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(rate, rel=1e-5)


@pytest.mark.parametrize(("epoch", "rate"), [(10, RATES[10]), (20, RATES[20]), (500, RATES[500])])
def test_learning_rate_after_resuming(epoch, rate, tmp_path):
    trainer = trainer_for(Case(), tmp_path)
    trainer.current_epoch = epoch - 1
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    resumed = trainer_for(Case(), tmp_path)
    resumed.load_checkpoint(str(tmp_path / "checkpoint.pth"))
    resumed.logger.local_logger.my_fantastic_logging["lrs"] = [0.0] * epoch
    resumed.on_train_epoch_start()
    assert resumed.optimizer.param_groups[0]["lr"] == pytest.approx(rate, rel=1e-5)


def test_optimizer_is_sgd_with_nesterov_momentum(tmp_path):
    optimizer = trainer_for(Case(), tmp_path).optimizer
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.defaults["momentum"] == 0.99
    assert optimizer.defaults["nesterov"]


def test_plans_hold_groups_by_name_and_by_index(tmp_path):
    trainer = trainer_for(Case(), tmp_path)
    saved = json.loads(json.dumps(trainer.plans_manager.plans))
    architecture = saved["configurations"]["3d"]["architecture"]
    assert architecture["network_class_name"] == "nnunet_ext.architectures.ModalityPairingUNet"
    assert saved["nnunet_ext"]["modality_groups"] == [["FLAIR", "T2"], ["T1ce", "T1"]]
    assert architecture["arch_kwargs"]["modality_groups"] == [[3, 2], [1, 0]]
    assert architecture["arch_kwargs"]["strides"] == [[1, 1, 1], [2, 2, 2], [2, 2, 2]]


def test_even_split_is_announced_in_the_log(tmp_path):
    trainer = trainer_for(Case(channels=("b0", "b500", "b1000")), tmp_path)
    log = Path(trainer.log_file).read_text()
    assert "no known modality: 'b0', 'b500', so channels were split evenly in order" in log
    assert """nnunet_ext plan ... 'modality_groups=[["b0", "b500"], ["b1000"]]'""" in log


def test_the_papers_groups_are_no_choice_of_ours(tmp_path):
    trainer = trainer_for(Case(channels=("T1Gd", "T2", "FLAIR")), tmp_path)
    assert trainer.settings.modality_groups == [["FLAIR", "T2"], ["T1Gd"]]
    assert "not the paper's" not in Path(trainer.log_file).read_text()


def test_groups_from_the_plans(tmp_path):
    case = Case(settings={"modality_groups": [["T1"], ["t1c", "T2"], ["FLAIR"]]})
    trainer = trainer_for(case, tmp_path)
    assert trainer.network.num_branches == 3
    assert trainer.plans_manager.plans["nnunet_ext"]["modality_groups"] == [["T1"], ["T1ce", "T2"], ["FLAIR"]]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (Case(channels=("CT",)), "at least 2 channels"),
        (Case(settings={"modality_groups": [["PD"], ["T1"]]}), "Channel 'PD' does not exist"),
        (Case(settings={"modality_groups": [[], ["T1"]]}), "empty"),
        (Case(settings={"modality_groups": [["T1", "T2"], ["T1", "T1ce", "FLAIR"]]}), "'T1' more than once"),
        (Case(settings={"modality_groups": [["T1"], ["T2"]]}), "leaves out 'T1ce', 'FLAIR'"),
        (Case(settings={"pairing_weight": -1.0}), "pairing_weight = -1.0"),
        (Case(settings={"pairing_weight": "high"}), "pairing_weight = 'high'"),
        (Case(settings={"modality_groups": "T1"}), "modality_groups = 'T1'"),
    ],
)
def test_bad_input_is_one_message_and_leaves_no_folder(case, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        trainer_for(case, tmp_path)
    assert not (tmp_path / "nnUNet_results").exists()


def test_residual_encoder_plans_keep_their_blocks(tmp_path):
    trainer = trainer_for(Case(residual=True), tmp_path)
    kwargs = trainer.configuration_manager.network_arch_init_kwargs
    assert "n_conv_per_stage" not in kwargs
    assert kwargs["n_conv_per_stage_decoder"] == [1, 1]
    assert [len(stage[-1].blocks) for stage in trainer.network.encoder] == kwargs["n_blocks_per_stage"] == [1, 3, 4]
    # as nnU-Net initializes its residual encoder: a block begins as its skip
    assert not any(block.conv2.norm.weight.any() for stage in trainer.network.encoder for block in stage[-1].blocks)


def test_component_missing_from_an_older_history_is_nan(tmp_path):
    trainer = trainer_for(Case(settings={"pairing_weight": 0.0}), tmp_path)
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    resumed = trainer_for(Case(settings={"continue_with_changes": True}), tmp_path)
    resumed.load_checkpoint(str(tmp_path / "checkpoint.pth"))
    curve = resumed._component_curves()["loss_modality_pairing"]
    assert len(curve) == 1
    assert curve[0] != curve[0]
