"""Everything that the package takes from nnU-Net and PyTorch's internals is there; one test a name."""

import ast
import importlib.util
import inspect

import pytest
from architecture import PACKAGE, imported_modules

INTERNALS = ("nnunetv2", "torch._", "torch.utils._", "torch.nn.modules.")


def is_internal(module):
    return module.startswith(INTERNALS)


def taken_names():
    """Module and name of every import of an internal in the bridge."""
    for file in sorted((PACKAGE / "host").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and is_internal(node.module):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


NAMES = sorted(set(taken_names()))


@pytest.mark.parametrize("path", NAMES)
def test_name_is_there(path):
    module, name = path.rsplit(".", 1)
    # a name is an attribute, or a module that nobody has imported yet
    there = hasattr(importlib.import_module(module), name) or importlib.util.find_spec(path)
    assert there, f"{path} has vanished"


def test_names_were_found():
    assert "nnunetv2.utilities.crossval_split.generate_crossval_split" in NAMES
    assert len(NAMES) > 15


def test_internals_are_imported_in_the_bridge_alone():
    others = {
        f"{file.relative_to(PACKAGE)}: {name}"
        for file in PACKAGE.rglob("*.py")
        if file.parent.name != "host"
        for name in imported_modules(file)
        if is_internal(name)
    }
    assert others == set()


CALLED_WITH = {
    "nnunetv2.utilities.crossval_split.generate_crossval_split": {"seed", "n_splits"},
    "nnunetv2.evaluation.find_best_configuration.find_best_configuration": {
        "allow_ensembling",
        "num_processes",
        "overwrite",
        "folds",
        "strict",
    },
    "nnunetv2.imageio.reader_writer_registry.determine_reader_writer_from_dataset_json": {"verbose"},
    "nnunetv2.inference.sliding_window_prediction.compute_gaussian": {"sigma_scale", "value_scaling_factor", "device"},
    "nnunetv2.inference.predict_from_raw_data.nnUNetPredictor": {"use_mirroring", "device", "allow_tqdm"},
}


@pytest.mark.parametrize(("path", "keywords"), CALLED_WITH.items())
def test_function_takes_these_arguments(path, keywords):
    module, name = path.rsplit(".", 1)
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    assert keywords <= set(parameters)
