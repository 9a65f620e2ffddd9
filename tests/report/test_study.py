"""The notebook with which a study of one's own models begins."""

import nbformat
import pytest

from reuseprior.report import notebooks, study
from reuseprior.report.notebooks import NotebookError


def test_it_is_a_notebook_as_all_are(tmp_path):
    study.write(tmp_path / "my-models.ipynb")
    made = nbformat.read(tmp_path / "my-models.ipynb", as_version=4)
    nbformat.validate(made)
    assert made.cells[0].source.startswith("# My models\n")
    for cell in made.cells:
        assert cell.source.count("\n") < notebooks.LONGEST_CELL and "{title}" not in cell.source


@pytest.mark.notebook
def test_it_runs_as_it_is(tmp_path):
    papermill = pytest.importorskip("papermill")
    study.write(tmp_path / "my-models.ipynb")
    made = papermill.execute_notebook(
        tmp_path / "my-models.ipynb", tmp_path / "done.ipynb", cwd=tmp_path, progress_bar=False,
        extra_arguments=["--log-level=ERROR"],
    )  # fmt: skip
    shown = [o.data for c in made.cells if c.cell_type == "code" for o in c.outputs]
    assert sum("image/png" in data for data in shown) == 4
    assert sum("text/html" in data for data in shown) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"done.ipynb", "my-models.ipynb"}


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
