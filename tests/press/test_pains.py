"""Ten ways in which repositories of notebooks hurt their readers: each would turn a test red."""

import ast
import json
import os

import nbformat
import pytest

from reuseprior import paths, plotting
from reuseprior.errors import UserError
from reuseprior.press import chapters, notebooks, reproduce
from tests.press import house

CHAPTERS = [chapter.notebook for chapter in chapters.found()]
PARAMETERS = "profile: str = 'quick'\nrate: float = 1.0"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    house.build(tmp_path, monkeypatch)
    return paths.NOTEBOOKS


def chapter(folder, *cells, tag="parameters", kernel="python3", **given):
    """A chapter of these code cells, planned."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    made.cells[0].metadata["tags"] = [tag]
    made.metadata["kernelspec"] = {"name": kernel, "display_name": kernel, "language": "python"}
    nbformat.write(made, folder / "03-a.ipynb")
    house.chapter("03-a", **given)
    return reproduce.plan()[0]


def spoilt(path, folder, spoil):
    """What is said of a committed notebook of which every code cell was spoilt."""
    notebook = notebooks.read(path)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            spoil(cell)
    (folder / path.name).write_text(json.dumps(notebook))
    return " ".join(notebooks.slips(folder / path.name))


@pytest.mark.slow
def test_1_a_green_run_that_ran_nothing(folder):
    """The kernel leaves a cell at an unknown magic, and a notebook at sys.exit()."""
    for source in ("%nonsense\nraise ValueError", "import sys; sys.exit()\nraise ValueError"):
        run = reproduce.run(chapter(folder, PARAMETERS, source, "1"))
        assert run.failure.startswith("cell In [2] (")
    assert "has a magic" in spoilt(CHAPTERS[0], folder, lambda c: c.update(source=["%time 1"]))


def test_2_stripped_outputs_compare_nothing(folder):
    stripped = spoilt(CHAPTERS[0], folder, lambda c: c.update(execution_count=None))
    assert "it was not saved from one run of all cells" in stripped
    for path in CHAPTERS:
        cells = notebooks.read(path)["cells"]
        compared = [c for c in cells if "nbval-check-output" in notebooks.tags(c)]
        assert compared and all(c["outputs"] for c in compared), path.stem


def test_3_parameters_that_do_not_arrive(folder):
    with pytest.raises(UserError, match="has 0 cells tagged `parameters`"):
        chapter(folder, PARAMETERS, tag="parameter")
    chapter(folder, PARAMETERS)
    with pytest.raises(UserError, match=r"no parameter 'rat', did you mean 'rate'\?"):
        reproduce.plan(["03-a"], parameters={"rat": "2"})


@pytest.mark.slow
def test_4_types_that_change_on_the_way(folder):
    """TOML reads 1e-3 as a float and 1 as none, and Snakemake reads its configuration as YAML."""
    cli = pytest.importorskip("snakemake.cli")
    given = chapter(folder, PARAMETERS, quick="minutes = 1\nparameters = {rate = 1e-3}")
    assert given.parameters["rate"] == 0.001
    with pytest.raises(UserError, match=r"gives 1 \(int\): write it as 1.0e-3 or 1.0"):
        chapter(folder, PARAMETERS, quick="minutes = 1\nparameters = {rate = 1}")
    values = {"a": 1e-5, "b": "010", "c": "no", "d": True, "e": 'a "b" \\n ü, [x]: {y}', "f": -0.0}
    job = reproduce.Job(given.chapter, values)
    (order,) = cli.parse_config([f"jobs={json.dumps([job.order])}"])["jobs"]
    assert repr(reproduce.Job.ordered(order).parameters) == repr(values)


def test_5_three_tools_three_working_directories(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = chapter(folder, PARAMETERS, "import os; os.getcwd()")
    assert reproduce.run(job).failure == ""
    shown = notebooks.read(job.output)["cells"][-1]["outputs"][0]["data"]["text/plain"]
    assert ast.literal_eval("".join(shown)) == str(folder)
    relative = spoilt(CHAPTERS[0], folder, lambda c: c.update(source=["open('../data/a.csv')"]))
    assert "has a relative path" in relative


def test_6_a_semicolon_silences_in_one_tool_only(folder):
    assert "ends in a semicolon" in spoilt(CHAPTERS[0], folder, lambda c: c["source"].append(";"))


def test_7_an_svg_differs_each_run(folder, tmp_path):
    svg = {"output_type": "display_data", "data": {"image/svg+xml": "<svg/>"}, "metadata": {}}
    assert "shows an SVG" in spoilt(CHAPTERS[0], folder, lambda c: c["outputs"].append(svg))
    drawn = []
    for _ in range(2):
        figure = plotting.Figure()
        figure.subplots().fill_between([0, 1], [1, 2], hatch="/")
        drawn.append([file.read_bytes() for file in plotting.save(figure, "a", folder=tmp_path)])
    assert drawn[0] == drawn[1]


def test_8_every_run_is_a_diff(folder):
    """Times, ids and kernels of a run do not reach the saved notebook."""
    original = CHAPTERS[0]
    notebook = notebooks.read(original)
    notebook["metadata"] = {"papermill": {"start_time": os.urandom(4).hex()}}
    for cell in notebook["cells"]:
        cell["id"] = os.urandom(4).hex()
        cell["metadata"]["execution"] = {"iopub.status.busy": os.urandom(4).hex()}
    executed, copy = folder / "executed.ipynb", folder / original.name
    executed.write_text(json.dumps(notebook))
    copy.write_bytes(original.read_bytes())
    assert not notebooks.save(copy, executed)


def test_9_a_kernel_that_is_not_on_this_machine(folder):
    assert reproduce.run(chapter(folder, PARAMETERS, kernel="thesis-env")).failure == ""
    for path in CHAPTERS:
        assert notebooks.read(path)["metadata"] == notebooks.METADATA
    assert notebooks.METADATA["kernelspec"]["name"] == "python3"


def test_10_nobody_knows_how_long_it_takes():
    for chapter in chapters.found():
        assert all(chapter.presets[profile].minutes > 0 for profile in chapters.PROFILES)
