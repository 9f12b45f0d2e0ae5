"""The contract test and the bridge's tests on the lowest and the newest nnU-Net that setup.cfg allows.

    python tools/host_releases.py             (make test-hosts)
    python tools/host_releases.py 2.9.0       on these releases instead, for instance before the range is widened

A release that is not the installed one is installed into a thin environment of its own, which takes everything else
from this one. Where the two ends of the range are the installed release, nothing is left to do.
"""

import re
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from nnunet_ext.host.version import DISTRIBUTION

CHECKOUT = Path(__file__).resolve().parents[1]
TESTS = ("tests/test_contract.py", "tests/host")


def stated_range() -> Requirement:
    """The range of nnU-Net's versions in ``setup.cfg``."""
    config = ConfigParser()
    config.read(CHECKOUT / "setup.cfg")
    lines = config["options"]["install_requires"].split("\n")
    return next(need for need in map(Requirement, filter(None, lines)) if need.name == DISTRIBUTION)


def released() -> list[str]:
    """All releases that the package registry has; empty where it cannot be asked."""
    run = subprocess.run(
        [sys.executable, "-m", "pip", "index", "versions", DISTRIBUTION], capture_output=True, text=True
    )
    found = re.search(r"^Available versions: (.*)$", run.stdout, re.MULTILINE)
    return found[1].split(", ") if found else []


def ends(allowed: Requirement, releases: Sequence[str]) -> list[str]:
    """The lowest and the newest of the releases that are allowed; one where both are the same, none where none is."""
    within = sorted(allowed.specifier.filter(releases), key=Version)
    return list(dict.fromkeys([within[0], within[-1]])) if within else []


def environment_with(release: str) -> Path:
    """Python of an environment that has this release, and all else from the running one."""
    folder = Path(sys.prefix, f"{DISTRIBUTION}-{release}")
    python = folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    layout = {"base": str(folder), "platbase": str(folder)}
    site_packages = Path(sysconfig.get_path("purelib", vars=layout))
    # not its path alone: files there say where editable packages are
    line = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (site_packages / "others.pth").write_text(line)
    package = f"{DISTRIBUTION}=={release}"
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), "install", "-q", package], check=True)
    return python


def main(releases: Sequence[str]) -> int:
    """Run the tests on these releases, or on the ends of the range; returns the first exit code that is not 0."""
    installed = version(DISTRIBUTION)
    chosen = list(releases) or ends(stated_range(), released())
    if not chosen:
        print(f"No release of {DISTRIBUTION} in {stated_range()} found: only the installed {installed} is tested.")
    for release in chosen:
        if release == installed:
            print(f"{DISTRIBUTION} {release} is the installed one, which `make test` tests.")
            continue
        print(f"Testing with {DISTRIBUTION} {release}.", flush=True)
        run = subprocess.run([environment_with(release), "-m", "pytest", "-q", *TESTS], cwd=CHECKOUT)
        if run.returncode:
            return run.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
