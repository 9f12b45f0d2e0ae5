"""nnU-Net's experiment planners."""

from nnunet_ext.host.planner import planners_by_plans_name


def test_planners_of_nnunets_plans():
    planners = planners_by_plans_name()
    assert planners["nnUNetPlans"] == "ExperimentPlanner"
    assert planners["nnUNetResEncUNetMPlans"] == "nnUNetPlannerResEncM"
