"""Notebooks as a reader meets them; nbval compares their outputs cell by cell besides."""

import json
import re
from pathlib import Path

import pytest

from reuseprior import paths, reproduce

NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("*.ipynb"))
LONGEST_CELL = 15  # lines; longer work belongs in the package, where it gets a test


def cells_of(path: Path, kind: str) -> list[dict]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [c for c in cells if c["cell_type"] == kind]


def tags_of(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_the_chapters_are_there():
    assert {"00-ledger", "04-counting-contexts"} <= {path.stem for path in NOTEBOOKS}


@each
def test_opens_with_prose_that_says_how_long_it_takes(path):
    first = json.loads(path.read_text(encoding="utf-8"))["cells"][0]
    assert first["cell_type"] == "markdown"
    assert re.search(r"\d+ (seconds|minutes)", "".join(first["source"]))


@each
def test_one_cell_of_typed_and_commented_parameters(path):
    (parameters,) = [c for c in cells_of(path, "code") if "parameters" in tags_of(c)]
    for line in parameters["source"]:
        assert re.fullmatch(r"\w+: (int|float|bool|str) = .+  # .+\n?", line), line


@each
def test_saved_from_one_clean_run(path):
    cells = cells_of(path, "code")
    assert [c["execution_count"] for c in cells] == list(range(1, len(cells) + 1))
    kinds = {o["output_type"] for c in cells for o in c["outputs"]}
    assert "error" not in kinds
    errors = [o for c in cells for o in c["outputs"] if o.get("name") == "stderr"]
    assert not errors, "a warning was saved with the notebook"


@each
def test_headline_cells_are_compared(path):
    checked = [c for c in cells_of(path, "code") if "nbval-check-output" in tags_of(c)]
    assert checked and all(c["outputs"] for c in checked)


@each
def test_stable_metadata(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert notebook["metadata"]["language_info"] == {"name": "python"}
    assert all(set(c["metadata"]) <= {"tags"} for c in notebook["cells"])


@each
def test_cells_are_short_and_free_of_magics_and_paths(path):
    for cell in cells_of(path, "code"):
        source = "".join(cell["source"])
        assert source.count("\n") < LONGEST_CELL, source
        assert not re.search(r"^\s*[%!]", source, re.M), "a kernel may skip the rest of the cell"
        shown = source + json.dumps(cell["outputs"])
        for place in (str(paths.ROOT), str(Path.home()) + "/"):
            assert place not in shown


@pytest.mark.notebook
@each
def test_runs_through_papermill(path, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "BUILD", tmp_path)
    (job,) = reproduce.plan([path.stem], profile="quick")
    assert reproduce.run(job).failure == ""
    executed = [c for c in cells_of(job.output, "code") if "".join(c["source"]).strip()]
    assert all(c["execution_count"] for c in executed)
    injected = [c for c in executed if "injected-parameters" in tags_of(c)]
    assert "profile" in "".join(injected[0]["source"])
