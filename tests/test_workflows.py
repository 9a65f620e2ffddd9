"""GitHub's workflows are well-formed, and run what a person runs by hand."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from reuseprior import paths

WORKFLOWS = sorted((paths.ROOT / ".github" / "workflows").glob("*.yml"))


def installed(command: str) -> str:
    """A command beside this interpreter or on the path; the test is skipped without it."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which(command, path=os.pathsep.join([beside, os.environ["PATH"]]))
    return found or pytest.skip(f"{command} is not installed")


def schema_errors(*files: Path) -> str:
    check = [installed("check-jsonschema"), "--builtin-schema", "vendor.github-workflows"]
    found = subprocess.run([*check, *files], capture_output=True, text=True)
    return found.stdout if found.returncode else ""


def actionlint(*files: Path) -> str:
    # without the shell checkers that a machine may have
    options = ["-no-color", "-shellcheck=", "-pyflakes="]
    command = [installed("actionlint"), *options, *files]  # its wheel is built from a download
    return subprocess.run(command, capture_output=True, text=True).stdout


@pytest.mark.parametrize("lint", [schema_errors, actionlint])
def test_linters_have_nothing_to_say(lint):
    assert [path.stem for path in WORKFLOWS] == ["book", "soak", "test"]
    assert lint(*WORKFLOWS) == ""


def test_workflows_run_targets_that_exist():
    makefile = (paths.ROOT / "Makefile").read_text()
    commands = []
    for path in WORKFLOWS:
        jobs = yaml.safe_load(path.read_text())["jobs"].values()
        commands += [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    targets = re.findall(r"^make (\w+)$", "\n".join(commands), re.M)
    assert set(targets) == {"check", "book", "soak"}
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in targets)
    assert "bash .ci/run" in commands and (paths.ROOT / ".ci" / "run").is_file()
