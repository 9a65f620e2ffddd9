"""Runs with other than the committed parameters: refused, or kept apart from the record."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from reuseprior import paths, plotting
from reuseprior.press import chapters, variants
from reuseprior.press.variants import ParameterError
from tests.press import house

PARAMETERS = """
profile: str = "quick"
largest: int = 40
rate: float = 1.0
words: str = ""
"""
GIVEN = {"profile": "quick", "largest": 40, "rate": 1.0, "words": ""}


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """A chapter with four parameters; figures go where they went before."""
    house.build(tmp_path, monkeypatch)
    cell = nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), paths.NOTEBOOKS / "05-a.ipynb")
    house.chapter("05-a", full="minutes = 9\nparameters = {largest = 80}")
    monkeypatch.setattr(plotting, "_folder", None)
    return chapters.found()[0]


NAMES = [  # what differs from the committed values, the run's name
    ({}, "05-a"),
    ({"largest": 12}, "05-a,largest=12"),
    ({"rate": 1}, "05-a"),  # the same number
    ({"rate": 1e-5, "largest": 12}, "05-a,largest=12,rate=1e-05"),
    ({"profile": "full"}, "05-a,profile=full,largest=40"),
    ({"profile": "full", "largest": 80}, "05-a,profile=full"),
    ({"words": "../a b"}, r"05-a,words=..-a-b-\w{8}"),
    ({"words": "x" * 300}, r"05-a,words=x+-\w{8}"),
]


@pytest.mark.parametrize(("change", "name"), NAMES)
def test_names(chapter, change, name):
    given = GIVEN | change
    found = variants.name_of(chapter, given)
    assert re.fullmatch(name, found) and len(found) <= variants.LONGEST_NAME
    committed = found == "05-a"
    place = paths.BUILD / ("notebooks" if committed else f"variants/{found}")
    assert variants.copy(chapter, given) == place / "05-a.ipynb"
    drawn = paths.FIGURES if committed else place / "figures"
    assert variants.figures(chapter, given) == drawn
    variants.begin("05-a", given)
    assert plotting.save(plotting.Figure(), "fig-1")[0].parent == drawn


def test_two_values_never_have_one_name(chapter):
    names = {variants.name_of(chapter, GIVEN | {"words": w}) for w in ("a b", "a-b", "a/b", "a")}
    assert len(names) == 4


def test_figures_go_back_with_the_committed_values(chapter):
    variants.begin("05-a", GIVEN | {"largest": 12})
    variants.begin("05-a", GIVEN)
    assert plotting.save(plotting.Figure(), "fig-1")[0].parent == paths.FIGURES


REFUSED = [  # names of the notebook, message
    ({"In": ["", "x = 1", "# Parameters\nlarges = 12\n"]}, "no parameter 'larges', did you mean"),
    ({"In": ["", "# Parameters\nlargest = 12\nx = 1\n"]}, "no parameter 'x': it has profile, la"),
    ({"largest": "12"}, "'largest' of 05-a is int, not '12'"),
    ({"largest": True}, "'largest' of 05-a is int, not True"),
    ({"rate": "1e-3"}, "'rate' of 05-a is float, not '1e-3'"),
    ({"profile": "slow"}, "there is no profile 'slow': quick and full are"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_refused(chapter, change, message):
    with pytest.raises(ParameterError, match=message):
        variants.begin("05-a", GIVEN | change)


def test_unknown_chapter(chapter):
    with pytest.raises(ParameterError, match=r"unknown chapter '05-b', did you mean '05-a'\?"):
        variants.begin("05-b", GIVEN)


# Plain papermill -------------------------------------------------------------------------------


@pytest.fixture
def papermill(tmp_path, monkeypatch):
    """Runs a committed notebook as a reader would who knows nothing of this project's commands."""
    pytest.importorskip("papermill")
    root = house.checkout(tmp_path)
    monkeypatch.setenv("REUSEPRIOR_ROOT", str(root))
    monkeypatch.setenv("PYTHONPATH", str(paths.PACKAGE.parent))

    def run(*parameters):
        copy = str(root.with_suffix(".ipynb"))
        notebook = str(Path("notebooks", "05-energy-priors.ipynb"))
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", notebook, copy]
        return subprocess.run(
            [*command, *parameters], cwd=root, capture_output=True, text=True, check=False
        )

    return root, run


@pytest.mark.notebook
def test_a_wrong_parameter_ends_it_before_the_work(papermill):
    root, run = papermill
    ended = run("-p", "larges", "12")
    cells = nbformat.read(root.with_suffix(".ipynb"), as_version=4).cells
    ran = [cell.execution_count for cell in cells if cell.get("execution_count")]
    assert ended.returncode == 1 and ran == [1, 2, 3]  # the values, the given ones, the check
    assert "05-energy-priors has no parameter 'larges', did you mean 'largest'?" in ended.stderr
    assert house.git(root, "status", "--short") == ""


@pytest.mark.soak
def test_another_value_leaves_the_record_as_it_is(papermill):
    root, run = papermill
    assert run("-p", "largest", "12").returncode == 0
    assert house.git(root, "status", "--short") == ""
    drawn = root / "build" / "variants" / "05-energy-priors,largest=12" / "figures"
    name = "fig-5-1-expected-spread.svg"
    assert (drawn / name).read_bytes() != (root / "figures" / name).read_bytes()
