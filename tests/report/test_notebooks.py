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
from reuseprior.report import chapters, notebooks, reproduce
from reuseprior.report.notebooks import NotebookError
from tests.report import house

CHAPTERS = {chapter.notebook: chapter for chapter in chapters.found()}
NOTEBOOKS = list(CHAPTERS)

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells_of(path, kind):
    return [c for c in notebooks.read(path)["cells"] if c["cell_type"] == kind]


def write(name, *texts, tags=()):
    house.chapter(name)
    return house.notebook(name, *texts, tags=tags)


@each
def test_as_it_must_be(path):
    """It opens with prose that says how long it takes, and with its parameters.

    Their values are checked next, as plain papermill lets wrong ones pass.
    """
    assert notebooks.slips(path) == []
    prose = notebooks.read(path)["cells"][0]
    assert prose["cell_type"] == "markdown"
    assert re.search(r"\d+ (second|minute)s?", notebooks.source(prose))
    parameters, check, *others = cells_of(path, "code")
    for line in notebooks.source(parameters).splitlines():
        assert re.fullmatch(r"\w+: (int|float|bool|str) = .+  # .+", line), line
    assert f'variants.begin("{path.stem}", globals())' in notebooks.source(check)
    given = notebooks.parameters(path).keys()  # of the one cell with this tag
    for cell in (check, *others):
        names = [n for n in ast.walk(ast.parse(notebooks.source(cell))) if type(n) is ast.Name]
        bound = {name.id for name in names if isinstance(name.ctx, ast.Store)}
        assert not bound & given, notebooks.source(cell)
    compared = [c for c in others if "nbval-check-output" in notebooks.tags(c)]
    assert compared and all(c["outputs"] for c in compared)


@each
def test_presets_and_parameters_agree(path):
    """Every chapter has presets, of its own parameters and their types; quick is as committed."""
    chapter, known = CHAPTERS[path], notebooks.parameters(path)
    assert known.pop("profile").default == "quick"
    for profile in chapters.PROFILES:
        given = chapter.presets[profile].parameters
        types = {name: type(value).__name__ for name, value in given.items()}
        assert types == {name: one.type for name, one in known.items()}
        assert chapter.presets[profile].minutes > 0
    quick = chapter.presets["quick"].parameters
    assert quick == {name: one.default for name, one in known.items()}
    assert all(next(paths.ROOT.glob(pattern), None) for pattern in chapter.inputs), chapter.inputs


def opened(root):
    """Files of the repository that a kernel opened; of a compiled module, its source."""
    names = set((root / house.OPENED).read_text().splitlines())
    sources = {re.sub(r"__pycache__/(\w+)\.[^/]*\.pyc$", r"\1.py", name) for name in names}
    package, data = f"{paths.PACKAGE}/", f"{root / 'data'}/"
    # which run a notebook is, it reads from its chapter's file: a job knows that without the file;
    # and that a recorded run is as it was, from a list of digests
    known = {f"{chapter.file}" for chapter in chapters.found()} | {f"{results.DIGESTS}"}
    own = {name for name in sources if name not in known and Path(name).name not in known}
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


def said(kind, text):
    """An output of text of this kind."""
    if kind in ("stdout", "stderr"):
        return nbformat.v4.new_output("stream", name=kind, text=text)
    return nbformat.v4.new_output("display_data", {kind: text})


ERROR = nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])
METADATA, RUN = "its metadata is not that of all notebooks", "it was not saved from one run of all"
FAILED, PLACE = "was saved with an error or a warning", "shows a path of one machine"
FOLDS = "shows {} rows or lines and does not fold them"
SLIPS = [  # what is done to a notebook and its code cell, what is said of it
    (lambda n, c: n.metadata.update(widgets={}), METADATA),
    (lambda n, c: n.metadata.kernelspec.update(name="my-env"), METADATA),
    (lambda n, c: c.update(execution_count=None), RUN),
    (lambda n, c: c.update(execution_count=2), RUN),
    (lambda n, c: n.cells.append(nbformat.v4.new_code_cell("2", execution_count=1)), RUN),
    (lambda n, c: c.metadata.update(execution={}), r"cell \(1 \+ 1\) has the metadata execution"),
    (lambda n, c: n.cells[0].metadata.update(collapsed=1), "# Sum.*has the metadata collapsed"),
    (lambda n, c: c.update(source="1\n" * 30 + "2"), "has more than 30 lines"),
    (lambda n, c: c.update(source="%time 1"), r"cell \(%time 1\) has a magic"),
    (lambda n, c: c.update(source="# why\nplot();"), r"cell \(plot\(\);\) ends in a semicolon"),
    (lambda n, c: c.update(source="open('../a.csv')"), "has a relative path"),
    (lambda n, c: c.update(LIVE), "is live, and saves a figure"),
    (lambda n, c: c.update(source="open('/home/me/a')"), PLACE),
    (lambda n, c: c.outputs.append(ERROR), FAILED),
    (lambda n, c: c.outputs.append(said("stderr", "careful")), FAILED),
    (lambda n, c: c.outputs.append(said("image/svg+xml", "<svg/>")), "shows an SVG, which differs"),
    (lambda n, c: c.outputs.append(said("text/plain", FIGURE)), "shows a figure as text"),
    (lambda n, c: c.outputs.append(said("text/plain", SERIES)), "prints a series with its dtype"),
    (lambda n, c: c.outputs.append(said("stdout", "1\n" * 36)), FOLDS.format(36)),
    (lambda n, c: c.outputs.append(said("text/html", TABLE)), FOLDS.format(40)),
    (lambda n, c: c.outputs.append(said("stdout", str(paths.ROOT))), PLACE),
]
FIGURE = "<Figure size 840x360 with 2 Axes>"
LIVE = {"source": "plotting.save(fig, 'fig-1')", "metadata": {"tags": ["live"]}}
SERIES, TABLE = "a    1\nName: ρ, dtype: int64", f"<table>{'<tr></tr>' * 40}</table>"


@pytest.mark.parametrize(("spoil", "message"), SLIPS)
def test_slips(tmp_path, spoil, message):
    cell = nbformat.v4.new_code_cell("1 + 1", execution_count=1, outputs=[said("text/plain", "2")])
    cells = [nbformat.v4.new_markdown_cell("# Sum"), cell]
    metadata = nbformat.from_dict(copy.deepcopy(notebooks.METADATA))
    good = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    path = tmp_path / "03-a.ipynb"
    nbformat.write(good, path)
    assert notebooks.slips(path) == []
    spoil(good, cell)
    nbformat.write(good, path)
    assert any(re.search(message, slip) for slip in notebooks.slips(path))


def labels(path, patterns=()):
    found = (f for f in notebooks.inputs(path, patterns) if f.is_relative_to(paths.PACKAGE))
    return {file.relative_to(paths.PACKAGE).as_posix() for file in found}


IMPORTS = [  # code, modules that are inputs, one that is not
    ("import math", [], "__init__.py"),
    ("import reuseprior.errors", ["__init__.py", "errors.py"], "paths.py"),
    ("from reuseprior import paths", ["__init__.py", "paths.py", "errors.py"], "files.py"),
    ("def f(): import reuseprior.contexts", ["contexts/rules/moves.py"], "report/book.py"),
    ("import reuseprior.plotting as p", ["plotting.py", "reuseprior.mplstyle"], "report/book.py"),
    ("%time 1\nfrom reuseprior.report import ledger", ["report/published.py"], "report/book.py"),
]


@pytest.mark.parametrize(("code", "inside", "outside"), IMPORTS)
def test_inputs_are_the_modules_that_it_imports(root, code, inside, outside):
    found = labels(write("03-a", code))
    assert {*inside} <= found and outside not in found


def test_inputs_are_the_files_that_it_is_said_to_read(root):
    path = write("03-a", "1")
    for name in ("a.csv", "b.csv", ".b.csv.1.tmp", "weights.safetensors"):
        (paths.PUBLISHED / name).write_text("")
    for said, names in (
        ({}, {"a.csv", "b.csv"}),  # any data where nothing is said
        ({"inputs": ["data/published/a*"]}, {"a.csv"}),
        ({"inputs": []}, set()),
    ):
        house.chapter("03-a", **said)
        (chapter,) = chapters.found()
        assert {file.name for file in notebooks.inputs(path, chapter.inputs)} == names


def test_the_ledger_depends_on_every_chapter():
    ledger = paths.NOTEBOOKS / "00-ledger.ipynb"
    found = labels(ledger, CHAPTERS[ledger].inputs)
    assert {"chapters/nn_mass.toml", "measures/energy.py"} <= found
    assert {f"chapters/{part}.py" for part in ("counting", "energy")} <= found


def test_figures_and_captions(root):
    path = write(
        "03-a",
        "plotting.save(fig, 'fig-3-1')", "other()", "*A caption\nof $x*y$.*\n\nText.",
        "plotting.save(fig, 'fig-3-2')\nplotting.save(fig, 'fig-3-3')", "*Two.*", "*Not this.*",
        "plotting.save(fig, 'fig-3-4')", "**Bold.** No caption.",
        "plotting.save(fig, 'fig-3-5')",
    )  # fmt: skip
    captions = ["A caption\nof $x*y$.", "Two.", "Two.", "", ""]
    assert notebooks.figures(path) == {f"fig-3-{n}": text for n, text in enumerate(captions, 1)}


def test_gallery(root):
    write("03-a", "plotting.save(fig, 'v2-s')\nplotting.save(fig, 'fig-3-10')", "*Both.*")
    write("04-b", "plotting.save(fig, 'fig-3-2')", "*One.*")
    page = notebooks.gallery("matplotlib 3.11")
    assert re.findall("^## (.*)$", page, re.MULTILINE) == ["fig-3-2", "fig-3-10", "v2-s"]
    assert "![fig-3-2](fig-3-2.svg)\n\nOne. [04-b](../notebooks/04-b.ipynb)" in page
    assert "Drawn with matplotlib 3.11. A figure" in page


REFUSED = [  # cells of a second notebook, message
    (["plotting.save(fig, 'fig-1')", "*Again.*"], "03-a and 04-b both save figure fig-1"),
    (["plotting.save(fig, 'fig-2')", "# Title"], "figure fig-2 of 04-b has no caption"),
    (["plotting.save(fig, names[0])"], "04-b saves a figure whose name is computed"),
    (["for x in"], "the cell 'for x in' of 04-b is not plain Python"),
]


@pytest.mark.parametrize(("cells", "message"), REFUSED)
def test_gallery_refuses(root, cells, message):
    write("03-a", "plotting.save(fig, 'fig-1')", "*One.*")
    write("04-b", *cells)
    with pytest.raises(NotebookError, match=message):
        notebooks.gallery("matplotlib 3.11")


def test_the_gallery_is_current():
    """It has each figure as SVG and as PNG, and none that no notebook saves any more."""
    page = (paths.FIGURES / "README.md").read_text(encoding="utf-8")
    assert page == notebooks.gallery(_drawn_with(paths.FIGURES)), "run make notebooks"
    names = {name for path in NOTEBOOKS for name in notebooks.figures(path)}
    expected = {f"{name}.{kind}" for name in names for kind in ("svg", "png")}
    assert {file.name for file in paths.FIGURES.iterdir()} == expected | {"README.md"}


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


def test_two_copies_are_saved_as_the_same_bytes(root):
    path = write("03-a", "# Title", "x = 1", "print(x)")
    outputs = [said("stdout", "one\ntwo\n"), said("image/png", "YQ==")]
    outputs[1].metadata = {"image/png": {"height": 249.6, "width": 672.0}}
    assert notebooks.save(path, executed(path, *outputs))
    saved = path.read_bytes()
    assert not notebooks.save(path, executed(path, *outputs))
    assert path.read_bytes() == saved and notebooks.slips(path) == []
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
    return said("image/png", b64encode(buffer.getvalue()).decode())


ONE, OTHER = (said("stdout", text) for text in ("0.975\n", "0.981\n"))


KEPT = [  # tags, outputs before, one now, whether those before stay
    ([], [picture(100)], picture(100 + plotting.UNSEEN), True),
    ([], [picture(100)], picture(101 + plotting.UNSEEN), False),
    ([], [ONE], OTHER, False),
    (["live"], [ONE], OTHER, True),
    (["live"], [picture(0)], picture(255), True),
    (["live"], [], OTHER, False),  # cleared, to be renewed
]


@pytest.mark.parametrize(("tags", "before", "now", "is_kept"), KEPT)
def test_what_no_processor_may_change_is_kept(tags, before, now, is_kept, root):
    path = write("03-a", "# Title", "x = 1")
    notebooks.save(path, executed(path, *before))
    made = nbformat.read(path, as_version=4)
    made.cells[-1].metadata.update({"tags": tags} if tags else {})
    nbformat.write(made, path)
    assert notebooks.save(path, executed(path, now)) != is_kept


def test_a_copy_of_other_cells_is_not_saved(root):
    path = write("03-a", "x = 1", "print(x)")
    copied = executed(path)
    write("03-a", "x = 2", "print(x)")
    before = path.read_bytes()
    with pytest.raises(NotebookError, match=r"was not made from .*03-a\.ipynb as it is"):
        notebooks.save(path, copied)
    assert path.read_bytes() == before
