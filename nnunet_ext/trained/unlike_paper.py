"""What a trained model has otherwise than its paper: settings, and patch, batch and width of its plans."""

import json
from typing import Any

from nnunet_ext.plans.network_entry import PlansError, resolved_configuration
from nnunet_ext.plans.settings import given_settings, settings_as_json
from nnunet_ext.trained.model_folder import TrainedModel
from nnunet_ext.trainers import TRAINERS
from nnunet_ext.trainers.base import MethodTrainer

PLANNED_STAGES = 6  # of nnU-Net's plans at the published patches; the first stage's width does not depend on it
PLANNED_WIDTH = 32  # nnU-Net's first stage; at this base every network has its paper's widths


def unlike_paper(model: TrainedModel) -> dict[str, tuple[Any, Any]] | None:
    """What differs from the paper: name -> (value of this model, value of the paper); plans first, then settings.

    Returns:
        None for a trainer that is not one of this package, which has no paper.
    """
    trainer = _trainer_of(model)
    return None if trainer is None else {**plans_unlike_paper(model), **settings_unlike_paper(model)}


def plans_unlike_paper(model: TrainedModel) -> dict[str, tuple[Any, Any]]:
    """Patch (in the order of the plans' axes), batch and first width that differ, as :func:`unlike_paper` has them.

    Where the paper trains slices and the model volumes, or the other way round, this stands in the place of the patch.
    """
    trainer = _trainer_of(model)
    if trainer is None or trainer.published_size is None:
        return {}
    try:
        plan = resolved_configuration(model.plans, model.configuration)
        patch, batch = list(plan["patch_size"]), plan["batch_size"]
        arch_kwargs = plan["architecture"]["arch_kwargs"]
        width = arch_kwargs["features_per_stage"][0]
    except (PlansError, KeyError):
        return {}
    published = list(trainer.published_size.patch_size)
    found: dict[str, tuple[Any, Any]]
    if len(patch) != len(published):
        found = {"dimensions": (len(patch), len(published)), "batch_size": (batch, trainer.published_size.batch_size)}
    else:
        if len(patch) == 3:
            published = [published[axis] for axis in model.plans.get("transpose_forward", range(3))]
        found = {"patch_size": (patch, published), "batch_size": (batch, trainer.published_size.batch_size)}
    found["features of the first stage"] = (width, _published_width(trainer, arch_kwargs))
    return {name: values for name, values in found.items() if values[0] != values[1]}


def settings_unlike_paper(model: TrainedModel) -> dict[str, tuple[Any, Any]]:
    """Settings that differ, as :func:`unlike_paper` has them; none for a trainer without a paper."""
    trainer = _trainer_of(model)
    if trainer is None:
        return {}
    # the paper's settings as this data set fills them in (modality groups and the like)
    resolved = trainer.settings_for({}, dict(model.labels.content), [])
    paper = json.loads(json.dumps(settings_as_json(resolved)))
    trained_with = {**paper, **given_settings(model.plans)}
    return {name: (value, paper.get(name)) for name, value in trained_with.items() if value != paper.get(name)}


def _trainer_of(model: TrainedModel) -> type[MethodTrainer] | None:
    return next((trainer for trainer in TRAINERS if trainer.__name__ == model.trainer), None)


def _published_width(trainer: type[MethodTrainer], arch_kwargs: dict[str, Any]) -> int:
    """First width of the trainer's network on nnU-Net's default plans."""
    dimension = len(arch_kwargs["strides"][0])
    planned = {
        "n_stages": PLANNED_STAGES,
        "features_per_stage": [PLANNED_WIDTH * 2**stage for stage in range(PLANNED_STAGES)],
        "conv_op": arch_kwargs["conv_op"],
        "kernel_sizes": [[3] * dimension] * PLANNED_STAGES,
        "strides": [[1] * dimension, *[[2] * dimension] * (PLANNED_STAGES - 1)],
        "n_conv_per_stage": [2] * PLANNED_STAGES,
        "n_conv_per_stage_decoder": [2] * (PLANNED_STAGES - 1),
    }
    return int(trainer.topology(planned)["features_per_stage"][0])
