"""One fold's training: started, continued or only validated, whatever an earlier run left."""

import os
from pathlib import Path

from nnunet_ext.files.checkpoint import CHECKPOINTS, FINAL, damage
from nnunet_ext.files.fold_lock import lock_fold


def prepare_fold(folder: Path) -> tuple[list[str], list[str]]:
    """Make sure that this process alone trains a fold, and find out what is left to do.

    Args:
        folder: Fold's folder in nnUNet_results; created if need be. It is locked until this process ends, and the
            command that this process turns into.

    Returns:
        Options of ``nnUNetv2_train``: none for a new training, ``--c`` to continue one, ``--val`` when it has ended;
        and lines that say what was done.

    Raises:
        TrainingError: Another process trains this fold.
        OtherPlansError: It was trained, wholly or in part, with other plans than there are now.
    """
    folder.mkdir(parents=True, exist_ok=True)
    note = lock_fold(folder)
    notes = [note] if note else []
    notes += set_broken_checkpoints_aside(folder)
    options = options_for(folder)
    preprocessed = os.environ.get("nnUNet_preprocessed")
    if options and preprocessed:
        from nnunet_ext.workflow.fold_plans import check_fold_plans  # new trainings need not wait for nnU-Net here

        check_fold_plans(folder, Path(preprocessed, folder.parent.parent.name))
    return options, notes


def options_for(folder: Path) -> list[str]:
    """Options of ``nnUNetv2_train`` that go on from the checkpoints in a fold's folder."""
    if (folder / FINAL).is_file():
        # not --c: it would write the final checkpoint again, and a training stopped in that moment would have none
        return ["--val"]
    return ["--c"] if any((folder / name).is_file() for name in CHECKPOINTS) else []


def set_broken_checkpoints_aside(folder: Path) -> list[str]:
    """Rename checkpoints that were cut off or damaged, so that nnU-Net takes the next older one.

    Returns:
        A line for each of them.
    """
    notes = []
    for name in CHECKPOINTS:
        checkpoint = folder / name
        if checkpoint.is_file() and (problem := damage(checkpoint)):
            broken = checkpoint.with_name(f"{name}.broken")
            checkpoint.replace(broken)
            notes.append(f"{checkpoint} {problem}; it is {broken.name} now.")
    return notes
