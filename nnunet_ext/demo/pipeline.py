"""The demo's commands in order, with the files each reads and writes."""

from pathlib import Path

from nnunet_ext.demo.step import Step, command
from nnunet_ext.demo.workspace import Workspace
from nnunet_ext.files.checkpoint import FINAL

PAIRING = "ModalityPairingTrainer"
PLAIN = "nnUNetTrainer_1epoch"  # nnU-Net's own variant of its trainer: 1 epoch of 250 steps instead of 1000
PLANS = "nnUNetPlansDemo"
# GB; nnU-Net's planner then takes patches of about 50 voxels a side, so that large images train on a CPU in minutes
MEMORY_TARGET = 0.5
# An eighth of nnU-Net's widths, and as many steps as the plain trainer has.
SETTINGS = {
    "base_num_features": 4,
    "num_epochs": 10,
    "num_iterations_per_epoch": 25,
    "num_val_iterations_per_epoch": 2,
    "warmup_epochs": 1,
}


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
    ]


def systems(workspace: Workspace) -> dict[str, Path]:
    """The systems the demo scores: name for people -> folder of predictions, from single models to the last result."""
    return {
        "Modality pairing": workspace.predictions("modality_pairing"),
        "Plain nnU-Net": workspace.predictions("plain"),
        "Ensemble": workspace.predictions("ensemble"),
        "Ensemble, post-processed": workspace.predictions("ensemble_postprocessed"),
    }


def _planning(workspace: Workspace) -> list[Step]:
    raw = workspace.raw
    plans, demo_plans = workspace.preprocessed / "nnUNetPlans.json", workspace.preprocessed / f"{PLANS}.json"
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
        Step(
            "Plan a small network and a short training",
            command(
                "nnunet_ext plan -d {d} -tr {tr} -o {o} " + " ".join(f"{key}={SETTINGS[key]}" for key in SETTINGS),
                d=workspace.identifier,
                tr=PAIRING,
                o=PLANS,
            ),
            inputs=(plans,),
            outputs=(demo_plans,),
        ),
    ]


def _training(workspace: Workspace, device: str) -> list[Step]:
    return [
        Step(
            f"Train {name}, fold {fold}",
            command(
                "nnUNetv2_train {d} {c} {fold} -tr {tr} -p {p} -device {device} --npz",
                d=workspace.identifier,
                c=workspace.configuration,
                fold=fold,
                tr=trainer,
                p=PLANS,
                device=device,
            ),
            inputs=(workspace.preprocessed / f"{PLANS}.json", *_preprocessed_cases(workspace)),
            outputs=_trained(workspace, trainer, fold),
        )
        for name, trainer, fold in (
            ("modality pairing", PAIRING, 0),
            ("modality pairing", PAIRING, 1),
            ("plain nnU-Net", PLAIN, 0),
        )
    ]


def _prediction(workspace: Workspace, device: str) -> list[Step]:
    images = workspace.raw / "imagesTs"
    pairing, plain, ensemble = (workspace.predictions(name) for name in ("modality_pairing", "plain", "ensemble"))
    predict = [
        Step(
            f"Predict the test cases with {name}",
            command(
                "nnUNetv2_predict -d {d} -i {i} -o {o} -c {c} -f " + " ".join(str(fold) for fold in folds) + " "
                "-tr {tr} -p {p} -device {device} --save_probabilities -npp 1 -nps 1",
                d=workspace.identifier,
                i=images,
                o=output,
                c=workspace.configuration,
                tr=trainer,
                p=PLANS,
                device=device,
            ),
            inputs=(
                *sorted(images.iterdir()),
                *(path for fold in folds for path in _trained(workspace, trainer, fold)),
            ),
            outputs=(*_test_files(workspace, output), *_test_files(workspace, output, ".npz")),
        )
        for name, trainer, folds, output in (
            ("modality pairing", PAIRING, (0, 1), pairing),
            ("plain nnU-Net", PLAIN, (0,), plain),
        )
    ]
    average = Step(
        "Average the probabilities of both",
        command("nnUNetv2_ensemble -i {a} {b} -o {o} -np 2", a=pairing, b=plain, o=ensemble),
        inputs=(*_test_files(workspace, pairing, ".npz"), *_test_files(workspace, plain, ".npz")),
        outputs=_test_files(workspace, ensemble),
    )
    return [*predict, average]


def _postprocessing(workspace: Workspace) -> list[Step]:
    """Post-processing is determined on validation cases, never on the test cases it is applied to."""
    validation = workspace.model(PAIRING, PLANS) / "crossval_results_folds_0_1"
    ensemble, final = workspace.predictions("ensemble"), workspace.predictions("ensemble_postprocessed")
    functions = validation / "postprocessing.pkl"
    return [
        Step(
            "Collect the validation cases of both folds",
            command(
                "nnUNetv2_accumulate_crossval_results {d} -c {c} -tr {tr} -p {p} -f 0 1",
                d=workspace.identifier,
                c=workspace.configuration,
                tr=PAIRING,
                p=PLANS,
            ),
            inputs=(*_trained(workspace, PAIRING, 0), *_trained(workspace, PAIRING, 1)),
            outputs=(validation / "summary.json",),
        ),
        Step(
            "Determine the post-processing on them",
            command(
                "nnUNetv2_determine_postprocessing -i {i} -ref {ref} -np 2",
                i=validation,
                ref=workspace.raw / "labelsTr",
            ),
            inputs=(validation / "summary.json",),
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
                plans=validation / "plans.json",
                dataset=validation / "dataset.json",
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


def _preprocessed_cases(workspace: Workspace) -> tuple[Path, ...]:
    folder = workspace.preprocessed / f"nnUNetPlans_{workspace.configuration}"
    return tuple(folder / f"{case}.pkl" for case in workspace.cases("Tr"))


def _trained(workspace: Workspace, trainer: str, fold: int) -> tuple[Path, ...]:
    """What a training writes last: the last checkpoint, then the scores of the validation cases."""
    folder = workspace.model(trainer, PLANS) / f"fold_{fold}"
    return (folder / FINAL, folder / "validation" / "summary.json")


def _test_files(workspace: Workspace, folder: Path, ending: str | None = None) -> tuple[Path, ...]:
    ending = ending or workspace.dataset_json()["file_ending"]
    return tuple(folder / f"{case}{ending}" for case in workspace.cases("Ts"))
