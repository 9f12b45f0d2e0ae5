"""nnU-Net's experiment planners: fields under our names, and steps that are called."""

import pytest
from planned_dataset import write_planned_dataset

from nnunet_ext.host.planner import HostPlanner, planners_by_plans_name


@pytest.fixture(scope="module")
def planner(tmp_path_factory):
    monkeypatch = pytest.MonkeyPatch()
    write_planned_dataset(tmp_path_factory.mktemp("planned"), monkeypatch, (64, 80, 80), (2, 1, 1))
    yield Planner(999, 8, "Mine", base_num_features=16, bytes_per_gigabyte=10**9)
    monkeypatch.undo()


class Planner(HostPlanner):
    def step_memory(self, patch_size, architecture):
        self.candidate = (list(patch_size), architecture["arch_kwargs"]["features_per_stage"])
        return 100 * int(patch_size[0] * patch_size[1] * patch_size[-1])

    def finish_configuration(self, plan, dataset_voxels):
        plan["finished"] = dataset_voxels


@pytest.mark.parametrize(
    "name",
    [
        "UNet_base_num_features",
        "UNet_blocks_per_stage_decoder",
        "UNet_blocks_per_stage_encoder",
        "UNet_featuremap_min_edge_length",
        "UNet_max_features_2d",
        "UNet_max_features_3d",
        "UNet_min_batch_size",
        "UNet_reference_com_nfeatures",
        "UNet_reference_val_2d",
        "UNet_reference_val_3d",
        "UNet_reference_val_corresp_GB",
        "UNet_reference_val_corresp_bs_2d",
        "UNet_reference_val_corresp_bs_3d",
        "UNet_vram_target_GB",
        "dataset_json",
        "dataset_name",
        "determine_transpose",
        "get_plans_for_configuration",
        "max_dataset_covered",
        "plan_experiment",
        "plans_identifier",
        "save_plans",
        "static_estimate_VRAM_usage",
    ],
)
def test_nnunets_planner_has(planner, name):
    nnunets = super(HostPlanner, planner)
    assert hasattr(nnunets, name) or name in vars(planner), name


def test_fields(planner):
    assert (planner.gigabytes, planner.smallest_batch, planner.smallest_feature_map) == (8, 2, 4)
    assert planner.largest_share == 0.05
    assert planner.axes_order() == [0, 1, 2]
    assert planner.stages(3, 6) == {
        "features_per_stage": [16, 32, 64, 128, 160, 160],
        "n_conv_per_stage": (2,) * 6,
        "n_conv_per_stage_decoder": (2,) * 5,
    }
    assert planner.stages(2, 7)["features_per_stage"] == [16, 32, 64, 128, 256, 256, 256]


def test_topology(planner):
    topology = planner.topology((2, 1, 1), (10, 32, 32))
    assert [list(stride) for stride in topology.strides[:3]] == [[1, 1, 1], [1, 2, 2], [2, 2, 2]]
    assert len(topology.strides) == len(topology.kernel_sizes)
    assert list(topology.patch_size) == [10, 32, 32]


def test_patch_shrinks_until_the_step_fits_and_each_configuration_is_finished(planner):
    full = planner.plan_configuration((2, 1, 1), (64, 80, 80), "Mine_3d", 1e8)
    voxels = full["patch_size"][0] * full["patch_size"][1] * full["patch_size"][2]
    assert full["finished"] == 1e8
    assert planner.candidate == (list(full["patch_size"]), full["architecture"]["arch_kwargs"]["features_per_stage"])
    planner.UNet_reference_val_3d = 100 * voxels / 2  # for 8 GB
    assert planner.plan_configuration((2, 1, 1), (64, 80, 80), "Mine_3d", 1e8)["patch_size"] != full["patch_size"]


def test_a_field_that_vanished_is_named(monkeypatch, tmp_path):
    write_planned_dataset(tmp_path, monkeypatch, (64, 80, 80))

    def renamed(self, *arguments, original=HostPlanner.__mro__[1].__init__, **keywords):
        original(self, *arguments, **keywords)
        del self.UNet_base_num_features

    monkeypatch.setattr(HostPlanner.__mro__[1], "__init__", renamed)
    with pytest.raises(AttributeError, match="UNet_base_num_features"):
        Planner(999, 8, "Mine", base_num_features=16, bytes_per_gigabyte=10**9)


def test_planners_of_nnunets_plans():
    planners = planners_by_plans_name()
    assert planners["nnUNetPlans"] == "ExperimentPlanner"
    assert planners["nnUNetResEncUNetMPlans"] == "nnUNetPlannerResEncM"
