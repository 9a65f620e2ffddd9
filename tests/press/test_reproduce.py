"""The batch: what is refused, what runs and why, and what is left of a run that failed."""

import ast
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
import venv

import nbformat
import papermill
import psutil
import pytest

from reuseprior import paths
from reuseprior.errors import UserError
from reuseprior.press import notebooks, reproduce
from reuseprior.press.reproduce import RunError
from tests.conftest import PATIENCE
from tests.press import house

PARAMETERS = """
profile: str = "quick"  # quick or full
seed = 0  # any seed=value
rate: float = 1.0  # a float
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
PROFILE = "profile = 'quick'"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The empty notebooks folder of a repository of its own, with the real Snakefile."""
    house.build(tmp_path, monkeypatch)
    return paths.NOTEBOOKS


def write(folder, name, *cells, tagged=1, kernel="python3", **given):
    """A chapter of code cells, the first `tagged` of them tagged `parameters`."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    notebook.metadata["kernelspec"] = {"name": kernel, "display_name": kernel}
    for cell in notebook.cells[:tagged]:
        cell.metadata["tags"] = ["parameters"]
    nbformat.write(notebook, folder / f"{name}.ipynb")
    if name != "index":  # the landing page is no chapter
        house.chapter(name, last=name == LAST, **given)


LAST = "00-ledger"


def cells(path):
    return nbformat.read(path, as_version=4).cells


def built(kind="notebooks"):
    return sorted(path.name for path in (paths.BUILD / kind).iterdir())


def outcomes(jobs, **options):
    return {run.job.name: run.failure for run in reproduce.batch(jobs, **options)}


# Before anything runs --------------------------------------------------------------------------


def test_order(folder):
    for name in ("10-late", "00-ledger", "03-early", "index"):
        write(folder, name, PROFILE)
    assert [job.name for job in reproduce.plan()] == ["03-early", "10-late", "00-ledger"]
    chosen = reproduce.plan(["03-early", "03-early"])
    assert [job.name for job in chosen] == ["03-early", "00-ledger"]


def test_values_have_the_parameter_s_type(folder):
    write(folder, "04-counting", PARAMETERS)
    given = {"seed": "-3", "rate": "2", "strict": "true", "offset": "010"}
    (job,) = reproduce.plan(["04-counting"], profile="full", parameters=given)
    expected = {"seed": -3, "rate": 2.0, "strict": True, "offset": 10, "profile": "full"}
    assert job.parameters == expected
    assert isinstance(job.parameters["rate"], float)


def test_a_preset_goes_before_the_notebook_and_after_the_command(folder):
    write(folder, "00-ledger", PROFILE)
    write(folder, "04-counting", PARAMETERS)
    house.chapter("04-counting", full="minutes = 30\nparameters = {seed = 7, rate = 1e-3}")
    job, ledger = reproduce.plan(["04-counting"], profile="full", parameters={"seed": "8"})
    assert job.parameters == {"profile": "full", "seed": 8, "rate": 0.001}
    assert job.minutes == 30
    assert ledger.parameters == {"profile": "full"}
    assert reproduce.Job.ordered(job.order) == job
    quick, _ = reproduce.plan()
    assert quick.parameters == {"profile": "quick"}


def test_what_a_profile_needs(folder):
    write(folder, "04-counting", PROFILE)
    needs = 'minutes = 2880\nparameters = {}\ndata = ["mnist", "cifar10"]\ndevice = "a GPU"'
    house.chapter("04-counting", full=needs)
    (quick,), (full,) = reproduce.plan(), reproduce.plan(profile="full")
    assert quick.needs == "about 1 min on two cores"
    assert full.needs == "about 2 days on a GPU, with mnist and cifar10"


REFUSED = [  # chapters, profile, parameters, message
    (["xyz"], "quick", {}, r"unknown chapter 'xyz': there are 03-plain, 04-counting$"),
    (["04-countign"], "quick", {}, "unknown chapter '04-countign', did you mean '04-counting'?"),
    (["counting"], "quick", {}, "unknown chapter 'counting', did you mean '04-counting'?"),
    (
        ["04-counting"], "quick", {"x": "1"},
        "no parameter 'x': it has profile, seed, rate, strict, sizes, offset, device$",
    ),
    (["04-counting"], "quick", {"sed": "1"}, "no parameter 'sed', did you mean 'seed'?"),
    ([], "full", {}, "03-plain has no parameter 'profile': it has none"),
    ([], "slow", {}, "there is no profile 'slow': quick and full are"),
    (["04-counting"], "quick", {"seed": "1.5"}, "'seed' of 04-counting is int, not '1.5'"),
    (["04-counting"], "quick", {"seed": "abc"}, "'seed' of 04-counting is int, not 'abc'"),
    (["04-counting"], "quick", {"seed": "true"}, "is int, not 'true'"),
    (["04-counting"], "quick", {"rate": "fast"}, "'rate' of 04-counting is float, not 'fast'"),
    (["04-counting"], "quick", {"strict": "1"}, r"is bool \(true or false\), not '1'"),
    (["04-counting"], "quick", {"strict": "no"}, r"is bool \(true or false\), not 'no'"),
    (["04-counting"], "quick", {"sizes": "32"}, r"\(list\) cannot be set from text: only int"),
    (["04-counting"], "quick", {"device": "gpu"}, r"\(str\('cpu'\)\) cannot be set from text"),
    (["04-counting"], "quick", {"profile": "full"}, "not chosen with -p: write --profile"),
    ([], "quick", {"seed": "1"}, "parameter 'seed' needs exactly one chapter"),
    (["03-plain", "04-counting"], "quick", {"seed": "1"}, "needs exactly one chapter"),
]  # fmt: skip


@pytest.mark.parametrize(("chapters", "profile", "parameters", "message"), REFUSED)
def test_refused(folder, chapters, profile, parameters, message):
    write(folder, "03-plain", "pass")
    write(folder, "04-counting", PARAMETERS)
    with pytest.raises(UserError, match=message):
        reproduce.plan(chapters, profile=profile, parameters=parameters)


REFUSED_PRESETS = [  # what a preset says, message
    ("{rate = '1e-3'}", r"is float, but .*chapter.toml gives '1e-3' \(str\): write it as 1.0e-3"),
    ("{rate = 1}", r"is float, but .*chapter.toml gives 1 \(int\): write"),
    ("{seed = false}", r"'seed' of 04-counting is int, .* False \(bool\)$"),
    ("{sed = 1}", "has no parameter 'sed', did you mean 'seed'?"),
]


@pytest.mark.parametrize(("parameters", "message"), REFUSED_PRESETS)
def test_refused_presets(folder, parameters, message):
    write(folder, "04-counting", PARAMETERS, quick=f"minutes = 1\nparameters = {parameters}")
    with pytest.raises(UserError, match=message):
        reproduce.plan()


def test_refused_notebooks(folder):
    with pytest.raises(UserError, match="there are no notebooks in "):
        reproduce.plan()
    write(folder, "03-plain", PROFILE, tagged=0)
    with pytest.raises(UserError, match="03-plain has 0 cells tagged `parameters`: tag exactly"):
        reproduce.plan()
    write(folder, "03-plain", PROFILE, PROFILE, tagged=2)
    with pytest.raises(UserError, match="03-plain has 2 cells tagged"):
        reproduce.plan()
    write(folder, "03-plain", "%time seed = 0")
    with pytest.raises(UserError, match="of 03-plain is not plain Python"):
        reproduce.plan()
    (folder / "03-plain.ipynb").write_text("{")
    with pytest.raises(UserError, match=r"03-plain\.ipynb is not a notebook that can be read"):
        reproduce.plan()


@pytest.mark.parametrize("tool", ["papermill", "snakemake"])
def test_without_the_tools(folder, monkeypatch, tool):
    write(folder, "03-plain", PROFILE)
    monkeypatch.setitem(sys.modules, tool, None)
    with pytest.raises(RunError, match=rf"needs {tool}: pip install 'reuseprior\[notebooks\]'"):
        reproduce.plan()


# One notebook ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_run(folder, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    monkeypatch.delenv("REUSEPRIOR_ROOT", raising=False)
    write(folder, "04-counting", PARAMETERS, REPORT, kernel="one-of-another-machine")
    before = (folder / "04-counting.ipynb").read_bytes()
    given = {"seed": "3", "rate": "2", "strict": "true"}
    (job,) = reproduce.plan(["04-counting"], profile="full", parameters=given)
    assert reproduce.why(job) == "not run yet"
    run = reproduce.run(job)
    assert run.failure == ""
    assert run.seconds > 0
    assert job.output.exists() and not (paths.BUILD / "notebooks").exists()
    assert built("stamps") == [job.stamp.name]
    assert reproduce.why(job) == ""
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


@pytest.mark.slow
@pytest.mark.parametrize(("source", "failure"), FAILURES)
def test_failing_notebook(folder, source, failure):
    write(folder, "04-broken", f"{PROFILE}; seed = 0", source, "'never'")
    (job,) = reproduce.plan()
    job.output.parent.mkdir(parents=True)
    job.output.write_text("a whole run")
    assert reproduce.run(job).failure == failure
    assert built("failed") == ["04-broken.ipynb", "04-broken.json"]
    assert job.output.read_text() == "a whole run"
    kept = cells(job.broken)
    assert f"{PROFILE}; seed = 0" in [c.source for c in kept]
    assert kept[-1].outputs == []
    assert reproduce.why(job) == "failed last time"


def executes(monkeypatch, what):
    """Let papermill do `what` with the path of the executed copy."""

    def execute(notebook, output, *args, **kwargs):
        output.write_text(json.dumps({"cells": []}))
        what()
        return nbformat.v4.new_notebook()

    monkeypatch.setattr(papermill, "execute_notebook", execute)


def test_failure_before_the_first_cell(folder, monkeypatch):
    write(folder, "04-broken", PROFILE)
    (job,) = reproduce.plan()

    def no_kernel(*args, **kwargs):
        raise LookupError("No such kernel named python3")

    monkeypatch.setattr(papermill, "execute_notebook", no_kernel)
    assert reproduce.run(job).failure == "LookupError: No such kernel named python3"


def test_interruption_keeps_the_last_copy(folder, monkeypatch):
    write(folder, "04-counting", PROFILE)
    (job,) = reproduce.plan()
    executes(monkeypatch, lambda: None)
    assert reproduce.run(job).failure == ""
    job.output.write_text("a whole run")
    executes(monkeypatch, lambda: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` ignores it
    with pytest.raises(KeyboardInterrupt):
        reproduce.run(job)
    signal.signal(signal.SIGINT, before)
    assert built() == ["04-counting.ipynb"]
    assert job.output.read_text() == "a whole run"
    assert reproduce.why(job) == "not run yet"


def test_what_a_killed_run_left_is_swept_up(folder, monkeypatch):
    write(folder, "04-counting", PROFILE)
    (job,) = reproduce.plan()
    job.output.parent.mkdir(parents=True)
    (job.output.parent / ".04-counting.99999.tmp.ipynb").write_text("half")
    executes(monkeypatch, lambda: None)
    reproduce.run(job)
    assert built() == ["04-counting.ipynb"]


def test_a_change_while_it_runs_is_no_run(folder, monkeypatch):
    write(folder, "04-counting", PROFILE)
    (job,) = reproduce.plan()
    executes(monkeypatch, lambda: write(folder, "04-counting", PROFILE, "new"))
    failure = "it was changed while it ran (changed: notebooks/04-counting.ipynb): run it again"
    assert reproduce.run(job).failure == failure


def test_a_figure_that_was_not_written(folder, monkeypatch):
    write(folder, "04-counting", PROFILE, "if False: plotting.save(fig, 'fig-1')")
    (job,) = reproduce.plan()
    executes(monkeypatch, lambda: None)
    expected = "it did not write figures/fig-1.svg, figures/fig-1.png"
    assert reproduce.run(job).failure == expected


# Why a chapter runs ----------------------------------------------------------------------------


INPUTS = ["data/published/a*.csv"]


@pytest.fixture
def ran(folder, monkeypatch):
    """A chapter that ran, reads a table and draws a figure; returns it planned anew."""
    source = "import reuseprior.files\nplotting.save(fig, 'fig-1')"
    write(folder, "04-counting", PROFILE + "; seed = 0", source, inputs=INPUTS)
    (paths.PUBLISHED / "a.csv").write_text("1")
    (paths.PUBLISHED / "b.csv").write_text("1")
    paths.FIGURES.mkdir()
    for kind in ("svg", "png"):
        (paths.FIGURES / f"fig-1.{kind}").write_text("drawn")
    executes(monkeypatch, lambda: None)
    (job,) = reproduce.plan()
    assert reproduce.run(job).failure == ""

    def planned(**options):
        (job,) = reproduce.plan(["04-counting"], **options)
        return job

    return planned


def touch(path):
    os.utime(path, (time.time() + 100,) * 2)


def outputs_only(path):
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].execution_count = 5
    nbformat.write(notebook, path)


SLOWER = "minutes = 9\nparameters = {}"
CHANGES = [  # what is done, why it then runs
    (lambda: None, ""),
    (lambda: touch(paths.NOTEBOOKS / "04-counting.ipynb"), ""),
    (lambda: house.chapter("04-counting", inputs=INPUTS, numbers={"*": ""}, quick=SLOWER), ""),
    (lambda: outputs_only(paths.NOTEBOOKS / "04-counting.ipynb"), ""),
    (lambda: (paths.PUBLISHED / "b.csv").write_text("2"), ""),
    (lambda: (paths.PUBLISHED / "a.csv").write_text("2"), "changed: data/published/a.csv"),
    (lambda: (paths.PUBLISHED / "a2.csv").write_text("2"), "new: data/published/a2.csv"),
    (lambda: (paths.PUBLISHED / "a.csv").unlink(), "gone: data/published/a.csv"),
    (lambda: (paths.FIGURES / "fig-1.png").unlink(), "missing: figures/fig-1.png"),
    (
        lambda: (paths.BUILD / "notebooks" / "04-counting.ipynb").unlink(),
        "missing: build/notebooks/04-counting.ipynb",
    ),
    (
        lambda: write(
            paths.NOTEBOOKS,
            "04-counting",
            PROFILE + "; seed = 0",
            "import reuseprior.quantities",
            inputs=INPUTS,
        ),
        "changed: notebooks/04-counting.ipynb; new: reuseprior/quantities.py; "
        "gone: reuseprior/errors.py, reuseprior/files.py, reuseprior/schemas.py",
    ),
]


@pytest.mark.parametrize(("change", "why"), CHANGES)
def test_why(ran, change, why):
    change()
    assert reproduce.why(ran()) == why


def test_why_names_values_and_versions(ran, monkeypatch):
    quick = "minutes = 1\nparameters = {seed = 1}"
    house.chapter("04-counting", inputs=INPUTS, quick=quick)
    assert reproduce.why(ran()) == "new: parameter seed"
    house.chapter("04-counting", inputs=INPUTS)
    monkeypatch.setattr(reproduce.metadata, "version", lambda name: f"{name} 9")
    assert re.match(r"torch was [^,]+, is torch 9; ", reproduce.why(ran()))


def test_other_parameters_leave_the_chapter_as_it_is(ran, monkeypatch):
    """A variant has a copy, figures and a record of its own, and no other of these is touched."""
    variant = ran(parameters={"seed": "1"})
    assert reproduce.why(variant) == reproduce.why(ran(profile="full")) == "not run yet"
    figures = paths.BUILD / "variants" / "04-counting,seed=1" / "figures"

    def draw():
        figures.mkdir(parents=True)
        for kind in ("svg", "png"):
            (figures / f"fig-1.{kind}").write_text("drawn otherwise")

    executes(monkeypatch, draw)
    before = {path: path.read_bytes() for path in paths.ROOT.rglob("*") if path.is_file()}
    assert reproduce.run(variant).failure == ""
    assert before == {path: path.read_bytes() for path in before}
    assert reproduce.why(ran(parameters={"seed": "1"})) == reproduce.why(ran()) == ""
    assert variant.output == figures.parent / "04-counting.ipynb" and variant.output.exists()


# The batch -------------------------------------------------------------------------------------


def environment():
    """Of another process that is to find this repository and its package."""
    return {**os.environ, "REUSEPRIOR_ROOT": str(paths.ROOT), "PYTHONPATH": str(paths.ROOT)}


def snakemake(*arguments):
    """Snakemake by hand, on the repository's own Snakefile."""
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", "notebooks/Snakefile", *arguments],
        cwd=paths.ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout + done.stderr


def rules_to_run():
    shown = snakemake("--dry-run", "--cores", "1")
    return set(re.findall(r"^rule (\d\S*):", shown, re.MULTILINE))


CODE_LIKE = [
    "__import__('os').system('touch planted')", "1; import os", "'); import os; ('", '"', "'",
    "\\", "\n\nimport os", "\r\nimport os", 3 * '"', 3 * "'", "{wildcards}", "{0}{a[0]}",
    "{sys.executable}", "$(touch a)", "`touch a`", "%run a", "!touch a", "\u2028import os", "\x00",
    "# a", "f'{1}'", "a=b", "010", "no", "1e-5",
]  # fmt: skip


@pytest.mark.parametrize("text", CODE_LIKE, ids=range(len(CODE_LIKE)))
def test_a_parameter_is_never_code(folder, text):
    """What papermill writes into a notebook is one assignment of this very text."""
    cli = pytest.importorskip("snakemake.cli")
    write(folder, "03-a", PROFILE + "; text = 'a'; seed = 0.0")
    (job,) = reproduce.plan(["03-a"], parameters={"text": text, "seed": "-0"})
    code = papermill.translators.PythonTranslator.codify(job.parameters)
    values = {s.targets[0].id: ast.literal_eval(s.value) for s in ast.parse(code).body}
    assert values == {"profile": "quick", "text": text, "seed": 0.0}
    (order,) = cli.parse_config([f"jobs={json.dumps([job.order])}"])["jobs"]  # it reads YAML
    assert repr(reproduce.Job.ordered(order).parameters) == repr(job.parameters)


@pytest.mark.notebook
def test_a_batch_where_paths_hold_a_space_a_quote_and_an_accent(tmp_path, monkeypatch):
    odd = tmp_path / "x y'z é"
    house.build(odd, monkeypatch)
    venv.create(odd / "environment", symlinks=True)
    monkeypatch.setattr(sys, "executable", str(odd / "environment/bin/python"))
    monkeypatch.setenv("PYTHONPATH", sysconfig.get_path("purelib"))
    places = "import sys\nprint(sys.executable)\nfrom reuseprior import paths\nprint(paths.ROOT)"
    write(paths.NOTEBOOKS, "03-fine", f"{PROFILE}; text = 'a'", places)
    jobs = reproduce.plan(["03-fine"], parameters={"text": '{wildcards} it\'s "é" $HOME {0}'})
    assert outcomes(jobs, parallel=2) == {"03-fine": ""}
    copy = notebooks.read(jobs[0].output)
    (printed,) = copy["cells"][-1]["outputs"]
    assert "".join(printed["text"]).splitlines() == [sys.executable, str(odd)]
    assert any("{wildcards} it" in notebooks.source(cell) for cell in copy["cells"])


@pytest.mark.notebook
def test_batch(folder):
    """A failing chapter leaves the others done; then only what changed runs, by hand as well."""
    save = "from matplotlib.figure import Figure\nfrom reuseprior import plotting\n"
    write(folder, "03-fine", PROFILE, f"{save}_ = plotting.save(Figure(), 'fig-1')")
    write(folder, "04-broken", PROFILE, "1 / 0")
    failure = "cell In [2] (1 / 0) raised ZeroDivisionError: division by zero"
    assert outcomes(reproduce.plan(), parallel=2) == {"03-fine": "", "04-broken": failure}
    assert built() == ["03-fine.ipynb"]
    assert built("failed") == ["04-broken.ipynb", "04-broken.json"]
    assert sorted(p.name for p in paths.FIGURES.iterdir()) == ["fig-1.png", "fig-1.svg"]

    for path in (folder / "03-fine.ipynb", folder / "Snakefile"):
        touch(path)
    assert rules_to_run() == {"04-broken"}
    write(folder, "04-broken", PROFILE, "1 / 1")
    assert outcomes(reproduce.plan()) == {"04-broken": ""}
    assert built("failed") == []
    assert outcomes(reproduce.plan()) == {}
    assert rules_to_run() == set()


@pytest.mark.notebook
def test_what_a_chapter_records_is_no_change_and_the_last_one_sees_it(folder):
    records = "from reuseprior import paths\nfile = paths.RESULTS / 'a' / 'config.json'"
    write(
        folder, "03-records", PROFILE,
        f"{records}\nfile.parent.mkdir(parents=True, exist_ok=True)\n_ = file.write_text('1')",
        inputs=["data/results/**/*"], records=["data/results/a/**/*"],
    )  # fmt: skip
    write(folder, LAST, PROFILE, f"{records}\nassert file.exists()", inputs=["data/**/*"])
    assert outcomes(reproduce.plan(), parallel=2) == {"03-records": "", LAST: ""}
    assert outcomes(reproduce.plan()) == {}, "what it recorded is its input from now on"
    write(folder, "03-records", PROFILE, "1", inputs=["data/results/**/*"])
    (paths.RESULTS / "a" / "config.json").write_text("2")
    assert outcomes(reproduce.plan()) == {"03-records": "", LAST: ""}


def test_a_change_before_its_turn_is_told(folder, capsys):
    write(folder, "04-counting", PROFILE)
    (job,) = reproduce.plan()
    assert reproduce._run_ordered(job.order, "04-counting.another.json") == 1
    assert "it was changed since the batch began: run it again" in capsys.readouterr().out
    assert built("failed") == ["04-counting.json"]


@pytest.mark.notebook
def test_snakemake_s_own_failure_is_told(folder):
    write(folder, "04-counting", PROFILE)
    (folder / "Snakefile").write_text("raise ValueError('no rules here')")
    with pytest.raises(RunError, match=r"failed before 04-counting: .*; see .*reproduce\.log"):
        outcomes(reproduce.plan())
    assert "no rules here" in (paths.BUILD / "reproduce.log").read_text()


@pytest.mark.notebook
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.soak)]
)
def test_killed_in_the_middle(folder, number):
    """Nothing half-done is left under a final name, nothing goes on, and what was done stays."""
    wait = "import pathlib, time\ntime.sleep(0 if pathlib.Path('../go').exists() else 600)"
    write(folder, "03-quick", PROFILE, quick=SLOWER)  # so it goes first
    write(folder, "04-slow", PROFILE, wait)
    command = [sys.executable, "-m", "reuseprior", "reproduce", "--jobs", "1"]
    process = subprocess.Popen(
        command, cwd=paths.ROOT, env=environment(), stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stderr.readline().startswith("running 03-quick, 04-slow: ")
        assert process.stderr.readline().startswith("✓ 03-quick ")
        half = paths.BUILD / "notebooks"
        _until(lambda: list(half.glob(".04-slow.*")), "the slow notebook did not start")
        with pytest.raises(RunError, match="another reproduce is at work in "):
            list(reproduce.batch(reproduce.plan()))
        _until(lambda: any("ipykernel_launcher" in c for c in _at_work()), "no kernel started")
        process.send_signal(number)
    assert not (half / "04-slow.ipynb").exists()
    done = (half / "03-quick.ipynb").stat().st_mtime_ns

    (paths.ROOT / "go").touch()
    _until(lambda: not _at_work(), "what the killed process started goes on without it")
    assert outcomes(reproduce.plan()) == {"04-slow": ""}
    assert built() == ["03-quick.ipynb", "04-slow.ipynb"]
    assert (half / "03-quick.ipynb").stat().st_mtime_ns == done


def _at_work():
    """The commands of processes that were told of this test's repository."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("REUSEPRIOR_ROOT") == str(paths.ROOT):
                found.append(process.cmdline())
        except psutil.Error:  # it has just ended
            continue
    return found


def _until(condition, complaint):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, complaint
        time.sleep(0.05)


CLUSTERS = [  # profile, what it needs, what else is said on the command line
    ("slurm", ["executor_plugin_slurm"], []),
    (
        "kubernetes",
        ["executor_plugin_kubernetes", "storage_plugin_fs"],
        ["--default-storage-prefix", "."],
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "plugins", "options"), CLUSTERS)
def test_profiles_for_clusters(folder, name, plugins, options):
    for plugin in plugins:
        pytest.importorskip(f"snakemake_{plugin}")
    write(folder, "03-quick", PROFILE, full="minutes = 4\nparameters = {}")
    profile = f"notebooks/profiles/{name}"
    shown = snakemake("--dry-run", "--profile", profile, *options, "--config", "profile=full")
    assert "rule 03-quick:" in shown
    assert "runtime=30" in shown and "mem_mb=8000" in shown
