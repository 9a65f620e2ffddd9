import ast
import json
import os
import sys

import nbformat
import papermill
import pytest

from reuseprior import paths, reproduce
from reuseprior.reproduce import RunError

PARAMETERS = """
profile: str = "quick"  # quick or full
seed = 0  # any seed=value
rate: float = 1  # an int by its value, a float by its annotation
strict = False
sizes = [32, 64]
offset = -1
device = str("cpu")
"""
REPORT = """
import os
from reuseprior import paths
[profile, seed, rate, strict, os.getcwd(), str(paths.ROOT)]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of notebooks, and a build folder beside it."""
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    paths.NOTEBOOKS.mkdir()
    return paths.NOTEBOOKS


def write(folder, name, *cells, tagged=1):
    """A notebook of code cells, the first `tagged` of them tagged `parameters`."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    for cell in notebook.cells[:tagged]:
        cell.metadata["tags"] = ["parameters"]
    nbformat.write(notebook, folder / f"{name}.ipynb")


def cells(path):
    return nbformat.read(path, as_version=4).cells


def built():
    return sorted(path.name for path in (paths.BUILD / "notebooks").iterdir())


# Before anything runs --------------------------------------------------------------------------


def test_order(folder):
    for name in ("10-late", "00-ledger", "03-early"):
        write(folder, name, "seed = 0")
    assert [job.name for job in reproduce.plan()] == ["03-early", "10-late", "00-ledger"]
    chosen = reproduce.plan(["00-ledger", "03-early", "03-early"])
    assert [job.name for job in chosen] == ["03-early", "00-ledger"]


def test_values_have_the_parameter_s_type(folder):
    write(folder, "04-counting", PARAMETERS)
    given = {"seed": "-3", "rate": "2", "strict": "true", "offset": "0"}
    (job,) = reproduce.plan(["04-counting"], profile="full", parameters=given)
    expected = {"seed": -3, "rate": 2.0, "strict": True, "offset": 0, "profile": "full"}
    assert job.parameters == expected
    assert isinstance(job.parameters["rate"], float)


REFUSED = [  # chapters, profile, parameters, message
    (["xyz"], None, {}, r"unknown chapter 'xyz': there are 03-plain, 04-counting$"),
    (["04-countign"], None, {}, "unknown chapter '04-countign': did you mean 04-counting?"),
    (["counting"], None, {}, "unknown chapter 'counting': did you mean 04-counting?"),
    (
        ["04-counting"], None, {"sed": "1"},
        "no parameter 'sed': it has profile, seed, rate, strict, sizes, offset, device$",
    ),
    ([], "full", {}, "03-plain has no parameter 'profile': it has none"),
    (["04-counting"], None, {"seed": "1.5"}, "parameter 'seed' of 04-counting is int, not '1.5'"),
    (["04-counting"], None, {"seed": "abc"}, "parameter 'seed' of 04-counting is int, not 'abc'"),
    (["04-counting"], None, {"seed": "true"}, "is int, not 'true'"),
    (["04-counting"], None, {"rate": "fast"}, "'rate' of 04-counting is float, not 'fast'"),
    (["04-counting"], None, {"strict": "1"}, r"is bool \(true or false\), not '1'"),
    (["04-counting"], None, {"sizes": "32"}, r"\(list\) cannot be set from text: only int"),
    (["04-counting"], None, {"device": "gpu"}, r"\(str\('cpu'\)\) cannot be set from text"),
    (["04-counting"], None, {"profile": "full"}, "not chosen with -p: write --profile"),
    ([], None, {"seed": "1"}, "parameter 'seed' needs exactly one chapter"),
    (["03-plain", "04-counting"], None, {"seed": "1"}, "needs exactly one chapter"),
]  # fmt: skip


@pytest.mark.parametrize(("chapters", "profile", "parameters", "message"), REFUSED)
def test_refused(folder, chapters, profile, parameters, message):
    write(folder, "03-plain", "pass")
    write(folder, "04-counting", PARAMETERS)
    with pytest.raises(RunError, match=message):
        reproduce.plan(chapters, profile=profile, parameters=parameters)


def test_refused_notebooks(folder):
    with pytest.raises(RunError, match="there are no notebooks in "):
        reproduce.plan()
    write(folder, "03-plain", "seed = 0", tagged=0)
    with pytest.raises(RunError, match="03-plain has 0 cells tagged `parameters`: tag exactly one"):
        reproduce.plan()
    write(folder, "03-plain", "seed = 0", "seed = 1", tagged=2)
    with pytest.raises(RunError, match="03-plain has 2 cells tagged"):
        reproduce.plan()
    write(folder, "03-plain", "%time seed = 0")
    with pytest.raises(RunError, match="of 03-plain is not plain Python"):
        reproduce.plan()
    (folder / "03-plain.ipynb").write_text("{")
    with pytest.raises(RunError, match=r"03-plain\.ipynb is not a notebook that can be read"):
        reproduce.plan()


def test_without_papermill(folder, monkeypatch):
    write(folder, "03-plain", "seed = 0")
    monkeypatch.setitem(sys.modules, "papermill", None)
    with pytest.raises(RunError, match=r"needs papermill: pip install 'reuseprior\[notebooks\]'"):
        reproduce.plan()


# Running ---------------------------------------------------------------------------------------


def test_run(folder, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    monkeypatch.delenv("REUSEPRIOR_ROOT", raising=False)
    write(folder, "04-counting", PARAMETERS, REPORT)
    before = (folder / "04-counting.ipynb").read_bytes()
    given = {"seed": "3", "rate": "2", "strict": "true"}
    (job,) = reproduce.plan(["04-counting"], profile="full", parameters=given)
    run = reproduce.run(job)
    assert run.failure == ""
    assert run.seconds > 0
    assert built() == ["04-counting.ipynb"]
    shown = cells(job.output)[-1].outputs[0]["data"]["text/plain"]
    expected = ["full", 3, 2.0, True, str(folder), str(paths.ROOT)]
    assert ast.literal_eval(shown) == expected
    assert (folder / "04-counting.ipynb").read_bytes() == before
    assert os.environ["PYTHONPATH"] == "somewhere"
    assert "REUSEPRIOR_ROOT" not in os.environ


FAILURES = [  # the cell that stops the notebook, how that is told
    (
        "# a check\nassert seed == 1, 'seed\\nis 0'",
        "cell In [2] (assert seed == 1, 'seed\\nis 0') raised AssertionError: seed is 0",
    ),
    ("assert seed", "cell In [2] (assert seed) raised AssertionError"),
    ("%nonsense\nseed", "cell In [2] (%nonsense) raised CellExecutionError"),
    (
        "import os; os._exit(1)",
        "DeadKernelError: Kernel died, in cell In [2] (import os; os._exit(1))",
    ),
    (
        "import sys; sys.exit()",
        "cell In [2] (import sys; sys.exit()) ended the notebook early",
    ),
]


@pytest.mark.parametrize(("source", "failure"), FAILURES)
def test_failing_notebook(folder, source, failure):
    write(folder, "04-broken", "seed = 0", source, "'never'")
    (job,) = reproduce.plan()
    assert reproduce.run(job).failure == failure
    assert built() == ["04-broken.ipynb"]
    kept = cells(job.output)
    assert "seed = 0" in [c.source for c in kept]
    assert kept[-1].outputs == []


def test_failure_before_the_first_cell(folder, monkeypatch):
    write(folder, "04-broken", "seed = 0")
    (job,) = reproduce.plan()

    def no_kernel(*args, **kwargs):
        raise LookupError("No such kernel named python3")

    monkeypatch.setattr(papermill, "execute_notebook", no_kernel)
    assert reproduce.run(job).failure == "LookupError: No such kernel named python3"


def test_interruption_keeps_the_last_copy(folder, monkeypatch):
    write(folder, "04-counting", "seed = 0")
    (job,) = reproduce.plan()
    job.output.parent.mkdir(parents=True)
    job.output.write_text("a whole run")

    def interrupted(notebook, output, *args, **kwargs):
        output.write_text(json.dumps({"cells": []}))
        raise KeyboardInterrupt

    monkeypatch.setattr(papermill, "execute_notebook", interrupted)
    with pytest.raises(KeyboardInterrupt):
        reproduce.run(job)
    assert built() == ["04-counting.ipynb"]
    assert job.output.read_text() == "a whole run"
