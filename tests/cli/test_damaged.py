"""Every JSON file with every field of another type: a sentence, exit code not 0, nothing believed.

Hypothesis picks a file, a field at any depth, and what stands there instead. What can be made anew
at once (counts in the cache, records of notebooks) is not believed either, and is made anew.
"""

import copy
import json
import shutil
import sys
from functools import cache
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reuseprior import paths, results, schemas
from reuseprior import revolver as rv
from reuseprior.measures import measuring
from reuseprior.report import ledger, notebooks, reproduce
from tests.cli.calling import refused, run

MANY = settings(
    deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
OTHERS = [None, True, 7, -1.5, "text", [], ["text"], {}, {"a": 1}, 10**30, [[]], ""]
COMMIT = "1234567"


def kind(value):
    return "number" if type(value) in (int, float) else type(value).__name__


def fields(value, path=()):
    """The path of every field, those in lists too, and of the whole."""
    yield path
    inner = value.items() if isinstance(value, dict) else ()
    for key, below in enumerate(value) if isinstance(value, list) else inner:
        yield from fields(below, (*path, key))


def damaged(whole):
    """Every copy with something of another type in a field: the field, that, and the copy."""
    for path, other in product(fields(whole), OTHERS):
        root = [copy.deepcopy(whole)]
        place, key = root, 0
        for step in path:
            place, key = place[key], step
        if kind(place[key]) != kind(other):
            place[key] = other
            yield path, other, root[0]


@cache
def damages(text):
    return st.sampled_from([*damaged(json.loads(text))])


RUNS = {  # what makes them
    "train": ["train", "nets:net", "--set", "epochs=2", "--set", "train_images=100", "--set",
              "test_images=50", "--set", "bn_momentum=0.01", "--set", "width=1"],
    "evolve": ["evolve", "quick", "--set", "population=4", "--set", "sample=2", "--set",
               "generations=1", "--set", "minimum_batches=1", "--set", "maximum_batches=1", "--set",
               "replacements=1"],
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished training and a finished search, as if of a clean commit."""
    folder = tmp_path_factory.mktemp("campaign")
    (folder / "nets.py").write_text(
        "from torch.nn import *\ndef net(): return Sequential(Flatten(), Linear(768, 10))\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(results, "commit", lambda: COMMIT)
        for name, arguments in RUNS.items():
            done = run(*arguments, "--output", folder / "made" / name)
            assert done.exit_code == 0, done.stderr
        yield folder / "made"
    sys.modules.pop("nets", None)


@pytest.fixture
def here(made, monkeypatch, tmp_path):
    monkeypatch.chdir(made.parent)
    monkeypatch.setattr(results, "commit", lambda: COMMIT)
    monkeypatch.setattr(results, "_is_here", lambda commit: commit == COMMIT)
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    return made


def copied(here, name):
    """The folder of a copy of a run."""
    folder = here.parent / "copy" / name
    shutil.rmtree(folder, ignore_errors=True)
    return shutil.copytree(here / name, folder)


@pytest.mark.parametrize("name", RUNS)
def test_what_is_whole_is_recorded_and_resumed(here, name):
    """Or the test below would show nothing."""
    folder = copied(here, name)
    assert run("record", folder).exit_code == 0
    assert (paths.RESULTS / "copy" / name / "summary.json").exists()
    assert run(*RUNS[name], "--output", folder, "--resume").exit_code == 0


# null may stand there, or it is a list of what the run had: what is missing claims nothing
OPEN = {("reason",), ("data_checksum",), ("commits", 0), ("test_loss",), ("test_accuracy",),
        ("images_per_second",), ("mean_validation_accuracy",)}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("file", ["summary.json", "config.json"])
@pytest.mark.parametrize("name", RUNS)
@settings(MANY, max_examples=20)
@given(choice=st.data())
def test_no_damaged_run_is_recorded_or_resumed(here, file, name, choice):
    path, _, broken = choice.draw(damages((here / name / file).read_text()))
    if file == "summary.json" and (path in OPEN or path[:1] == ("remembered",)):
        return
    folder = copied(here, name)
    (folder / file).write_text(json.dumps(broken))

    def files():
        return {p.name: p.read_bytes() for p in folder.glob("*.*") if p.suffix != ".lock"}

    before = files()
    refused(run("record", folder))
    assert not paths.RESULTS.exists()
    refused(run(*RUNS[name], "--output", folder, "--resume"))
    assert files() | before == files()


NET = rv.blocks.residual([rv.blocks.unit(rv.blocks.conv((8, 4, 4), 8)) for _ in range(2)])
rv.settle(NET, rv.Tags())


@settings(MANY, max_examples=200)
@given(damages(NET.to_json()))
def test_a_damaged_blueprint_is_refused_or_is_another_whole_one(choice):
    try:
        read = rv.Blueprint.from_json(json.dumps(choice[-1]))
        rv.check(read)
    except rv.BlueprintError as error:
        assert "\n" not in str(error)
        return
    # what is left open, as a tag: it says what the text says, and all can be done with it
    assert rv.Blueprint.from_json(read.to_json()).to_data() == read.to_data()
    assert str(rv.tree(read)) and rv.tree(read)._repr_html_() and rv.mutations(read) is not None
    rv.Registry(device="meta").build(read)


def test_a_damaged_count_in_the_cache_is_counted_anew(tmp_path):
    conventions = measuring.Conventions(image_size=32)
    whole = measuring.measure("resnet20-cifar", conventions, tmp_path).quantities
    (place,) = tmp_path.iterdir()
    text = place.read_bytes()
    broken = [
        json.dumps(broken).encode()
        for path, other, broken in damaged(json.loads(text))
        if not (path and other is None)  # null is a logarithm of nothing
    ]
    for content in (*broken, b"", text[:-20], b"\xff", b"[" * 10**5):
        place.write_bytes(content)
        assert measuring._kept(place) is None
    assert measuring.measure("resnet20-cifar", conventions, tmp_path).quantities == whole


NOTEBOOK = {
    "cells": [
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": ["seed = 0"],
         "id": "a", "execution_count": 1, "outputs": []},
        {"cell_type": "markdown", "metadata": {}, "source": "# A title", "id": "b"},
    ],
    "metadata": {}, "nbformat": 4, "nbformat_minor": 5,
}  # fmt: skip


def test_a_damaged_notebook_is_one_sentence(tmp_path):
    path = tmp_path / "03-a.ipynb"
    for *_, broken in damaged(NOTEBOOK):
        path.write_text(json.dumps(broken))
        for read in (notebooks.parameters, notebooks.digest, notebooks.figures):
            try:
                read(path)
            except notebooks.NotebookError as error:
                assert "03-a" in str(error)


STAMP = {"seconds": 1.5, "failure": "", "facts": {"Python": "3.11", "parameter seed": "0"},
         "products": {"figures/fig-1.svg": "0"}}  # fmt: skip


def test_a_damaged_record_of_a_notebook_is_not_believed(tmp_path):
    path = tmp_path / "03-a.0.json"
    for *_, broken in damaged(STAMP):
        path.write_text(json.dumps(schemas.sealed(broken) if isinstance(broken, dict) else broken))
        assert reproduce._record(path) is None, broken


ENTRY = ledger.Entry("a", "thesis", "thesis, table 1", "1.0", 1.0, "computed", "reproduced", (0, 2))


def test_a_damaged_ledger_of_a_build_is_one_sentence(tmp_path, monkeypatch):
    """Cut anywhere but before its last letter, with another verdict, or a row twice or none."""
    monkeypatch.setattr(paths, "BUILD", tmp_path)
    path = ledger.save([ENTRY])
    (row,) = ledger.saved()
    assert (row["id"], row["computed"], row["interval"]) == ("a", "1", "0 to 2")
    text = path.read_text()
    head, line = text.splitlines()
    cut = [text[:n] for n in range(len(text) - 1)]
    for broken in (*cut, text.replace("reproduced", "reproduce"), f"{text}{line}\n", f"{head}\n"):
        path.write_text(broken)
        with pytest.raises(ledger.LedgerError, match=r"ledger\.csv .*: delete it and reprodu"):
            ledger.saved()
