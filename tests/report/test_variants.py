"""Runs with other than the committed parameters: refused, or kept apart from the record."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from reuseprior import paths, plotting
from reuseprior.report import chapters, notebooks, reproduce, variants
from reuseprior.report.variants import ParameterError, Variant
from tests.report import house

PARAMETERS = """
profile: str = "quick"
largest: int = 40
rate: float = 1.0
words: str = ""
seed: int = 0
jobs: int = 1
scale: str = "cpu"
"""
GIVEN = {"profile": "quick", "largest": 40, "rate": 1.0, "words": "", "seed": 0, "jobs": 1}
GIVEN |= {"scale": "cpu"}


@pytest.fixture
def chapter(root, monkeypatch):
    """A chapter with parameters; figures go where they went before."""
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
    ({"words": "a b"}, r"05-a,words=a-b-\w{8}"),
    ({"words": "a-b"}, "05-a,words=a-b"),  # two values never have one name
    ({"words": "x" * 300}, r"05-a,words=x+-\w{8}"),
]


@pytest.mark.parametrize(("change", "name"), NAMES)
def test_names(chapter, change, name):
    given = GIVEN | change
    found = Variant(chapter, given).label
    assert re.fullmatch(name, found) and len(found) <= variants.LONGEST_NAME
    committed = found == "05-a"
    place = paths.BUILD / ("notebooks" if committed else f"variants/{found}")
    assert Variant(chapter, given).output == place / "05-a.ipynb"
    drawn = paths.FIGURES if committed else place / "figures"
    assert Variant(chapter, given).figures == drawn
    for values, folder in ((given, drawn), (GIVEN, paths.FIGURES)):
        variants.begin("05-a", values)
        assert plotting.save(plotting.Figure(), "fig-1")[0].parent == folder


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


OUT_OF_RANGE = [
    ({"largest": 3}, r"'largest' of 05-a is 3: it must be 4 to 200$"),
    ({"largest": 201}, r"'largest' of 05-a is 201: it must be"),
    ({"largest": 10**30}, r"is 1,000,000,0.*: it must be 4 to 200$"),
    ({"seed": -1}, r"'seed' of 05-a is -1: it must be 0 to 4,294,967,295$"),
    ({"seed": 2**32}, r"'seed' of 05-a is 4,294,967,296: it must be"),
    ({"jobs": 0}, r"'jobs' of 05-a is 0: it must be 1 to 1,024$"),
    ({"jobs": 1025}, r"'jobs' of 05-a is 1,025: it must be"),
    ({"scale": "gpu"}, r"'scale' of 05-a is 'gpu': choose cpu or full$"),
]


@pytest.mark.parametrize(("change", "message"), OUT_OF_RANGE)
def test_out_of_range(chapter, change, message):
    """In the notebook as in the command, before anything is done."""
    variants.begin("05-a", GIVEN | {"seed": 2**32 - 1, "largest": 200, "scale": "full"})
    with pytest.raises(ParameterError, match=message):
        variants.begin("05-a", GIVEN | change)
    texts = {name: str(value) for name, value in change.items()}
    with pytest.raises(ParameterError, match=message):
        reproduce.plan(["05-a"], profile="quick", parameters=texts)


def test_every_parameter_that_is_a_number_has_a_range():
    """And every text but the name of runs, which are looked for."""
    for chapter in chapters.found():
        for name, known in notebooks.parameters(chapter.notebook).items():
            if known.type == "bool" or name in ("profile", "recorded"):
                continue
            given = [p.parameters[name] for p in chapter.presets.values() if name in p.parameters]
            assert all(value in variants.RANGES[name] for value in (known.default, *given)), name


def test_a_notebook_of_another_checkout_reads_its_own(tmp_path):
    """Whose code it runs, too, where its kernel has the package of this one installed."""
    other, ground = tmp_path / "a b", tmp_path / "a b" / "reuseprior"
    shutil.copytree(house.REAL["NOTEBOOKS"] / "reuseprior", other / "notebooks" / "reuseprior")
    ground.mkdir()
    for file in paths.PACKAGE.glob("*.py"):
        shutil.copy(file, ground)
    code = "from reuseprior import errors, paths; print(paths.ROOT, errors.__file__, sep='\\n')"
    plain = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "REUSEPRIOR_ROOT")}
    options = {"cwd": other / "notebooks", "env": plain, "capture_output": True, "text": True}
    told = subprocess.run([sys.executable, "-c", code], **options)
    assert told.stdout.splitlines() == [str(other), str(ground / "errors.py")], told.stderr


def test_a_notebook_of_another_checkout_is_told(chapter, root, tmp_path, monkeypatch):
    """Or it would read and draw in the one that the package is installed from."""
    monkeypatch.delenv("REUSEPRIOR_ROOT", raising=False)
    other = tmp_path / "a b" / "reuseprior"
    for folder in (other / "data" / "published", other / "notebooks" / "own"):
        folder.mkdir(parents=True)
    running = GIVEN | {"get_ipython": None}
    for place in (other, other / "notebooks", other / "notebooks" / "own"):
        monkeypatch.chdir(place)
        with pytest.raises(ParameterError, match=r"lies in .*a b/reuseprior and would read and d"):
            variants.begin("05-a", running)
    for place in (tmp_path, root, paths.NOTEBOOKS):
        monkeypatch.chdir(place)
        variants.begin("05-a", running)
    monkeypatch.chdir(other)
    with monkeypatch.context() as patch:
        patch.setattr(paths, "ROOT", other)  # as with PYTHONPATH, where it is another package
        with pytest.raises(ParameterError, match="unknown chapter"):
            variants.begin("05-b", running)
    monkeypatch.setenv("REUSEPRIOR_ROOT", str(root))  # said outright
    variants.begin("05-a", running)


@pytest.mark.notebook
def test_papermill_s_wrong_parameter_ends_it_before_the_work(root, monkeypatch):
    papermill = pytest.importorskip("papermill")
    monkeypatch.setenv("REUSEPRIOR_ROOT", str(root))
    monkeypatch.setenv("PYTHONPATH", str(root))
    check = "from reuseprior.report import variants\nvariants.begin('05-a', globals())"
    path = house.notebook("05-a", PARAMETERS, check, "1 / 0")
    house.chapter("05-a")
    with pytest.raises(Exception, match="05-a has no parameter 'larges', did you mean 'largest'"):
        papermill.execute_notebook(path, root / "a.ipynb", {"larges": 12}, progress_bar=False)
