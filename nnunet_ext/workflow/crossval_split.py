"""nnU-Net's cross-validation split, written before the first fold is trained."""

import json
from pathlib import Path

from nnunet_ext.errors import UserError
from nnunet_ext.files.atomic import write_text_atomically
from nnunet_ext.host.data import NUM_FOLDS, crossvalidation_split, preprocessed_cases
from nnunet_ext.host.plans import PlansManager
from nnunet_ext.planning.dataset_folder import dataset_number, preprocessed_folder, read_plans


class SplitError(UserError):
    """The split cannot be made."""


def write_split(dataset: str, plans: str) -> tuple[Path, bool]:
    """Write the split that nnU-Net's trainers would write, unless there is one.

    Args:
        dataset: Dataset ID or name.
        plans: Name of plans whose data is preprocessed.

    Returns:
        ``splits_final.json``, and whether it is new.

    Raises:
        UserError: Unknown dataset, no plans, no preprocessed data, or fewer cases than folds.
    """
    folder = preprocessed_folder(dataset)
    file = folder / "splits_final.json"
    if file.is_file():
        return file, False
    cases = _preprocessed_cases(folder, plans)
    if len(cases) < NUM_FOLDS:
        raise SplitError(f"{folder}: {len(cases)} cases are too few for {NUM_FOLDS} folds. Write {file} yourself.")
    write_text_atomically(file, json.dumps(crossvalidation_split(cases), indent=4))
    return file, True


def _preprocessed_cases(folder: Path, plans: str) -> list[str]:
    """Cases of the first configuration that has preprocessed data, sorted; they are the same in all."""
    manager = PlansManager(read_plans(folder, plans))
    for name in manager.available_configurations:
        data = folder / manager.get_configuration(name).data_identifier
        if data.is_dir():
            return preprocessed_cases(data)
    raise SplitError(
        f"{folder} has no preprocessed data for {plans}. "
        f"Run: nnUNetv2_preprocess -d {dataset_number(folder.name)} -plans_name {plans}"
    )
