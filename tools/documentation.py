"""Gathers the documentation's pages in build/docs, makes what is made by running the code, and builds the site.

    python tools/documentation.py            everything; trainings of the gallery are kept in build/gallery
    python tools/documentation.py --pages    the pages without the gallery's trainings

Warnings of the builder are errors.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from network_drawing import boxes_of, draw_network
from pydantic.fields import FieldInfo
from rich.console import Console

from nnunet_ext.datasets.phantom import write_phantom_dataset
from nnunet_ext.demo.run import run_steps
from nnunet_ext.demo.step import Step, command
from nnunet_ext.demo.workspace import Workspace
from nnunet_ext.testing import Case, make_trainer
from nnunet_ext.trainers import TRAINERS

CHECKOUT = Path(__file__).resolve().parents[1]
BUILD = CHECKOUT / "build"
PAGES, GALLERY = BUILD / "docs", BUILD / "gallery"
DRAWN = Case(
    regions=True,
    patch_size=(32, 32, 32),
    strides=((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2)),
    kernel_sizes=((3, 3, 3),) * 4,
    base=8,
)
# where a trainer's method is described, by the file that it is in
METHOD_PAGES = {
    "modality_pairing": "methods/modality_pairing.md",
    "autoencoder": "methods/autoencoder.md",
    "attention_fusion": "methods/attention_fusion.md",
    "slice_classification": "methods/slice_classification.md",
    "host_networks": "methods/host_networks.md",
    "modality_dropout": "missing_modalities.md",
}
SHORT = {
    "base_num_features": 8,
    "num_epochs": 6,
    "num_iterations_per_epoch": 25,
    "num_val_iterations_per_epoch": 2,
    "patch_size": "[24,24,24]",
}


class Example(NamedTuple):
    """A trainer that the gallery trains, and the pictures that it shows.

    Attributes:
        trainer: Its name.
        settings: Beside those of ``SHORT``.
        pictures: File below the model's folder or the gallery -> what it shows.
    """

    trainer: str
    settings: dict[str, Any]
    pictures: dict[str, str]

    @property
    def plans(self) -> str:
        """Name of its plans."""
        return f"Gallery{self.trainer.removesuffix('Trainer')}"


HEALTH = {"fold_0/progress_health.png": "Health of the training: what each region calls, and its gradients."}
COMPONENTS = {"fold_0/progress_components.png": "Components of the loss over the epochs."} | HEALTH
EXAMPLES = (
    Example("ModalityPairingTrainer", {"warmup_epochs": 1}, COMPONENTS),
    Example(
        "AutoencoderRegularizedTrainer",
        {"initial_lr": 0.001},
        COMPONENTS | {"fold_0/reconstruction.png": "What the branch reconstructs of a patch."},
    ),
    Example(
        "BiFPNClassifierTrainer",
        {"warmup_epochs": 1},
        COMPONENTS | {"slices/phantom_ts000.png": "`nnunet_ext slices`: the classifier's probabilities and the gate."},
    ),
    Example(
        "AttentionFusionTrainer",
        {"initial_lr": 0.001, "epochs_per_halving": 3},
        HEALTH | {"attention.png": "`nnunet_ext attention`: heat maps of every level over a case."},
    ),
)


def main() -> None:
    """Build the site."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", action="store_true", help="without the gallery's trainings")
    arguments = parser.parse_args()
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(CHECKOUT / "docs", PAGES)
    copy_page("README.md", "index.md")
    copy_page("CONTRIBUTING.md", "contributing.md")
    copy_page("CHANGELOG.md", "changelog.md")
    for page in PAGES.rglob("*.md"):
        page.write_text(without_links_outside(page.read_text(encoding="utf-8")), encoding="utf-8")
    pictures = {} if arguments.pages else run_gallery()
    write_trainer_pages(pictures)
    mkdocs = [str(Path(sys.executable).with_name("mkdocs")), "build", "--strict", "--quiet"]
    # griffe and Material tell of themselves there
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "true", "DISABLE_MKDOCS_2_WARNING": "true"}
    raise SystemExit(subprocess.run(mkdocs, cwd=CHECKOUT, env=environment, check=False).returncode)


def copy_page(source: str, name: str) -> None:
    """Copy a page from the checkout's root, with links as they are below ``docs``."""
    text = (CHECKOUT / source).read_text(encoding="utf-8").replace("](docs/", "](")
    (PAGES / name).write_text(text.replace("](CONTRIBUTING.md", "](contributing.md"), encoding="utf-8")


def without_links_outside(page: str) -> str:
    """The page with links to files of the checkout that are no pages turned into the files' names."""
    return re.sub(
        r"\[([^\]]*)\]\((?:\.\./)*((?:benchmarks|tests|tools|examples|nnunet_ext)/[^)]*)\)", r"\1 (`\2`)", page
    )


def run_gallery() -> dict[str, list[tuple[Path, str]]]:
    """Train the examples with nnU-Net's commands; trainer -> pictures and what they show."""
    workspace = Workspace(GALLERY / "Dataset998_Phantom")
    if not workspace.raw.exists():
        write_phantom_dataset(workspace.raw, num_cases=10, shape=(24, 32, 28), seed=0, num_test_cases=1)
    environment = {**workspace.environment(), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    run_steps(gallery_steps(workspace), workspace.logs, environment, Console(stderr=True))
    return {
        example.trainer: [
            (workspace.model(example.trainer, example.plans) / file, text) for file, text in example.pictures.items()
        ]
        for example in EXAMPLES
    }


def gallery_steps(workspace: Workspace) -> list[Step]:
    """The commands of the gallery in order."""
    dataset, configuration = workspace.identifier, workspace.configuration
    planned = workspace.preprocessed / "nnUNetPlans.json"
    steps = [
        Step(
            "Plan and preprocess",
            command("nnUNetv2_plan_and_preprocess -d {d} -c {c} -npfp 1 -np 1", d=dataset, c=configuration),
            inputs=(workspace.raw / "dataset.json",),
            outputs=(planned,),
        )
    ]
    for example in EXAMPLES:
        plans = workspace.preprocessed / f"{example.plans}.json"
        model = workspace.model(example.trainer, example.plans)
        final = model / "fold_0" / "checkpoint_final.pth"
        settings = " ".join(f"{name}={value}" for name, value in (SHORT | example.settings).items())
        steps += [
            Step(
                f"Plan {example.trainer}",
                command(f"nnunet_ext plan -d {dataset} -tr {example.trainer} -o {example.plans} " + settings),
                inputs=(planned,),
                outputs=(plans,),
            ),
            Step(
                f"Train {example.trainer}",
                command(
                    "nnUNetv2_train {d} {c} 0 -tr {tr} -p {p} -device cpu",
                    d=dataset,
                    c=configuration,
                    tr=example.trainer,
                    p=example.plans,
                ),
                inputs=(plans,),
                outputs=(final,),
            ),
        ]
        images = workspace.raw / "imagesTs"
        if "slices/phantom_ts000.png" in example.pictures:
            shutil.rmtree(model / "slices", ignore_errors=True)
            steps.append(
                Step(
                    "Look at slices",
                    command("nnunet_ext slices {m} -i {i} -o {o} --device cpu", m=model, i=images, o=model / "slices"),
                    inputs=(final,),
                    outputs=(model / "slices" / "phantom_ts000.png",),
                )
            )
        if "attention.png" in example.pictures:
            files = " ".join(f"{{image{channel}}}" for channel in range(4))
            values = {f"image{c}": images / f"phantom_ts000_{c:04d}.nii.gz" for c in range(4)}
            steps.append(
                Step(
                    "Look at attention",
                    command(
                        f"nnunet_ext attention {{m}} {files} -o {{o}} --device cpu",
                        m=model,
                        o=model / "attention.png",
                        **values,
                    ),
                    inputs=(final,),
                    outputs=(model / "attention.png",),
                )
            )
    return steps


def write_trainer_pages(pictures: dict[str, list[tuple[Path, str]]]) -> None:
    """Write a page a trainer, with its network drawn from the code and the gallery's pictures, and their list."""
    folder = PAGES / "trainers"
    folder.mkdir()
    rows = []
    for trainer in TRAINERS:
        name = trainer.__name__
        draw_trainer(trainer, folder / f"{name}.png")
        rows.append(f"| [`{name}`]({name}.md) | {trainer.paper} | {trainer.adds} |")
        (folder / f"{name}.md").write_text(trainer_page(trainer, pictures.get(name, []), folder), encoding="utf-8")
    table = "\n".join(["| trainer | paper | what it adds |", "|---|---|---|", *rows])
    text = "# Trainers\n\nWhat `nnUNetv2_train ... -tr` takes. `nnunet_ext list` prints the same.\n\n"
    (folder / "index.md").write_text(f"{text}{table}\n", encoding="utf-8")


def draw_trainer(trainer: type, file: Path) -> None:
    """Draw the network of a trainer for four modalities and three regions, at a small size."""
    with TemporaryDirectory() as folder:
        network = make_trainer(trainer, DRAWN, Path(folder)).network.train()
    boxes = boxes_of(network, torch.randn(1, DRAWN.input_channels, *DRAWN.patch_size))
    draw_network(boxes, file, f"{type(network).__name__} of {trainer.__name__}, in training")


def trainer_page(trainer: Any, pictures: list[tuple[Path, str]], folder: Path) -> str:
    """A trainer's page; its pictures are copied beside it."""
    name = trainer.__name__
    method = METHOD_PAGES[trainer.__module__.rsplit(".", 1)[-1]]
    what = f"{trainer.adds[0].upper()}{trainer.adds[1:]}."
    lines = [
        f"# {name}",
        "",
        f"{what} From {trainer.paper}. [What the paper says, what we do, and why](../{method}).",
        "",
        "```bash",
        f"nnUNetv2_train DATASET 3d_fullres 0 -tr {name}",
        "```",
        "",
        "## Network",
        "",
        f"![Network of {name}]({name}.png)",
        "",
        f"Four modalities, three regions, {DRAWN.base} features in the first of {len(DRAWN.strides)} stages. Boxes are "
        "modules, with channels and size of what they make; lines are read from PyTorch's graph.",
        "",
    ]
    if pictures:
        lines += ["## From a small run", ""]
        for picture, text in pictures:
            shutil.copy(picture, folder / f"{name}_{picture.name}")
            lines += [f"![{text.split(':')[0]}]({name}_{picture.name})", "", text, ""]
        lines += [
            f"{SHORT['num_epochs']} epochs of {SHORT['num_iterations_per_epoch']} steps on generated cases: "
            "what the pictures are, not how good the method is.",
            "",
        ]
    lines += ["## Settings", "", "| setting | default |", "|---|---|", *settings_rows(trainer.settings_class), ""]
    return "\n".join(lines)


def settings_rows(settings_class: Any) -> list[str]:
    """A row a setting, with its default."""
    return [f"| `{field.name}` | `{default_of(field)}` |" for field in fields(settings_class)]


def default_of(field: Any) -> Any:
    """Default of a setting."""
    default = field.default
    if isinstance(default, FieldInfo):
        return default.get_default(call_default_factory=True)
    return default


if __name__ == "__main__":
    main()
