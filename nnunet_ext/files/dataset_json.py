"""``dataset.json``, which says what a data set's channels and labels are."""

from pathlib import Path
from typing import Any

from nnunet_ext.errors import InputError
from nnunet_ext.files.json_object import read_json_object


def read_dataset_json(folder: Path) -> dict[str, Any]:
    """Content of the ``dataset.json`` in the folder of a data set or of a trained model.

    Raises:
        InputError: It is not there, cut off, or has no channels, labels or file ending.
    """
    file = folder / "dataset.json"
    content = read_json_object(file, ["labels"])
    # nnU-Net v1 called the channels otherwise, and v2 reads that, too
    read_json_object(file, ["channel_names" if "channel_names" in content else "modality"])
    if not isinstance(content.get("file_ending"), str):
        raise InputError(f"{file} has no file_ending, such as .nii.gz.")
    return content
