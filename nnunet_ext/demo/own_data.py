"""The user's own data set for the demo: links to its files, with cases held out to be scored."""

import json
import re
from pathlib import Path

from nnunet_ext.demo.error import DemoError
from nnunet_ext.files.atomic import atomic_folder

FEWEST_TRAINING_CASES = 5  # nnU-Net splits the training cases into five folds


def dataset_name(source: Path) -> str:
    """Name of the data set in the demo: the folder's own where nnU-Net accepts it, else Dataset998_Own."""
    return source.name if re.fullmatch(r"Dataset\d{3}_\w+", source.name) else "Dataset998_Own"


def link_dataset(source: Path, folder: Path) -> None:
    """Makes a data set of links to the user's files, in nnU-Net's raw format; the user's folder is not changed.

    Cases of imagesTs that have a reference in labelsTs are the test cases. A data set without such cases gives up the
    last fifth of its training cases (by name, at least one) to be the test cases, since a model that has seen a case
    says nothing about it.

    Args:
        source: The user's folder in nnU-Net's raw format.
        folder: Data set to make. If it exists and already holds these very links, it is left as it is.

    Raises:
        DemoError: The source is not in nnU-Net's raw format or has too few cases, or `folder` links to other files.
    """
    dataset = _read_json(source)
    links = _links(source.resolve(), dataset)
    content = {key: value for key, value in dataset.items() if key != "dataset"}
    content["numTraining"] = sum(path.startswith("labelsTr/") for path in links)
    if folder.exists():
        present = {path.relative_to(folder).as_posix(): path.resolve() for path in folder.glob("*/*")}
        if present != {path: target.resolve() for path, target in links.items()} or _read_json(folder) != content:
            raise DemoError(f"{folder} was made from other data. Delete {folder.parent.parent} to start again.")
        return
    with atomic_folder(folder) as partial:
        for path, target in links.items():
            (partial / path).parent.mkdir(exist_ok=True)
            (partial / path).symlink_to(target)
        (partial / "dataset.json").write_text(json.dumps(content, indent=2))


def _links(source: Path, dataset: dict) -> dict[str, Path]:
    """Path in the demo's data set -> the user's file."""
    ending = dataset["file_ending"]
    channels = len(dataset.get("channel_names", dataset.get("modality", ())))
    training = _listed_cases(source, dataset["dataset"]) if "dataset" in dataset else _cases(source, "Tr", dataset)
    test = _cases(source, "Ts", dataset)
    names = sorted(training)
    if not test:
        held_out = max(1, len(names) // 5)
        test = {name: training.pop(name) for name in names[len(names) - held_out :]}
    if len(training) < FEWEST_TRAINING_CASES:
        raise DemoError(
            f"{source} has {len(names)} training cases with a reference. The demo needs at least "
            f"{FEWEST_TRAINING_CASES}, for nnU-Net's five folds, and one more to score where imagesTs and labelsTs "
            "have none."
        )
    links = {}
    for split, cases in (("Tr", training), ("Ts", test)):
        for name, (images, label) in cases.items():
            if len(images) != channels:
                raise DemoError(
                    f"Case {name} in {source} has {len(images)} images; dataset.json has {channels} channels."
                )
            for channel, image in enumerate(images):
                links[f"images{split}/{name}_{channel:04d}{ending}"] = image
            links[f"labels{split}/{name}{ending}"] = label
    return links


def _cases(source: Path, split: str, dataset: dict) -> dict[str, tuple[list[Path], Path]]:
    """Cases with a reference: name -> images in channel order, reference."""
    ending = dataset["file_ending"]
    names = sorted(path.name.removesuffix(ending) for path in (source / f"labels{split}").glob(f"*{ending}"))
    images = {name: sorted((source / f"images{split}").glob(f"{name}_[0-9][0-9][0-9][0-9]{ending}")) for name in names}
    return {name: (images[name], source / f"labels{split}" / f"{name}{ending}") for name in names if images[name]}


def _listed_cases(source: Path, listed: dict) -> dict[str, tuple[list[Path], Path]]:
    """Cases that dataset.json lists itself, with paths relative to it or absolute."""
    return {
        name: ([source / image for image in case["images"]], source / case["label"]) for name, case in listed.items()
    }


def _read_json(folder: Path) -> dict:
    path = folder / "dataset.json"
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise DemoError(f"{path} does not exist: {folder} is not a data set in nnU-Net's raw format.") from None
    except json.JSONDecodeError as error:
        raise DemoError(f"{path} is not valid JSON: {error}") from None
    missing = sorted({"labels", "file_ending"} - set(content))
    if missing:
        raise DemoError(f"{path} has no {' and no '.join(missing)}.")
    return content
