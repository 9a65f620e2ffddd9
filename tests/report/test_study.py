"""The notebook with which a study of one's own models begins."""

import nbformat
import pytest

from reuseprior.report import notebooks, study
from reuseprior.report.notebooks import NotebookError


@pytest.mark.notebook
def test_it_is_a_notebook_as_all_are_and_runs_as_it_is(tmp_path):
    papermill = pytest.importorskip("papermill")
    path, done = tmp_path / "my-models.ipynb", tmp_path / "done.ipynb"
    study.write(path)
    made = nbformat.read(path, as_version=4)
    nbformat.validate(made)
    assert made.cells[0].source.startswith("# My models\n")
    for cell in made.cells:
        assert cell.source.count("\n") < notebooks.LONGEST_CELL and "{title}" not in cell.source
    options = {"progress_bar": False, "extra_arguments": ["--log-level=ERROR"]}
    made = papermill.execute_notebook(path, done, cwd=tmp_path, **options)
    shown = [kind for c in made.cells for o in c.get("outputs", ()) for kind in o.data]
    assert (shown.count("image/png"), shown.count("text/html")) == (4, 3)
    assert {*tmp_path.iterdir()} == {path, done}


def test_refused(tmp_path):
    (tmp_path / "there.ipynb").write_text("mine")
    for name, message in (
        ("there.ipynb", "there.ipynb is there already: choose another name"),
        ("a.py", "a.py is no name of a notebook: end it in .ipynb"),
        ("none/a.ipynb", "there is no folder .*none for a.ipynb: make it first"),
    ):
        with pytest.raises(NotebookError, match=message):
            study.write(tmp_path / name)
    assert (tmp_path / "there.ipynb").read_text() == "mine"
