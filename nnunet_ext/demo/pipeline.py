"""The demo's commands in order, with the files each reads and writes."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from nnunet_ext.demo.step import Step, command
from nnunet_ext.demo.workspace import Workspace
from nnunet_ext.files.checkpoint import FINAL

PLAIN = "nnUNetTrainer_1epoch"  # nnU-Net's own variant of its trainer: 1 epoch of 250 steps instead of 1000
PLANS = "nnUNetPlansDemo"
# GB; nnU-Net's planner then takes patches of about 50 voxels a side, so that large images train on a CPU in minutes
MEMORY_TARGET = 0.5
# A small part of nnU-Net's widths, and as many steps as the plain trainer has.
SETTINGS = {
    "base_num_features": 4,
    "num_epochs": 10,
    "num_iterations_per_epoch": 25,
    "num_val_iterations_per_epoch": 2,
}


class Method(NamedTuple):
    """A trainer of this package in the demo.

    Attributes:
        title: Name for people.
        trainer: Name for -tr.
        folder: Folder of its predictions.
        plans: Name of its plans.
        settings: What it has beside the settings of all; learning rates are for few steps.
    """

    title: str
    trainer: str
    folder: str
    plans: str
    settings: Mapping[str, float]


PAIRING = Method("Modality pairing", "ModalityPairingTrainer", "modality_pairing", PLANS, {"warmup_epochs": 1})
AUTOENCODER = Method(
    "Autoencoder regularization",
    "AutoencoderRegularizedTrainer",
    "autoencoder",
    f"{PLANS}Autoencoder",
    {"base_num_features": 8, "initial_lr": 3e-3},
)
ATTENTION = Method(
    "Attention fusion", "AttentionFusionTrainer", "attention_fusion", f"{PLANS}Attention", {"initial_lr": 3e-3}
)
METHODS = (PAIRING, AUTOENCODER, ATTENTION)


def demo_steps(workspace: Workspace, device: str = "cpu") -> list[Step]:
    """All commands of the demo in order.

    Args:
        workspace: The demo's files; the raw data set must be there.
        device: cpu, cuda or mps.
    """
    return [
        *_planning(workspace),
        *_training(workspace, device),
        *_prediction(workspace, device),
        *_postprocessing(workspace),
        *_evaluation(workspace),
        *_showing(workspace, device),
    ]


def systems(workspace: Workspace) -> dict[str, Path]:
    """The systems the demo scores: name for people -> folder of predictions, from single models to the last result."""
    return {
        "Plain nnU-Net": workspace.predictions("plain"),
        **{method.title: workspace.predictions(method.folder) for method in METHODS},
        "Ensemble": workspace.predictions("ensemble"),
        "Ensemble, post-processed": workspace.predictions("ensemble_postprocessed"),
    }


def reconstruction(workspace: Workspace) -> Path:
    """What the autoencoder branch makes of a training case, drawn when its training ends."""
    return workspace.model(AUTOENCODER.trainer, AUTOENCODER.plans) / "fold_0" / "reconstruction.png"


def _planning(workspace: Workspace) -> list[Step]:
    raw = workspace.raw
    plans = workspace.preprocessed / "nnUNetPlans.json"
    return [
        Step(
            "Plan for small patches, and preprocess",
            command(
                "nnUNetv2_plan_and_preprocess -d {d} -c {c} -gpu_memory_target {gigabytes} --verify_dataset_integrity "
                "--clean -npfp 2 -np 2",
                d=workspace.identifier,
                c=workspace.configuration,
                gigabytes=MEMORY_TARGET,
            ),
            inputs=(raw / "dataset.json", *sorted(raw.glob("imagesTr/*")), *sorted(raw.glob("labelsTr/*"))),
            outputs=(plans, *_preprocessed_cases(workspace)),
        ),
        *(
            Step(
                f"Plan a small network and a short training: {method.title.lower()}",
                command(
                    "nnunet_ext plan -d {d} -tr {tr} -o {o} "
                    + " ".join(f"{key}={value}" for key, value in {**SETTINGS, **method.settings}.items()),
                    d=workspace.identifier,
                    tr=method.trainer,
                    o=method.plans,
                ),
                inputs=(plans,),
                outputs=(workspace.preprocessed / f"{method.plans}.json",),
            )
            for method in METHODS
        ),
    ]


def _training(workspace: Workspace, device: str) -> list[Step]:
    return [
        Step(
            f"Train {title}",
            command(
                "nnUNetv2_train {d} {c} 0 -tr {tr} -p {p} -device {device} --npz",
                d=workspace.identifier,
                c=workspace.configuration,
                tr=trainer,
                p=plans,
                device=device,
            ),
            inputs=(workspace.preprocessed / f"{plans}.json", *_preprocessed_cases(workspace)),
            outputs=(
                *_trained(workspace, trainer, plans),
                *((reconstruction(workspace),) if trainer == AUTOENCODER.trainer else ()),
            ),
        )
        for title, trainer, plans, _ in _models()
    ]


def _models() -> list[tuple[str, str, str, str]]:
    """Title, trainer, plans and folder of predictions of every model."""
    plain = ("plain nnU-Net, for comparison", PLAIN, PLANS, "plain")
    return [plain, *((method.title.lower(), method.trainer, method.plans, method.folder) for method in METHODS)]


def _prediction(workspace: Workspace, device: str) -> list[Step]:
    images = workspace.raw / "imagesTs"
    ensemble = workspace.predictions("ensemble")
    predict = [
        Step(
            f"Predict the test cases with {title}",
            command(
                "nnUNetv2_predict -d {d} -i {i} -o {o} -c {c} -f 0 -tr {tr} -p {p} -device {device} "
                "--save_probabilities -npp 1 -nps 1",
                d=workspace.identifier,
                i=images,
                o=output,
                c=workspace.configuration,
                tr=trainer,
                p=plans,
                device=device,
            ),
            inputs=(*sorted(images.iterdir()), *_trained(workspace, trainer, plans)),
            outputs=(*_test_files(workspace, output), *_test_files(workspace, output, ".npz")),
        )
        for title, trainer, plans, folder in _models()
        for output in [workspace.predictions(folder)]
    ]
    members = [workspace.predictions(folder) for *_, folder in _models()]
    average = Step(
        "Average the probabilities of all",
        ("nnUNetv2_ensemble", "-i", *map(str, members), "-o", str(ensemble), "-np", "2"),
        inputs=tuple(path for folder in members for path in _test_files(workspace, folder, ".npz")),
        outputs=_test_files(workspace, ensemble),
    )
    return [*predict, average]


def _postprocessing(workspace: Workspace) -> list[Step]:
    """Post-processing is determined on validation cases, never on the test cases it is applied to."""
    model = workspace.model(PAIRING.trainer, PAIRING.plans)
    validation = model / "fold_0" / "validation"
    ensemble, final = workspace.predictions("ensemble"), workspace.predictions("ensemble_postprocessed")
    functions = validation / "postprocessing.pkl"
    return [
        Step(
            "Determine the post-processing on the validation cases",
            command(
                "nnUNetv2_determine_postprocessing -i {i} -ref {ref} -plans_json {plans} -dataset_json {dataset} -np 2",
                i=validation,
                ref=workspace.raw / "labelsTr",
                plans=model / "plans.json",
                dataset=model / "dataset.json",
            ),
            inputs=_trained(workspace, PAIRING.trainer, PAIRING.plans),
            outputs=(functions,),
        ),
        Step(
            "Apply the post-processing to the ensemble",
            command(
                "nnUNetv2_apply_postprocessing -i {i} -o {o} -pp_pkl_file {functions} -plans_json {plans} "
                "-dataset_json {dataset} -np 2",
                i=ensemble,
                o=final,
                functions=functions,
                plans=model / "plans.json",
                dataset=model / "dataset.json",
            ),
            inputs=(functions, *_test_files(workspace, ensemble)),
            outputs=_test_files(workspace, final),
        ),
    ]


def _evaluation(workspace: Workspace) -> list[Step]:
    reference = workspace.raw / "labelsTs"
    return [
        Step(
            f"Score {name}",
            command(
                "nnUNetv2_evaluate_folder {reference} {predicted} -djfile {dataset} -pfile {plans} -np 2",
                reference=reference,
                predicted=folder,
                dataset=workspace.raw / "dataset.json",
                plans=workspace.preprocessed / f"{PLANS}.json",
            ),
            inputs=(*_test_files(workspace, reference), *_test_files(workspace, folder)),
            outputs=(folder / "summary.json",),
        )
        for name, folder in systems(workspace).items()
    ]


def _showing(workspace: Workspace, device: str) -> list[Step]:
    """What the page shows beside the predictions: attention maps of a test case, and the report."""
    case = workspace.cases("Ts")[0]
    images = workspace.images("Ts", case)
    reference = _test_files(workspace, workspace.raw / "labelsTs")[0]
    fusion = workspace.model(ATTENTION.trainer, ATTENTION.plans)
    models = [workspace.model(trainer, plans) for _, trainer, plans, _ in _models()]
    return [
        Step(
            "Draw what attention fusion looks at",
            (
                *("nnunet_ext", "attention", str(fusion), *map(str, images), "-o", str(workspace.attention)),
                *("--reference", str(reference), "-device", device),
            ),
            inputs=(*images, reference, *_trained(workspace, ATTENTION.trainer, ATTENTION.plans)),
            outputs=(workspace.attention,),
        ),
        Step(
            "Write a report about all models",
            ("nnunet_ext", "report", *map(str, models), "-o", str(workspace.report)),
            inputs=tuple(path for _, trainer, plans, _ in _models() for path in _trained(workspace, trainer, plans)),
            outputs=(workspace.report,),
        ),
    ]


def _preprocessed_cases(workspace: Workspace) -> tuple[Path, ...]:
    folder = workspace.preprocessed / f"nnUNetPlans_{workspace.configuration}"
    return tuple(folder / f"{case}.pkl" for case in workspace.cases("Tr"))


def _trained(workspace: Workspace, trainer: str, plans: str) -> tuple[Path, ...]:
    """What a training writes last: the last checkpoint, then the scores of the validation cases."""
    folder = workspace.model(trainer, plans) / "fold_0"
    return (folder / FINAL, folder / "validation" / "summary.json")


def _test_files(workspace: Workspace, folder: Path, ending: str | None = None) -> tuple[Path, ...]:
    ending = ending or workspace.dataset_json()["file_ending"]
    return tuple(folder / f"{case}{ending}" for case in workspace.cases("Ts"))
