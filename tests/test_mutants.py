"""The list of planted faults fits the code, and a fault that no test notices is told."""

from pathlib import Path

import pytest
from fault_list import FAULTS, Fault
from mutants import CHECKOUT, MutantError, plant, survives


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_can_be_planted_and_its_test_is_there(fault):
    file, *names = fault.test.split("::")
    assert (CHECKOUT / fault.file).read_text().count(fault.old) == 1
    assert all(f"def {name}(" in (CHECKOUT / file).read_text() for name in names)


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "number.txt").write_text("1")
    test = "from pathlib import Path\n\ndef test_positive():\n    assert int(Path('number.txt').read_text()) > 0\n"
    (tmp_path / "test_number.py").write_text(test)
    return tmp_path


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(("new", "survived"), [("2", True), ("-1", False)])
def test_fault_survives_when_its_test_passes(new, survived, checkout):
    fault = Fault("number", "number.txt", "1", new, "test_number.py::test_positive")
    assert survives(fault, checkout) is survived
    assert (checkout / "number.txt").read_text() == "1"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_test_that_is_not_there_is_no_test_that_fails(checkout):
    with pytest.raises(MutantError, match="pytest ended with 4"):
        survives(Fault("number", "number.txt", "1", "2", "test_number.py::test_gone"), checkout)


def test_text_that_is_no_longer_found_is_an_error(checkout):
    with pytest.raises(MutantError, match=r"0 places in number\.txt read '3'"):
        plant(Fault("number", "number.txt", "3", "2", "test_number.py"), checkout)
    assert Path(checkout, "number.txt").read_text() == "1"
