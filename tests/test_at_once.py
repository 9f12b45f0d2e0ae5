"""The same command twice at once: what is left is what one of them alone leaves."""

import json
import multiprocessing
from pathlib import Path

import pytest
from label_cases import tumour, write_dataset_json, write_folder

from nnunet_ext.errors import UserError
from nnunet_ext.evaluation.evaluate import evaluate_folders
from nnunet_ext.planning.command import write_method_plans
from nnunet_ext.testing import Case

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
REFUSED = 3


def codes_of_two(call) -> list[int]:
    """Exit codes of two processes that begin together: 0, REFUSED for a user's message, 1 for anything else."""
    context = multiprocessing.get_context("fork")
    together = context.Barrier(2)

    def run():
        together.wait(60)
        try:
            call()
        except UserError:
            raise SystemExit(REFUSED) from None

    processes = [context.Process(target=run) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return sorted(process.exitcode for process in processes)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_evaluations_leave_whole_files_and_nothing_else(tmp_path):
    write_dataset_json(tmp_path)
    references = write_folder(tmp_path / "labelsTr", {"a": tumour(), "b": tumour(enhancing=False)})
    predictions = write_folder(tmp_path / "pred", {"a": tumour(1), "b": tumour()})
    evaluate_folders(references, predictions, tmp_path / "alone", num_processes=1)
    call = lambda: evaluate_folders(references, predictions, tmp_path / "both", num_processes=1)  # noqa: E731
    assert codes_of_two(call) == [0, 0]
    assert contents(tmp_path / "both") == contents(tmp_path / "alone")


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """A data set with plans."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        folder = tmp_path / name / "Dataset999_Case"
        folder.mkdir(parents=True)
        (folder / "dataset.json").write_text(json.dumps(Case().dataset_json))
        monkeypatch.setenv(name, str(tmp_path / name))
    folder = tmp_path / "nnUNet_preprocessed" / "Dataset999_Case"
    (folder / "nnUNetPlans.json").write_text(json.dumps(Case().plans))
    return folder


def test_two_plans_of_one_name_are_one_file(dataset):
    def plan(name="Both"):
        write_method_plans("999", "ModalityPairingTrainer", name, ["num_epochs=7"])

    before = contents(dataset)
    plan("Alone")
    assert codes_of_two(plan) == [0, 0]
    after = contents(dataset)
    assert after.keys() - before.keys() == {"Alone.json", "Both.json"}
    assert after["Both.json"] == after["Alone.json"].replace(b'"Alone"', b'"Both"')
