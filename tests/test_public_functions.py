"""What ``import nnunet_ext`` gives, and that it takes no time."""

import subprocess
import sys

import pytest

import nnunet_ext
from nnunet_ext.evaluation.evaluate import evaluate_folders
from nnunet_ext.missing_modalities.complete import complete_folder
from nnunet_ext.missing_modalities.subset_scores import score_subsets
from nnunet_ext.trained.loaded_model import PredictionChoices


def test_functions_are_those_of_the_commands():
    assert nnunet_ext.evaluate is evaluate_folders
    assert nnunet_ext.complete is complete_folder
    assert nnunet_ext.subsets is score_subsets
    assert nnunet_ext.PredictionChoices is PredictionChoices
    assert all(hasattr(nnunet_ext, name) for name in nnunet_ext.__all__)


def test_other_names_are_errors():
    with pytest.raises(AttributeError, match="module 'nnunet_ext' has no attribute 'segment'"):
        _ = nnunet_ext.segment


def test_import_loads_nothing_but_the_package():
    code = "import sys; before = set(sys.modules); import nnunet_ext; print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "nnunet_ext" in loaded
    assert not [name for name in loaded if name.split(".")[0] not in {"nnunet_ext", *sys.stdlib_module_names}]
