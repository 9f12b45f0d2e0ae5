"""What the check of packages takes for complete, and the continuous integration's file."""

import re
import runpy
import subprocess
from pathlib import Path

import pytest
import setuptools
import yaml
from packages import COMMIT, missing_files

CHECKOUT = Path(__file__).parents[1]
FILES = {"README.md", "nnunet_ext/py.typed", "tests/test_packages.py"}


@pytest.mark.parametrize(
    ("from_source", "from_wheel", "missing"),
    [
        (set(), {"README.md", "tests/test_packages.py"}, []),
        ({"tests/test_packages.py"}, {"tests/test_packages.py"}, ["source distribution: tests/test_packages.py"]),
        (set(), {"nnunet_ext/py.typed"}, ["wheel: nnunet_ext/py.typed"]),
        ({COMMIT}, {COMMIT}, [f"source distribution: {COMMIT}", f"wheel: {COMMIT}"]),
    ],
)
def test_what_lacks_is_named(from_source, from_wheel, missing):
    everything = FILES | {COMMIT}
    assert missing_files(FILES, everything - from_source, everything - from_wheel) == missing


def test_integration_runs_what_the_makefile_has():
    jobs = yaml.safe_load((CHECKOUT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    targets = {line.partition(":")[0] for line in (CHECKOUT / "Makefile").read_text().splitlines() if ":" in line}
    used = {command.split()[1] for command in commands if command.startswith("make ")}
    assert used <= targets
    assert used >= {"lint", "test", "test-hosts", "docs", "packages"}


def test_recipe_needs_what_setup_cfg_needs():
    from configparser import ConfigParser

    from packaging.requirements import Requirement

    config = ConfigParser()
    config.read(CHECKOUT / "setup.cfg")
    needs = {
        need.name.lower().replace("_", "-"): need.specifier
        for need in map(Requirement, filter(None, config["options"]["install_requires"].splitlines()))
    }
    other_names = {"pytorch": "torch", "matplotlib-base": "matplotlib"}
    lines = (CHECKOUT / "conda" / "meta.yaml").read_text().partition("  run:\n")[2].partition("\n\n")[0].splitlines()
    recipe = {
        other_names.get(need.name, need.name): need.specifier
        for need in (Requirement(line.strip().removeprefix("- ").replace(" ", "")) for line in lines)
    }
    assert recipe.pop("python") == config["options"]["python_requires"]
    assert recipe == needs


def test_page_of_the_package_index_has_no_link_to_a_file(monkeypatch):
    given = {}
    monkeypatch.setattr(setuptools, "setup", lambda **arguments: given.update(arguments))
    runpy.run_path(str(CHECKOUT / "setup.py"))
    page = given["long_description"]
    readme = (CHECKOUT / "README.md").read_text()
    assert "[what was measured, and where a method did not help](docs/results.md)" in readme
    assert "compare: what was measured, and where a method did not help." in page
    assert "](" not in re.sub(r"\]\(https?://", "", page)
    assert "images/demo.png" not in page
    assert page.count("```bash") == readme.count("```bash")


def test_source_distribution_has_every_folder():
    manifest = (CHECKOUT / "MANIFEST.in").read_text().split()
    tracked = subprocess.check_output(["git", "ls-files"], cwd=CHECKOUT, text=True).splitlines()
    assert {name.split("/")[0] for name in tracked if "/" in name} <= set(manifest)
