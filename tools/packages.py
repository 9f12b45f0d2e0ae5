"""Checks that the packages in dist/ are complete: python -m build && python tools/packages.py (make packages).

The source distribution must hold every file of the checkout, the wheel every file of the package, and both the commit.
"""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
COMMIT = "nnunet_ext/commit.txt"


def missing_files(tracked: set[str], source: set[str], wheel: set[str]) -> list[str]:
    """What packages lack, a line each.

    Args:
        tracked: Files of the checkout.
        source: Files of the source distribution.
        wheel: Files of the wheel.
    """
    of_package = {name for name in tracked if name.startswith("nnunet_ext/")} | {COMMIT}
    return [
        *(f"source distribution: {name}" for name in sorted(tracked | {COMMIT}) if name not in source),
        *(f"wheel: {name}" for name in sorted(of_package) if name not in wheel),
    ]


def main() -> None:
    """Check the one source distribution and the one wheel in dist/; exit code 1 where something lacks."""
    tracked = set(subprocess.check_output(["git", "ls-files"], cwd=CHECKOUT, text=True).splitlines())
    (archive,), (wheel,) = (list((CHECKOUT / "dist").glob(f"*{ending}")) for ending in (".tar.gz", ".whl"))
    with tarfile.open(archive) as opened:
        source = {name.partition("/")[2] for name in opened.getnames()}
    with zipfile.ZipFile(wheel) as opened:
        missing = missing_files(tracked, source, set(opened.namelist()))
    print("\n".join(missing) or f"{archive.name} and {wheel.name} are complete")
    sys.exit(bool(missing))


if __name__ == "__main__":
    main()
