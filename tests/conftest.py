"""What several end-to-end tests start from."""

import shutil

import pytest
from workspace import Workspace

PHANTOM = "Dataset999_Phantom"


def pytest_collection_modifyitems(items):
    """The files that take minutes first: of two processes that share the files, none then ends long after the other."""
    slow = ("end_to_end", "real_data")
    items.sort(key=lambda item: not any(item.get_closest_marker(name) for name in slow))


@pytest.fixture(scope="session")
def preprocessed_phantom(tmp_path_factory) -> Workspace:
    """The phantom, planned and preprocessed once: five training cases, three test cases, the last without rim."""
    from nnunet_ext.datasets.phantom import write_phantom_dataset

    workspace = Workspace(tmp_path_factory.mktemp("phantom"))
    write_phantom_dataset(workspace.folder("raw") / PHANTOM, num_cases=5, shape=(24, 28, 24), num_test_cases=3)
    workspace.run("nnUNetv2_plan_and_preprocess", "-d", 999, "-c", "3d_fullres", "-np", 1, "-npfp", 1)
    return workspace


@pytest.fixture(scope="module")
def workspace_with_phantom(preprocessed_phantom, tmp_path_factory) -> Workspace:
    """A copy of it for one test module to train in."""
    workspace = Workspace(tmp_path_factory.mktemp("nnunet"))
    for name in ("raw", "preprocessed"):
        shutil.copytree(preprocessed_phantom.folder(name), workspace.folder(name), dirs_exist_ok=True)
    return workspace
