"""The page about the rooms is true, imports point one way, and the networks stay free of nnU-Net."""

import sys

import architecture
import pytest
from architecture import PACKAGE, PAGE, files_of_rooms, imported_modules, rendered, replaced

# what a network, a loss or a count may know beside the standard library
TORCH_LEVEL = {"torch", "numpy", "dynamic_network_architectures"}

# the one file of another room that they may import, which knows nothing but torch
TORCH_INTERNALS = "nnunet_ext.host.torch_internals"


def test_page_shows_the_imports_that_the_code_has():
    page = PAGE.read_text()
    assert page == replaced(page, rendered(PACKAGE)), "Run: python tools/architecture.py"


@pytest.mark.parametrize("room", ["architectures", "losses", "counting"])
def test_networks_losses_and_counts_know_torch_alone(room):
    names = {name.split(".")[0] for file in files_of_rooms(PACKAGE)[room] for name in imported_modules(file)}
    rooms = {
        name.split(".")[1]
        for file in files_of_rooms(PACKAGE)[room]
        for name in imported_modules(file)
        if name.startswith("nnunet_ext.") and not name.startswith(TORCH_INTERNALS)
    }
    assert names <= {*sys.stdlib_module_names, *TORCH_LEVEL, "nnunet_ext"}
    assert rooms <= {"losses": {"losses", "architectures"}, "architectures": {"architectures", "counting"}}.get(
        room, {room}
    )


def test_file_of_torch_internals_knows_torch_alone():
    names = set(imported_modules(PACKAGE / "host" / "torch_internals.py"))
    assert {name.split(".")[0] for name in names} == {"torch"}


def write_package(folder, **files):
    package = folder / "nnunet_ext"
    for path, text in files.items():
        file = package.joinpath(*path.split("__")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return package


def test_imports_are_found_wherever_they_stand(tmp_path):
    package = write_package(
        tmp_path,
        top__a="from nnunet_ext.middle.b import f\ndef g():\n    from nnunet_ext import ground\n",
        middle__b="import nnunet_ext.ground as x\nimport numpy\n",
        ground="",
    )
    imports = architecture.imports_of_rooms(package)
    assert imports == {"top": {"middle", "ground"}, "middle": {"ground"}, "ground": set()}
    assert architecture.floors(imports) == {"top": 2, "middle": 1, "ground": 0}
    assert architecture.without_detours(imports) == {"top": {"middle"}, "middle": {"ground"}, "ground": set()}


def test_a_circle_of_rooms_is_an_error_that_names_it():
    with pytest.raises(ValueError, match=r"circle of imports: a, b, c$"):
        architecture.floors({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()})
