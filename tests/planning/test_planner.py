"""Plans for a memory target: what is chosen, that it fits, and that nnU-Net's conventions are kept."""

import pytest
from planned_dataset import NAME, write_planned_dataset

from nnunet_ext.planning import memory_share
from nnunet_ext.planning.memory_share import MemoryShare, write_memory_share
from nnunet_ext.planning.planner import CASCADE, GIGABYTE, MethodPlanner, largest_batch
from nnunet_ext.planning.training_step import step_cost
from nnunet_ext.plans.network_entry import PlansError
from nnunet_ext.plans.settings import given_settings
from nnunet_ext.trainers import (
    TRAINERS,
    AttentionFusionTrainer,
    AutoencoderRegularizedTrainer,
    BiFPNTrainer,
    ModalityPairingTrainer,
    NestedUNetTrainer,
)
from nnunet_ext.trainers.host_networks import HostNetworkTrainer
from nnunet_ext.trainers.modality_dropout import PlannedNetworkTrainer


@pytest.fixture
def folder(tmp_path, monkeypatch):
    return write_planned_dataset(tmp_path, monkeypatch, shape=(32, 36, 28))


def planner_for(trainer, gpu_memory, base=4, **settings):
    return MethodPlanner(NAME, trainer, "New", settings, gpu_memory, base)


def share(planner, plans, configuration):
    cost = step_cost(planner.trainer, plans, configuration, planner.dataset_json)
    return cost.memory / (planner.UNet_vram_target_GB * GIGABYTE)


@pytest.mark.parametrize("trainer", [ModalityPairingTrainer, pytest.param(NestedUNetTrainer, marks=pytest.mark.slow)])
def test_plans_fill_the_target_and_stay_below_it(tmp_path, monkeypatch, trainer):
    write_planned_dataset(tmp_path, monkeypatch, shape=(70, 80, 64))
    planner = planner_for(trainer, 0.05)
    plans = planner.plan_experiment()
    for configuration in ("2d", "3d_fullres"):
        assert 0.7 < share(planner, plans, configuration) <= planner.memory_share


def test_the_file_decides_how_much_of_the_target_plans_fill(folder, tmp_path, monkeypatch):
    file = tmp_path / "memory_share.json"
    monkeypatch.setattr(memory_share, "FILE", file)
    batches = []
    for allowed in (0.9, 0.5):
        write_memory_share(MemoryShare(allowed), file)
        planner = planner_for(ModalityPairingTrainer, 0.05)
        assert planner.target == pytest.approx(allowed * 0.05e9)  # bytes
        plan = planner.plan_experiment()["configurations"]["3d_fullres"]
        batches.append(plan["batch_size"] * plan["patch_size"][0] * plan["patch_size"][1] * plan["patch_size"][2])
    assert batches[0] > batches[1]


@pytest.mark.slow
def test_the_network_decides_the_patch(tmp_path, monkeypatch):
    write_planned_dataset(tmp_path, monkeypatch, shape=(70, 80, 64))
    voxels = [
        planner_for(trainer, 0.05).plan_experiment()["configurations"]["3d_fullres"]["patch_size"]
        for trainer in (ModalityPairingTrainer, NestedUNetTrainer)
    ]
    product = [patch[0] * patch[1] * patch[2] for patch in voxels]
    assert product[0] > product[1]  # the nested network keeps every full-resolution map


def test_plans_name_nnunets_network_and_carry_the_settings(folder):
    plans = planner_for(ModalityPairingTrainer, 0.05, pairing_weight=0.25).plan_experiment()
    for configuration in plans["configurations"].values():
        assert configuration["architecture"]["network_class_name"].endswith("PlainConvUNet")
        assert configuration["architecture"]["arch_kwargs"]["features_per_stage"][0] == 4
    assert given_settings(plans) == {"pairing_weight": 0.25}
    assert plans["plans_name"] == "New"


def test_planning_writes_nothing_and_is_silent(folder, capsys):
    planner_for(ModalityPairingTrainer, 0.05).plan_experiment()
    assert sorted(file.name for file in folder.iterdir()) == ["dataset.json", "dataset_fingerprint.json"]
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_large_images_get_low_resolution_and_a_cascade_that_fits(tmp_path, monkeypatch):
    write_planned_dataset(tmp_path, monkeypatch, shape=(130, 130, 130))
    planner = planner_for(ModalityPairingTrainer, 0.03)
    plans = planner.plan_experiment()
    assert set(plans["configurations"]) == {"2d", "3d_lowres", "3d_fullres", CASCADE}
    assert plans["configurations"]["3d_lowres"]["spacing"][0] > 1
    assert all(
        share(planner, plans, configuration) <= planner.memory_share for configuration in plans["configurations"]
    )


def test_cascade_gets_a_size_of_its_own_where_its_channels_do_not_fit(folder, monkeypatch):
    planner = planner_for(ModalityPairingTrainer, 0.05)
    inherited = planner.plan_experiment()["configurations"]["3d_fullres"]
    plans = {"configurations": {"3d_fullres": inherited, CASCADE: {"inherits_from": "3d_fullres"}}}
    planner.target = step_cost(
        ModalityPairingTrainer,
        planner._candidate(inherited["patch_size"], inherited["architecture"], inherited["batch_size"]),
        "candidate",
        planner.dataset_json,
    ).memory  # holds the patch, and nothing more
    monkeypatch.setattr(planner, "UNet_reference_val_3d", planner.target * 8 / 0.05)
    planner.save_plans(plans)
    own = plans["configurations"][CASCADE]
    assert own["patch_size"] != inherited["patch_size"] or own["batch_size"] < inherited["batch_size"]
    assert own["inherits_from"] == "3d_fullres"


@pytest.mark.parametrize("gpu_memory", [0.0002, 0.002])
def test_a_target_that_holds_nothing_is_refused(folder, gpu_memory):
    with pytest.raises(PlansError, match=r"No patch fits .* of which tensors get \d+%: .*--gpu-memory"):
        planner_for(ModalityPairingTrainer, gpu_memory).plan_experiment()


# the sizes themselves stand in test_paper_values
OWN_PUBLISHED_SIZE = {
    ModalityPairingTrainer: "3d_fullres",
    AutoencoderRegularizedTrainer: "3d_fullres",
    BiFPNTrainer: "3d_fullres",
    NestedUNetTrainer: "3d_fullres",
    AttentionFusionTrainer: "2d",
}


@pytest.mark.parametrize(("trainer", "configuration"), OWN_PUBLISHED_SIZE.items())
def test_plans_of_the_published_size_have_it_and_a_topology_for_it(folder, trainer, configuration):
    planner = planner_for(trainer, 8)
    plans = planner.plan_experiment()
    assert planner.use_published_size(plans) == configuration
    plan = plans["configurations"][configuration]
    kwargs = plan["architecture"]["arch_kwargs"]
    assert (tuple(plan["patch_size"]), plan["batch_size"]) == trainer.published_size
    assert len(kwargs["strides"]) == len(kwargs["features_per_stage"]) == kwargs["n_stages"]
    assert kwargs["features_per_stage"][-1] <= 64  # nnU-Net's limit at this base, 512 in 2d and 320 in 3d at 32


def test_published_size_follows_the_order_of_the_axes(tmp_path, monkeypatch):
    write_planned_dataset(tmp_path, monkeypatch, shape=(32, 32, 20), spacing=(1, 1, 1.5))
    planner = planner_for(BiFPNTrainer, 8)
    plans = planner.plan_experiment()
    planner.use_published_size(plans)
    assert plans["transpose_forward"] == [2, 0, 1]
    assert list(plans["configurations"]["3d_fullres"]["patch_size"]) == [128, 96, 128]


def test_every_trainer_of_a_papers_network_states_the_size_of_its_paper():
    without = {trainer for trainer in TRAINERS if trainer.published_size is None}
    assert without == {t for t in TRAINERS if issubclass(t, (PlannedNetworkTrainer, HostNetworkTrainer))}


@pytest.mark.parametrize(
    ("memory", "most", "expected"),
    [
        (lambda batch: 10 * batch, 100, 10),
        (lambda batch: 10 * batch, 7, 7),
        (lambda batch: 60 * batch, 100, 2),
        (lambda batch: 45 + 5 * batch, 1000, 11),
        (lambda batch: max(40 + batch, 9 * batch), 5000, 11),
    ],
)
def test_largest_batch(memory, most, expected):
    calls = []

    def counting(batch):
        calls.append(batch)
        return memory(batch)

    assert largest_batch(counting, 100, 2, most) == expected
    assert len(calls) < 20
