"""Plants one fault after another into a copy of the checkout and runs the test that must notice it.

    python tools/mutants.py            all faults of fault_list.py
    python tools/mutants.py bifpn      those whose file or name has this in it

A fault that its test does not notice survives: then the test claims more than it checks. Exit code 0 when none does.
PyTorch and nnU-Net are imported once; each run of pytest is a fork of this process.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fault_list import FAULTS, Fault

CHECKOUT = Path(__file__).resolve().parents[1]
COPIED = ("nnunet_ext", "tests", "tools", "docs", "pyproject.toml", "setup.cfg", "README.md", "CHANGELOG.md")


class MutantError(RuntimeError):
    """The list does not fit the code, or the tests cannot tell."""


def plant(fault: Fault, checkout: Path) -> None:
    """Put the fault into the checkout's file.

    Raises:
        MutantError: The text that it replaces is not there exactly once.
    """
    file = checkout / fault.file
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    found = text.count(fault.old)
    if found != 1:
        raise MutantError(f"{found} places in {fault.file} read {fault.old!r}; it must be one.")
    file.write_text(text.replace(fault.old, fault.new), encoding="utf-8")


def tests_pass(tests: Sequence[str], checkout: Path) -> bool:
    """Whether these tests pass in this checkout.

    Raises:
        MutantError: pytest did not come to a verdict: there is no such test, or it cannot be collected.
    """
    log = checkout / "pytest.log"
    child = os.fork()
    if child == 0:
        code = 3
        try:
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.chdir(checkout)
            os.environ["PYTHONPATH"] = str(checkout)
            sys.path.insert(0, str(checkout))
            import pytest

            code = int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *tests]))
        finally:
            sys.stdout.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, 1):
        raise MutantError(f"pytest ended with {code}: {' '.join(tests)}\n{log.read_text()[-2000:]}")
    return code == 0


def survives(fault: Fault, checkout: Path) -> bool:
    """Whether the fault's test passes with it; the checkout is left as it was.

    Raises:
        MutantError: As ``plant`` and ``tests_pass``.
    """
    file = checkout / fault.file
    sound = file.read_bytes() if file.is_file() else None
    try:
        plant(fault, checkout)
        return tests_pass([fault.test], checkout)
    finally:
        if sound is not None:
            file.write_bytes(sound)


def copy_checkout(folder: Path) -> None:
    """Copy what tests need."""
    for name in COPIED:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)


def main(words: Sequence[str]) -> int:
    """Try the faults that have one of the words; print what becomes of each, and return the exit code."""
    faults = [fault for fault in FAULTS if not words or any(word in f"{fault.file} {fault.name}" for word in words)]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        copy_checkout(copy)
        try:
            sound = tests_pass(sorted({fault.test for fault in faults}), copy)
        except MutantError as error:
            print(error)
            return 1
        if not sound:
            print(f"Tests fail without any fault; mend them first.\n{(copy / 'pytest.log').read_text()[-3000:]}")
            return 1
        for fault in faults:
            try:
                outcome = "SURVIVES" if survives(fault, copy) else "found"
            except MutantError as error:
                outcome = f"ERROR: {error}\n "
            failed += outcome != "found"
            print(f"{outcome:9} {fault.name}   ({fault.file})", flush=True)
    print(f"{len(faults)} faults, {failed} that their tests do not find.")
    return int(failed > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    arguments = parser.parse_args()
    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    # inherited by every fork; nothing of this package, which each fork imports from the copy
    import nnunetv2.inference.predict_from_raw_data
    import nnunetv2.training.nnUNetTrainer.nnUNetTrainer  # noqa: F401

    sys.exit(main(arguments.words))
