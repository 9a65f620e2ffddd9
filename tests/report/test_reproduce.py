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
from functools import partial
from itertools import product

import nbformat
import papermill
import pytest

from reuseprior import paths, schemas
from reuseprior.errors import UserError
from reuseprior.report import notebooks, reproduce
from reuseprior.report.reproduce import RunError
from tests.conftest import at_work, until
from tests.report import house

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
DRAW = """
from matplotlib.figure import Figure
from reuseprior import plotting
_ = plotting.save(Figure(), 'fig-{}')
"""
LAST = "00-ledger"


def write(name, *texts, tags=("parameters",), kernel="python3", **given):
    """A notebook and its chapter."""
    house.notebook(name, *texts, tags=tags, kernel=kernel)
    if name != "index":  # the landing page is no chapter
        house.chapter(name, last=name == LAST, **given)


def built(kind="notebooks"):
    return sorted(path.name for path in (paths.BUILD / kind).iterdir())


def outcomes(jobs, **options):
    return {run.job.name: run.failure for run in reproduce.batch(jobs, **options)}


def test_order_parameters_and_what_a_profile_needs(root):
    """A preset goes before the notebook and after the command; values have the parameter's type."""
    for name in ("10-late", LAST, "03-early", "index"):
        write(name, PROFILE)
    assert [job.name for job in reproduce.plan()] == ["03-early", "10-late", LAST]
    chosen = reproduce.plan(["03-early", "03-early"])
    assert [job.name for job in chosen] == ["03-early", LAST]
    full = 'minutes = 2880\nparameters = {seed = 7, rate = 1e-3}\ndata = ["mnist", "cifar10"]'
    write("03-early", PARAMETERS, full=f'{full}\ndevice = "a GPU"')
    given = {"seed": "3", "strict": "true", "offset": "-010"}
    job, ledger = reproduce.plan(["03-early"], profile="full", parameters=given)
    expected = {"profile": "full", "seed": 3, "rate": 0.001, "strict": True, "offset": -10}
    assert job.parameters == expected and reproduce.Job.ordered(job.order) == job
    assert job.needs == "about 2 days on a GPU, with mnist and cifar10"
    assert (ledger.parameters, ledger.needs) == ({"profile": "full"}, "about 1 min on two cores")
    (job, _) = reproduce.plan(["03-early"], parameters={"rate": "2"})
    assert repr(job.parameters) == "{'profile': 'quick', 'rate': 2.0}", "2.0 is a float"


REFUSED = [  # chapters, profile, parameters, message
    (["xyz"], "quick", {}, r"unknown chapter 'xyz': there are 03-plain, 04-counting$"),
    (["04-countign"], "quick", {}, "unknown chapter '04-countign', did you mean '04-counting'?"),
    (["counting"], "quick", {}, "unknown chapter 'counting', did you mean '04-counting'?"),
    (["04-counting"], "quick", {"x": "1"}, "no parameter 'x': it has profile, seed, rate, stric"),
    (["04-counting"], "quick", {"sed": "1"}, "no parameter 'sed', did you mean 'seed'?"),
    ([], "full", {}, "03-plain has no parameter 'profile': it has none"),
    ([], "slow", {}, "there is no profile 'slow': quick and full are"),
    (["04-counting"], "quick", {"seed": "1.5"}, "'seed' of 04-counting is int, not '1.5'"),
    (["04-counting"], "quick", {"seed": "true"}, "is int, not 'true'"),
    (["04-counting"], "quick", {"rate": "fast"}, "'rate' of 04-counting is float, not 'fast'"),
    (["04-counting"], "quick", {"strict": "1"}, r"is bool \(true or false\), not '1'"),
    (["04-counting"], "quick", {"sizes": "32"}, r"\(list\) cannot be set from text: only int"),
    (["04-counting"], "quick", {"device": "gpu"}, r"\(str\('cpu'\)\) cannot be set from text"),
    (["04-counting"], "quick", {"profile": "full"}, "not chosen with -p: write --profile"),
    ([], "quick", {"seed": "1"}, "parameter 'seed' needs exactly one chapter"),
]  # fmt: skip


@pytest.mark.parametrize(("chapters", "profile", "parameters", "message"), REFUSED)
def test_refused(root, chapters, profile, parameters, message):
    write("03-plain", "pass")
    write("04-counting", PARAMETERS)
    with pytest.raises(UserError, match=message):
        reproduce.plan(chapters, profile=profile, parameters=parameters)


REFUSED_CHAPTERS = [  # the notebook's cells, how many have the tag, its preset, message
    ([PARAMETERS], 1, "{rate = '1e-3'}", r"is float, but .*toml gives '1e-3' \(str\): write it as"),
    ([PARAMETERS], 1, "{rate = 1}", r"is float, but .*toml gives 1 \(int\): write"),
    ([PARAMETERS], 1, "{seed = false}", r"'seed' of 04-counting is int, .* False \(bool\)$"),
    ([PARAMETERS], 1, "{sed = 1}", "has no parameter 'sed', did you mean 'seed'?"),
    ([PROFILE], 0, "{}", "04-counting has 0 cells tagged `parameters`: tag exactly"),
    ([PROFILE, PROFILE], 2, "{}", "04-counting has 2 cells tagged"),
    (["%time seed = 0"], 1, "{}", "of 04-counting is not plain Python"),
]


@pytest.mark.parametrize(("cells", "tagged", "preset", "message"), REFUSED_CHAPTERS)
def test_refused_chapters(root, cells, tagged, preset, message):
    with pytest.raises(UserError, match="there are no notebooks in "):
        reproduce.plan()
    quick = f"minutes = 1\nparameters = {preset}"
    write("04-counting", *cells, tags=["parameters"] * tagged, quick=quick)
    with pytest.raises(UserError, match=message):
        reproduce.plan()


@pytest.mark.parametrize("tool", ["papermill", "snakemake"])
def test_without_the_tools(root, monkeypatch, tool):
    write("03-plain", PROFILE)
    monkeypatch.setitem(sys.modules, tool, None)
    with pytest.raises(RunError, match=rf"needs {tool}: pip install -e '/.*\[notebooks\]'"):
        reproduce.plan()


@pytest.mark.slow
def test_run(root, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    monkeypatch.delenv("REUSEPRIOR_ROOT", raising=False)
    # in how many pieces a printed text arrives differs between runs
    pieces = "import time\nprint('one', end='', flush=True)\ntime.sleep(0.3)\nprint('two')"
    write("04-counting", PARAMETERS, pieces, REPORT, kernel="one-of-another-machine")
    before = (paths.NOTEBOOKS / "04-counting.ipynb").read_bytes()
    given = {"seed": "3", "rate": "2", "strict": "true"}
    (job,) = reproduce.plan(["04-counting"], profile="full", parameters=given)
    assert reproduce.why(job) == "not run yet"
    run = reproduce.run(job)
    assert run.failure == reproduce.why(job) == "" and run.seconds > 0
    assert job.output.exists() and not (paths.BUILD / "notebooks").exists()
    assert built("stamps") == [job.stamp.name]
    (printed,), (shown,) = (c["outputs"] for c in notebooks.read(job.output)["cells"][-2:])
    assert "".join(printed["text"]) == "onetwo\n"
    expected = ["full", 3, 2.0, True, str(paths.NOTEBOOKS), str(paths.ROOT)]
    assert ast.literal_eval("".join(shown["data"]["text/plain"])) == expected
    assert (paths.NOTEBOOKS / "04-counting.ipynb").read_bytes() == before
    assert os.environ["PYTHONPATH"] == "somewhere" and "REUSEPRIOR_ROOT" not in os.environ


FAILURES = [  # the cell that stops the notebook, and how that is told, with the cell as {}
    ("assert seed == 1, 'seed\\nis 0'", "cell In [2] ({}) raised AssertionError: seed is 0"),
    ("%nonsense", "cell In [2] ({}) raised CellExecutionError"),
    ("import os; os._exit(1)", "DeadKernelError: Kernel died, in cell In [2] ({})"),
    ("import sys; sys.exit()", "cell In [2] ({}) ended the notebook early"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("source", "failure"), FAILURES)
def test_failing_notebook(root, source, failure):
    write("04-broken", f"{PROFILE}; seed = 0", f"\n# a comment\n{source}\nseed", "'never'")
    (job,) = reproduce.plan()
    job.output.parent.mkdir(parents=True)
    job.output.write_text("a whole run")
    assert reproduce.run(job).failure == failure.format(source)
    assert built("failed") == ["04-broken.ipynb", "04-broken.json"]
    assert job.output.read_text() == "a whole run"
    kept = notebooks.read(job.broken)["cells"]
    assert f"{PROFILE}; seed = 0" in [notebooks.source(c) for c in kept] and not kept[-1]["outputs"]
    assert reproduce.why(job) == "failed last time"


def executes(monkeypatch, what):
    """Let papermill do `what` with the path of the executed copy."""

    def execute(notebook, output, *args, **kwargs):
        output.write_text(json.dumps({"cells": []}))
        what()
        return nbformat.v4.new_notebook()

    monkeypatch.setattr(papermill, "execute_notebook", execute)


def interrupted():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` ignores it
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_interruption_keeps_the_last_copy_and_what_a_killed_run_left_is_swept_up(root, monkeypatch):
    write("04-counting", PROFILE)
    (job,) = reproduce.plan()
    job.output.parent.mkdir(parents=True)
    (job.output.parent / ".04-counting.99999.tmp.ipynb").write_text("half")
    executes(monkeypatch, lambda: None)
    assert reproduce.run(job).failure == "" and built() == ["04-counting.ipynb"]
    job.output.write_text("a whole run")
    executes(monkeypatch, interrupted)
    with pytest.raises(KeyboardInterrupt):
        reproduce.run(job)
    assert built() == ["04-counting.ipynb"] and job.output.read_text() == "a whole run"
    assert reproduce.why(job) == "not run yet"


def no_kernel():
    raise LookupError("No such kernel named python3")


CHANGED = "it was changed while it ran (changed: notebooks/04-counting.ipynb): run it again"
ENDS = [  # what happens while it runs, its second cell, and why it is no run
    (no_kernel, "1", "LookupError: No such kernel named python3"),
    (lambda: write("04-counting", PROFILE, "new"), "1", CHANGED),
    (lambda: None, DRAW.format(1), "it did not write figures/fig-1.svg, figures/fig-1.png"),
]


@pytest.mark.parametrize(("happens", "cell", "failure"), ENDS)
def test_what_is_no_run(root, monkeypatch, happens, cell, failure):
    write("04-counting", PROFILE, cell)
    (job,) = reproduce.plan()
    executes(monkeypatch, happens)
    assert reproduce.run(job).failure == failure


INPUTS = ["data/published/a*.csv"]


def draw(job, text):
    """What a notebook draws: nothing yet of that which is committed."""
    for kind in ("svg", "png"):
        (job.drawn / f"fig-1.{kind}").write_text(text)


@pytest.fixture
def ran(root, monkeypatch):
    """A chapter that ran, reads a table and draws a figure; returns it planned anew."""
    source = "import reuseprior.files\nplotting.save(fig, 'fig-1')"
    write("04-counting", SEEDED, source, inputs=INPUTS)
    (paths.PUBLISHED / "a.csv").write_text("1")
    (paths.PUBLISHED / "b.csv").write_text("1")
    (job,) = reproduce.plan()
    executes(monkeypatch, partial(draw, job, "drawn"))
    assert reproduce.run(job).failure == ""
    assert (paths.FIGURES / "fig-1.svg").read_text() == "drawn"

    return lambda **options: reproduce.plan(["04-counting"], **options)[0]


def touch(path):
    os.utime(path, (time.time() + 100,) * 2)


def flip(path, at=3, bit=0):
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 1 << bit
    path.write_bytes(content)


def outputs_only(path):
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].execution_count = 5
    nbformat.write(notebook, path)


SLOWER = "minutes = 9\nparameters = {}"
SEEDED = PROFILE + "; seed = 0"
COPY = "build/notebooks/04-counting.ipynb"


def imports_otherwise():
    write("04-counting", SEEDED, "import reuseprior.quantities", inputs=INPUTS)


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
    (lambda: (paths.ROOT / COPY).unlink(), f"missing: {COPY}"),
    (lambda: flip(paths.FIGURES / "fig-1.svg"), "changed since it ran: figures/fig-1.svg"),
    (lambda: flip(paths.ROOT / COPY), f"changed since it ran: {COPY}"),
    (imports_otherwise,
     "changed: notebooks/04-counting.ipynb; new: reuseprior/quantities.py; "
     "gone: reuseprior/errors.py, reuseprior/files.py, reuseprior/schemas.py"),
]  # fmt: skip


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
    executes(monkeypatch, partial(draw, variant, "drawn otherwise"))
    before = {path: path.read_bytes() for path in paths.ROOT.rglob("*") if path.is_file()}
    assert reproduce.run(variant).failure == ""
    assert before == {path: path.read_bytes() for path in before}
    assert reproduce.why(ran(parameters={"seed": "1"})) == reproduce.why(ran()) == ""
    assert variant.output == figures.parent / "04-counting.ipynb" and variant.output.exists()
    assert (figures / "fig-1.svg").read_text() == "drawn otherwise"


def environment():
    """Of another process that is to find this repository and its package."""
    return {**os.environ, "REUSEPRIOR_ROOT": str(paths.ROOT), "PYTHONPATH": str(paths.ROOT)}


def by_hand(*arguments, **options):
    """Snakemake on the repository's own Snakefile."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", "notebooks/Snakefile", *arguments]
    return subprocess.run(command, cwd=paths.ROOT, env=environment(), **options)


def dry_run(*arguments):
    shown = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "check": True}
    return by_hand("--dry-run", *arguments, **shown).stdout


def rules_to_run():
    return set(re.findall(r"^rule (\d\S*):", dry_run("--cores", "1"), re.MULTILINE))


CODE_LIKE = [
    "__import__('os').system('touch planted')", "1; import os", "'); import os; ('", '"', "'",
    "\\", "\n\nimport os", "\r\nimport os", 3 * '"', 3 * "'", "{wildcards}", "{0}{a[0]}",
    "{sys.executable}", "$(touch a)", "`touch a`", "%run a", "!touch a", "\u2028import os", "\x00",
    "# a", "f'{1}'", "a=b", "010", "no", "1e-5",
]  # fmt: skip


def test_a_parameter_is_never_code(root):
    """What papermill writes into a notebook is one assignment of this very text."""
    cli = pytest.importorskip("snakemake.cli")
    write("03-a", PROFILE + "; text = 'a'; seed = 0.0")
    for text in CODE_LIKE:
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
    write("03-fine", f"{PROFILE}; text = 'a'", places)
    jobs = reproduce.plan(["03-fine"], parameters={"text": '{wildcards} it\'s "é" $HOME {0}'})
    assert outcomes(jobs, parallel=2) == {"03-fine": ""}
    copy = notebooks.read(jobs[0].output)
    (printed,) = copy["cells"][-1]["outputs"]
    assert "".join(printed["text"]).splitlines() == [sys.executable, str(odd)]
    assert any("{wildcards} it" in notebooks.source(cell) for cell in copy["cells"])


@pytest.mark.notebook
def test_by_hand_committed_figures_stay_and_the_last_chapter_is_last(root):
    """Whatever the clocks say, and where a chapter fails that has drawn already; in a batch too.

    What a chapter records is no change of its inputs, and the last one sees it.
    """
    record = "from reuseprior import paths\nfile = paths.RESULTS / 'a' / 'config.json'\n"
    after = f"{record}assert file.exists() and (paths.FIGURES / 'fig-1.svg').exists()"
    record += "file.parent.mkdir(parents=True, exist_ok=True)\n_ = file.write_text('1')"
    inputs = ["data/published/*.csv", "data/results/**/*"]
    write("03-late", PROFILE, DRAW.format(1), record, inputs=inputs, records=["data/results/a/*"])
    write("04-fails", PROFILE, DRAW.format(2), "1 / 0", inputs=[])
    write(LAST, PROFILE, after, inputs=["data/**/*"])
    future = time.time() + 10**6
    (paths.PUBLISHED / "a.csv").touch()
    for path in (paths.PUBLISHED / "a.csv", *paths.NOTEBOOKS.glob("*.ipynb")):
        os.utime(path, (future, future))
    paths.FIGURES.mkdir()
    second = [paths.FIGURES / name for name in ("fig-2.png", "fig-2.svg")]
    for path in second:
        path.write_text("committed")
    failure = "cell In [3] (1 / 0) raised ZeroDivisionError: division by zero"
    assert outcomes(reproduce.plan(), parallel=2) == {"03-late": "", "04-fails": failure, LAST: ""}
    assert built("failed") == ["04-fails.ipynb", "04-fails.json"]
    assert reproduce.why(reproduce.plan(["03-late"])[0]) == ""
    assert [path.read_text() for path in second] == ["committed"] * 2
    write("04-fails", PROFILE, DRAW.format(2), inputs=[])
    assert by_hand("--cores", "2").returncode == 0
    assert [reproduce.why(job) for job in reproduce.plan()] == ["", "", ""]
    assert built("failed") == [] and outcomes(reproduce.plan()) == {}
    assert second[1].read_text() != "committed" and rules_to_run() == set()
    (paths.RESULTS / "a" / "config.json").write_text("2")
    assert rules_to_run() == {"03-late", LAST}


def test_a_rule_whose_contents_stand_does_nothing(ran, monkeypatch):
    """As the last chapter's, which waits for the others whatever they leave."""
    executes(monkeypatch, no_kernel)
    assert reproduce._run_ordered(ran().order) == 0 and ran().done.exists()
    flip(paths.FIGURES / "fig-1.png")
    assert reproduce._run_ordered(ran().order) == 1


@pytest.mark.parametrize("last", ["not there", "as it was"])
def test_what_is_marked_as_done(root, monkeypatch, last):
    """What has to run, and after any other the last ones."""
    for name in ("03-a", "04-b", LAST):
        write(name, PROFILE)
    executes(monkeypatch, lambda: None)
    jobs = reproduce.plan()
    for job in jobs[: 2 if last == "not there" else 3]:
        reproduce.run(job)
    reproduce.mark(jobs)
    assert [job.done.exists() for job in jobs] == [True, True, last == "as it was"]
    write("03-a", PROFILE, "2")
    reproduce.mark(reproduce.plan())
    assert [job.done.exists() for job in jobs] == [False, True, False]


def test_a_record_with_a_flipped_bit_is_not_believed(ran):
    """In any byte: nor a record of other inputs under the name of this one's."""
    job = ran()
    whole, told = job.stamp.read_bytes(), reproduce._record(job.stamp)
    inner = range(whole.index(b'"seconds"'), whole.rindex(b"\n"))  # without what JSON leaves out
    for place, bit in product(inner, (0, 5, 7)):
        flip(job.stamp, place, bit)
        # two last digits may write one number of seconds
        assert reproduce._record(job.stamp) in (None, told), (place, bit)
        job.stamp.write_bytes(whole)
    other = schemas.sealed(json.loads(whole) | {"facts": {"of": "another"}})
    for content in (b"\xff" + whole, whole[:-9], b"", json.dumps(other).encode()):
        job.stamp.write_bytes(content)
        assert reproduce.why(job) == "its record is damaged"


@pytest.mark.notebook
def test_snakemake_s_own_failure_is_told(root):
    write("04-counting", PROFILE)
    (paths.NOTEBOOKS / "Snakefile").write_text("raise ValueError('no rules here')")
    with pytest.raises(RunError, match=r"failed before 04-counting: .*; see .*reproduce\.log"):
        outcomes(reproduce.plan())
    assert "no rules here" in (paths.BUILD / "reproduce.log").read_text()


@pytest.mark.notebook
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.soak)]
)
def test_killed_in_the_middle(root, number):
    """Nothing half-done is left under a final name, nothing goes on, and what was done stays."""
    wait = "import pathlib, time\ntime.sleep(0 if pathlib.Path('../go').exists() else 600)"
    working = partial(at_work, "REUSEPRIOR_ROOT", paths.ROOT)
    write("03-quick", PROFILE, quick=SLOWER)  # so it goes first
    write("04-slow", PROFILE, wait)
    command = [sys.executable, "-m", "reuseprior", "reproduce", "--jobs", "1"]
    process = subprocess.Popen(
        command, cwd=paths.ROOT, env=environment(), stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stderr.readline().startswith("running 03-quick, 04-slow: ")
        assert process.stderr.readline().startswith("✓ 03-quick ")
        half = paths.BUILD / "notebooks"
        until(lambda: list(half.glob(".04-slow.*")), "the slow notebook did not start")
        with pytest.raises(RunError, match="another reproduce is at work in "):
            list(reproduce.batch(reproduce.plan()))
        until(lambda: any("ipykernel_launcher" in c for c in working()), "no kernel started")
        process.send_signal(number)
    assert not (half / "04-slow.ipynb").exists()
    done = (half / "03-quick.ipynb").stat().st_mtime_ns

    (paths.ROOT / "go").touch()
    until(lambda: not working(), "what the killed process started goes on without it")
    assert outcomes(reproduce.plan()) == {"04-slow": ""}
    assert built() == ["03-quick.ipynb", "04-slow.ipynb"]
    assert (half / "03-quick.ipynb").stat().st_mtime_ns == done


CLUSTERS = {  # by profile: what else is said on the command line
    "slurm": [],
    "kubernetes": ["--default-storage-prefix", "."],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CLUSTERS)
def test_profiles_for_clusters(root, name):
    pytest.importorskip(f"snakemake_executor_plugin_{name}")
    write("03-quick", PROFILE, full="minutes = 4\nparameters = {}")
    profile = ["--profile", f"notebooks/profiles/{name}", *CLUSTERS[name]]
    shown = dry_run(*profile, "--config", "profile=full")
    assert all(text in shown for text in ("rule 03-quick:", "runtime=30", "mem_mb=8000"))
