"""Notebooks as files, and the committed ones as a reader meets them: run whole, and compared."""

import ast
import copy
import io
import json
import os
import re
import shutil
from base64 import b64encode
from pathlib import Path

import nbformat
import pytest
from PIL import Image

from reuseprior import paths, plotting, results
from reuseprior.press import chapters, notebooks, reproduce
from reuseprior.press.notebooks import NotebookError
from tests.press import house

CHAPTERS = {chapter.notebook: chapter for chapter in chapters.found()}
NOTEBOOKS = list(CHAPTERS)

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells_of(path, kind):
    return [c for c in notebooks.read(path)["cells"] if c["cell_type"] == kind]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The empty notebooks folder of a repository of its own."""
    house.build(tmp_path, monkeypatch)
    return paths.NOTEBOOKS


def write(folder, name, *cells):
    """A notebook of code cells, and of Markdown where a text begins with `#` or `*`."""
    new = {True: nbformat.v4.new_markdown_cell, False: nbformat.v4.new_code_cell}
    made = [new[text.startswith(("#", "*"))](text) for text in cells]
    path = folder / f"{name}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=made), path)
    house.chapter(name)
    return path


# The committed ones ----------------------------------------------------------------------------


def test_the_chapters_are_there():
    assert {"00-ledger", "04-counting-contexts"} <= {path.stem for path in NOTEBOOKS}


@each
def test_as_it_must_be(path):
    assert notebooks.slips(path) == []
    compared = [c for c in cells_of(path, "code") if "nbval-check-output" in notebooks.tags(c)]
    assert compared and all(c["outputs"] for c in compared)


@each
def test_opens_with_prose_that_says_how_long_it_takes(path):
    first = notebooks.read(path)["cells"][0]
    assert first["cell_type"] == "markdown"
    assert re.search(r"\d+ (second|minute)s?", notebooks.source(first))


@each
def test_one_cell_of_typed_and_commented_parameters(path):
    (parameters,) = [c for c in cells_of(path, "code") if "parameters" in notebooks.tags(c)]
    for line in notebooks.source(parameters).splitlines():
        assert re.fullmatch(r"\w+: (int|float|bool|str) = .+  # .+", line), line


@each
def test_checks_its_parameters_before_anything_else(path):
    """Whoever runs it, as plain papermill lets wrong ones pass."""
    first, second, *_ = cells_of(path, "code")
    assert "parameters" in notebooks.tags(first)
    assert f'variants.begin("{path.stem}", globals())' in notebooks.source(second)


@each
def test_no_cell_takes_a_parameter_s_name_for_something_else(path):
    given = notebooks.parameters(path).keys()
    for cell in cells_of(path, "code"):
        if "parameters" not in notebooks.tags(cell):
            names = [n for n in ast.walk(ast.parse(notebooks.source(cell))) if type(n) is ast.Name]
            bound = {name.id for name in names if isinstance(name.ctx, ast.Store)}
            assert not bound & given, notebooks.source(cell)


@pytest.mark.parametrize("profile", chapters.PROFILES)
def test_presets_and_parameters_agree(profile):
    """Every chapter has a preset, of its own parameters and their types; quick is as committed."""
    for path, chapter in CHAPTERS.items():
        known = notebooks.parameters(path)
        assert known.pop("profile").default == "quick"
        given = chapter.presets[profile].parameters
        assert given.keys() == known.keys(), path.stem
        for name, value in given.items():
            assert type(value).__name__ == known[name].type, (path.stem, name)
        if profile == "quick":
            assert given == {name: one.default for name, one in known.items()}, path.stem
        assert chapter.presets[profile].minutes > 0


def test_inputs_name_files():
    for chapter in CHAPTERS.values():
        for pattern in chapter.inputs:
            assert next(paths.ROOT.glob(pattern), None), (chapter.name, pattern)


def opened(root):
    """Files of the repository that a kernel opened; of a compiled module, its source."""
    names = set((root / house.OPENED).read_text().splitlines())
    sources = {re.sub(r"__pycache__/(\w+)\.[^/]*\.pyc$", r"\1.py", name) for name in names}
    package, data = f"{paths.PACKAGE}/", f"{root / 'data'}/"
    # which run a notebook is, it reads from its chapter.toml: a job knows that without the file;
    # and that a recorded run is as it was, from a list of digests
    known = (f"/{chapters.FILE}", f"/{results.DIGESTS}")
    own = {name for name in sources if not name.endswith(known)}
    return {name for name in own if name.startswith((package, data))}


def texts(cell):
    """What a cell shows in words."""
    return [
        {kind: "".join(text) for kind, text in data.items() if kind.startswith("text/")}
        for data in (o.get("data", {"text/plain": o.get("text", "")}) for o in cell["outputs"])
    ]


@pytest.mark.notebook
@each
def test_what_is_saved_is_what_it_computes(path, request, tmp_path, monkeypatch):
    """It ends well, reads what it is said to depend on, and shows and draws what is committed."""
    last = CHAPTERS[path].last
    root = request.getfixturevalue("whole_ledger") if last else tmp_path
    house.apart(root, monkeypatch)
    job = next(job for job in reproduce.plan([path.stem]) if job.name == path.stem)
    assert last or reproduce.run(job).failure == ""
    committed, executed = cells_of(path, "code"), cells_of(job.output, "code")
    assert [c["execution_count"] for c in executed] == list(range(1, len(committed) + 1))
    for cell, ran in zip(committed, executed, strict=True):
        if "nbval-check-output" in notebooks.tags(cell):
            assert texts(ran) == texts(cell), f"{notebooks.source(cell)}: run make notebooks"

    read = opened(root)
    assert str(paths.PACKAGE / "__init__.py") in read, "nothing was traced"
    assert read <= {str(file) for file in job.inputs}
    drawn = {file.name for file in paths.FIGURES.glob("*")}
    assert drawn == {f"{n}.{k}" for n in notebooks.figures(path) for k in ("svg", "png")}
    figures = path.parents[1] / "figures"
    if _drawn_with(figures) == notebooks.drawn_with():
        for name in notebooks.figures(path):
            pictures = [(f / f"{name}.png").read_bytes() for f in (figures, paths.FIGURES)]
            assert plotting.looks_alike(*pictures), f"{name}: run make notebooks"
        copy = shutil.copy(path, tmp_path)
        assert not notebooks.save(Path(copy), job.output), "run make notebooks"


def _drawn_with(figures):
    page = (figures / "README.md").read_text(encoding="utf-8")
    return re.search(r"Drawn with (.*)\. A figure", page)[1]


# Slips -----------------------------------------------------------------------------------------


@pytest.fixture
def good():
    """A notebook without slips."""
    cell = nbformat.v4.new_code_cell("1 + 1", execution_count=1)
    cell.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "2"})]
    text = nbformat.v4.new_markdown_cell("# Sum")
    return nbformat.v4.new_notebook(cells=[text, cell], metadata=notebooks.METADATA)


def test_no_slip(good, tmp_path):
    nbformat.write(good, tmp_path / "03-good.ipynb")
    assert notebooks.slips(tmp_path / "03-good.ipynb") == []


def _output(kind, **fields):
    return nbformat.v4.new_output(kind, **fields)


def _metadata(notebook, _):
    notebook.metadata["widgets"] = {}


def _live(_, cell):
    cell.update(source='plotting.save(fig, "fig-1")')
    cell.metadata["tags"] = ["live"]


def _kernel(notebook, _):
    notebook.metadata = copy.deepcopy(notebook.metadata)
    notebook.metadata.kernelspec.name = "my-env"


SLIPS = [  # what is done to a notebook and its code cell, what is said of it
    (_metadata, "its metadata is not that of all notebooks"),
    (_kernel, "its metadata is not that of all notebooks"),
    (lambda n, c: c.update(execution_count=None), "it was not saved from one run of all cells"),
    (lambda n, c: c.update(execution_count=2), "it was not saved from one run of all cells"),
    (
        lambda n, c: n.cells.append(nbformat.v4.new_code_cell("2", execution_count=1)),
        "it was not saved from one run of all cells",
    ),
    (
        lambda n, c: c.metadata.update(execution={"start": "noon"}),
        r"cell \(1 \+ 1\) has the metadata execution",
    ),
    (lambda n, c: n.cells[0].metadata.update(collapsed=1), "# Sum.*has the metadata collapsed"),
    (lambda n, c: c.update(source="1\n" * 15 + "2"), "has more than 15 lines"),
    (lambda n, c: c.update(source="%time 1"), r"cell \(%time 1\) has a magic"),
    (lambda n, c: c.update(source="# why\nplot();"), r"cell \(plot\(\);\) ends in a semicolon"),
    (lambda n, c: c.update(source="open('../a.csv')"), "has a relative path"),
    (_live, "is live, and saves a figure"),
    (lambda n, c: c.update(source="open('/home/me/a')"), "shows a path of one machine"),
    (
        lambda n, c: c.outputs.append(_output("error", ename="E", evalue="", traceback=[])),
        "was saved with an error or a warning",
    ),
    (
        lambda n, c: c.outputs.append(_output("stream", name="stderr", text="careful")),
        "was saved with an error or a warning",
    ),
    (
        lambda n, c: c.outputs.append(_output("display_data", data={"image/svg+xml": "<svg/>"})),
        "shows an SVG, which differs each run",
    ),
    (
        lambda n, c: c.outputs.append(
            _output("execute_result", data={"text/plain": "<Figure size 840x360 with 2 Axes>"})
        ),
        "shows a figure as text",
    ),
    (
        lambda n, c: c.outputs.append(
            _output("execute_result", data={"text/plain": "a    1\nName: ρ, dtype: int64"})
        ),
        "prints a series with its dtype",
    ),
    (
        lambda n, c: c.outputs.append(_output("stream", name="stdout", text="1\n" * 36)),
        "shows 36 rows or lines and does not fold them",
    ),
    (
        lambda n, c: c.outputs.append(
            _output("display_data", data={"text/html": f"<table>{'<tr></tr>' * 40}</table>"})
        ),
        "shows 40 rows or lines and does not fold them",
    ),
    (
        lambda n, c: c.outputs.append(_output("stream", name="stdout", text=str(paths.ROOT))),
        "shows a path of one machine",
    ),
]


@pytest.mark.parametrize(("spoil", "message"), SLIPS)
def test_slips(good, tmp_path, spoil, message):
    good = copy.deepcopy(good)
    spoil(good, good.cells[1])
    nbformat.write(good, tmp_path / "03-bad.ipynb")
    assert any(re.search(message, slip) for slip in notebooks.slips(tmp_path / "03-bad.ipynb"))


# Inputs ----------------------------------------------------------------------------------------


def labels(path, patterns=()):
    found = [
        file for file in notebooks.inputs(path, patterns) if file.is_relative_to(paths.PACKAGE)
    ]
    return {file.relative_to(paths.PACKAGE).as_posix() for file in found}


ELSEWHERE = {"measures/energy.py"}
IMPORTS = [  # code, modules that are inputs, modules that are not
    ("import math", set(), {"__init__.py"}),
    ("import reuseprior.errors", {"__init__.py", "errors.py"}, {"paths.py"}),
    (
        "from reuseprior import paths",
        {"__init__.py", "paths.py", "errors.py"},
        {"measures/energy.py"},
    ),
    (
        "def f():\n    from reuseprior.contexts import rule",
        {"contexts/rules/moves.py"},
        {"measures/energy.py"},
    ),
    (
        "import reuseprior.plotting as p",
        {"plotting.py", "reuseprior.mplstyle"},
        {"measures/energy.py"},
    ),
    (
        "%time 1\nfrom reuseprior.press import ledger",
        {"press/ledger.py", "press/published.py"},
        {"press/book.py"},
    ),
]


@pytest.mark.parametrize(("code", "inside", "outside"), IMPORTS)
def test_inputs_are_the_modules_that_it_imports(folder, code, inside, outside):
    found = labels(write(folder, "03-a", code))
    assert inside <= found
    assert not outside & found


def test_inputs_are_the_files_that_it_is_said_to_read(folder):
    path = write(folder, "03-a", "1")
    for name in ("a.csv", "b.csv", ".b.csv.1.tmp", "weights.safetensors"):
        (paths.PUBLISHED / name).write_text("")

    def names():
        (chapter,) = chapters.found()
        return {file.name for file in notebooks.inputs(path, chapter.inputs)}

    assert names() == {"a.csv", "b.csv"}, "any data where nothing is said"
    house.chapter("03-a", inputs=["data/published/a*"])
    assert names() == {"a.csv"}
    house.chapter("03-a", inputs=[])
    assert names() == set()


def test_the_ledger_depends_on_every_chapter():
    ledger = paths.NOTEBOOKS / "00-ledger.ipynb"
    found = labels(ledger, CHAPTERS[ledger].inputs)
    assert {
        "works/nn_mass/chapter.toml",
        "works/thesis/contexts/ledger.py",
        "works/thesis/energy/ledger.py",
        "measures/energy.py",
    } <= found


def test_a_cell_that_is_not_python_is_named(folder):
    with pytest.raises(NotebookError, match="the cell 'for x in' of 03-a is not plain Python"):
        notebooks.inputs(write(folder, "03-a", "for x in"), [])


# Figures ---------------------------------------------------------------------------------------


def test_figures_and_captions(folder):
    path = write(
        folder, "03-a",
        "plotting.save(fig, 'fig-3-1')", "other()", "*A caption\nof $x*y$.*\n\nText.",
        "plotting.save(fig, 'fig-3-2')\nplotting.save(fig, 'fig-3-3')", "*Two.*", "*Not this.*",
        "plotting.save(fig, 'fig-3-4')", "**Bold.** No caption.",
        "plotting.save(fig, 'fig-3-5')",
    )  # fmt: skip
    assert notebooks.figures(path) == {
        "fig-3-1": "A caption\nof $x*y$.",
        "fig-3-2": "Two.",
        "fig-3-3": "Two.",
        "fig-3-4": "",
        "fig-3-5": "",
    }


def test_a_computed_name_is_refused(folder):
    path = write(folder, "03-a", "plotting.save(fig, names[0])")
    with pytest.raises(NotebookError, match="03-a saves a figure whose name is computed"):
        notebooks.figures(path)


def test_gallery(folder):
    write(folder, "03-a", "plotting.save(fig, 'v2-s')\nplotting.save(fig, 'fig-3-10')", "*Both.*")
    write(folder, "04-b", "plotting.save(fig, 'fig-3-2')", "*One.*")
    page = notebooks.gallery("matplotlib 3.11")
    assert re.findall("^## (.*)$", page, re.MULTILINE) == ["fig-3-2", "fig-3-10", "v2-s"]
    assert "![fig-3-2](fig-3-2.svg)\n\nOne. [04-b](../notebooks/04-b.ipynb)" in page
    assert "Drawn with matplotlib 3.11. A figure" in page


GALLERIES = [  # code and text of a second notebook, message
    (["plotting.save(fig, 'fig-1')", "*Again.*"], "03-a and 04-b both save figure fig-1"),
    (["plotting.save(fig, 'fig-2')", "# Title"], "figure fig-2 of 04-b has no caption"),
]


@pytest.mark.parametrize(("cells", "message"), GALLERIES)
def test_gallery_refuses(folder, cells, message):
    write(folder, "03-a", "plotting.save(fig, 'fig-1')", "*One.*")
    write(folder, "04-b", *cells)
    with pytest.raises(NotebookError, match=message):
        notebooks.gallery("matplotlib 3.11")


def test_the_gallery_is_current():
    page = (paths.FIGURES / "README.md").read_text(encoding="utf-8")
    assert page == notebooks.gallery(_drawn_with(paths.FIGURES)), "run make notebooks"


def test_figures_are_those_that_notebooks_save():
    """Each as SVG and as PNG, and none that no notebook saves any more."""
    names = {name for path in NOTEBOOKS for name in notebooks.figures(path)}
    expected = {f"{name}.{kind}" for name in names for kind in ("svg", "png")}
    assert {file.name for file in paths.FIGURES.iterdir()} == expected | {"README.md"}


# Saving ----------------------------------------------------------------------------------------


def executed(path, *outputs):
    """A copy as papermill leaves it: times, a strange kernel."""
    made = nbformat.read(path, as_version=4)
    made.metadata["papermill"] = {"start_time": os.urandom(4).hex()}
    for count, cell in enumerate((c for c in made.cells if c.cell_type == "code"), start=1):
        cell.execution_count = count
        cell.metadata["execution"] = {"iopub.status.busy": os.urandom(4).hex()}
    made.cells[-1].outputs = list(outputs)
    output = path.with_suffix(".executed")
    nbformat.write(made, output)
    return output


def printed(*texts):
    return [nbformat.v4.new_output("stream", name="stdout", text=text) for text in texts]


def test_two_copies_are_saved_as_the_same_bytes(folder):
    path = write(folder, "03-a", "# Title", "x = 1", "print(x)")
    size = {"image/png": {"height": 249.6, "width": 672.0}}
    picture = nbformat.v4.new_output("display_data", {"image/png": "YQ=="}, metadata=size)
    outputs = [*printed("one\ntwo\n"), picture]
    assert notebooks.save(path, executed(path, *outputs))
    saved = path.read_bytes()
    assert not notebooks.save(path, executed(path, *outputs))
    assert path.read_bytes() == saved
    assert notebooks.slips(path) == []
    nbformat.validate(nbformat.read(path, as_version=4))
    output, picture = json.loads(saved)["cells"][-1]["outputs"]
    assert output["text"] == ["one\n", "two\n"]
    assert str(picture["metadata"]) == "{'image/png': {'height': 249.6, 'width': 672}}"
    nbformat.write(nbformat.read(path, as_version=4), path)
    assert path.read_bytes() == saved, "as JupyterLab writes it"


def picture(colour):
    """An output that shows a square of one grey."""
    buffer = io.BytesIO()
    Image.new("L", (8, 8), colour).save(buffer, "png")
    return [
        nbformat.v4.new_output("display_data", {"image/png": b64encode(buffer.getvalue()).decode()})
    ]


@pytest.mark.parametrize(
    ("tags", "before", "now", "is_kept"),
    [
        ([], picture(100), picture(100 + plotting.UNSEEN), True),
        ([], picture(100), picture(101 + plotting.UNSEEN), False),
        ([], printed("0.975\n"), printed("0.981\n"), False),
        (["live"], printed("0.975\n"), printed("0.981\n"), True),
        (["live"], picture(0), picture(255), True),
        (["live"], [], printed("0.981\n"), False),  # cleared, to be renewed
    ],
)
def test_what_no_processor_may_change_is_kept(tags, before, now, is_kept, folder):
    path = write(folder, "03-a", "# Title", "x = 1")
    notebooks.save(path, executed(path, *before))
    made = nbformat.read(path, as_version=4)
    made.cells[-1].metadata.update({"tags": tags} if tags else {})
    nbformat.write(made, path)
    assert notebooks.save(path, executed(path, *now)) != is_kept


def test_a_copy_of_other_cells_is_not_saved(folder):
    path = write(folder, "03-a", "x = 1", "print(x)")
    copied = executed(path)
    write(folder, "03-a", "x = 2", "print(x)")
    before = path.read_bytes()
    with pytest.raises(NotebookError, match=r"was not made from .*03-a\.ipynb as it is"):
        notebooks.save(path, copied)
    assert path.read_bytes() == before


PIECES = """
import time
print("one", end="", flush=True)
time.sleep(0.5 * (open("pieces").read() == "2"))
print("two")
"""  # in how many pieces a printed text arrives differs between runs


@pytest.mark.notebook
def test_two_runs_leave_git_clean(folder):
    """Executed twice from nothing, a notebook and its figures are saved as the same bytes."""
    draw = "fig = plotting.Picture()\n_ = fig.subplots().plot([1, 2])\n"
    draw += "_ = plotting.save(fig, 'fig-1')\nfig"
    imports = "from reuseprior import plotting"
    path = write(folder, "03-a", "profile: str = 'quick'", imports, draw, "*A line.*", PIECES)
    made = nbformat.read(path, as_version=4)
    made.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(made, path)
    seen = []
    for pieces in (1, 2):
        (folder / "pieces").write_text(str(pieces))
        shutil.rmtree(paths.BUILD, ignore_errors=True)
        (job,) = reproduce.plan()
        assert [run.failure for run in reproduce.batch([job])] == [""]
        notebooks.save(path, job.output)
        seen.append({f: f.read_bytes() for f in (path, *sorted(paths.FIGURES.iterdir()))})
    assert len(seen[0]) == 3
    (output,) = notebooks.read(path)["cells"][-1]["outputs"]
    assert output["text"] == ["onetwo\n"]
    assert seen[0] == seen[1]
    assert notebooks.slips(path) == []
