"""Runs with other than the committed parameters: refused, or kept apart from the record."""

import re
import subprocess
import sys

import nbformat
import pytest

from reuseprior import paths, plotting
from reuseprior.report import chapters, variants
from reuseprior.report.variants import ParameterError
from tests.report import house

PARAMETERS = """
profile: str = "quick"
largest: int = 40
rate: float = 1.0
words: str = ""
"""
GIVEN = {"profile": "quick", "largest": 40, "rate": 1.0, "words": ""}


@pytest.fixture
def chapter(root, monkeypatch):
    """A chapter with four parameters; figures go where they went before."""
    house.notebook("05-a", PARAMETERS)
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
    for values, folder in ((given, drawn), (GIVEN, paths.FIGURES)):
        variants.begin("05-a", values)
        assert plotting.save(plotting.Figure(), "fig-1")[0].parent == folder


def test_two_values_never_have_one_name(chapter):
    names = {variants.name_of(chapter, GIVEN | {"words": w}) for w in ("a b", "a-b", "a/b", "a")}
    assert len(names) == 4


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
    with pytest.raises(ParameterError, match=r"unknown chapter '05-b', did you mean '05-a'\?"):
        variants.begin("05-b", GIVEN)


@pytest.fixture
def papermill(tmp_path, monkeypatch):
    """Runs a committed notebook as a reader would who knows nothing of this project's commands."""
    pytest.importorskip("papermill")
    root = house.checkout(tmp_path)
    monkeypatch.setenv("REUSEPRIOR_ROOT", str(root))
    monkeypatch.setenv("PYTHONPATH", str(paths.PACKAGE.parent))

    def run(*parameters):
        files = ["notebooks/05-energy-priors.ipynb", root.with_suffix(".ipynb")]
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", *files, *parameters]
        return subprocess.run(command, cwd=root, capture_output=True, text=True)

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
