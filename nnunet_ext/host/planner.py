"""nnU-Net's experiment planners."""

from importlib import import_module
from inspect import getmembers, isclass, signature
from pkgutil import walk_packages


def planners_by_plans_name() -> dict[str, str]:
    """Name of plans -> planner of nnU-Net that makes them, where it is told no other name."""
    from nnunetv2.experiment_planning import experiment_planners
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

    planners: dict[str, str] = {}
    for module in walk_packages(experiment_planners.__path__, f"{experiment_planners.__name__}."):
        for name, member in getmembers(import_module(module.name), isclass):
            if issubclass(member, ExperimentPlanner):
                planners.setdefault(signature(member).parameters["plans_name"].default, name)
    return planners
