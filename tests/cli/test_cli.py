import csv
import re
import shutil
import sys
from dataclasses import replace
from functools import partial
from importlib import metadata
from math import inf
from pathlib import Path

import pytest
import torchvision

from reuseprior import __version__, cli, paths
from reuseprior.contexts import count_contexts
from reuseprior.measures.comparing import SIZES_DIFFER, WHAT_IT_IS
from reuseprior.report import contents, ledger, reproduce
from reuseprior.report.ledger import Entry
from tests.cli.calling import loads, refused, run, shell
from tests.report import house

COUNT_KEYS = [
    "model", "image_size", "shape", "sharing", "batch_norm", "parameters", "weight_nodes",
    "input_nodes", "output_nodes", "multiply_adds", "log2_contexts", "expected_spread", "entropy",
    "total_surprisal", "P_G", "P_G_spread", "seconds",
]  # fmt: skip
AUDIT_KEYS = [
    "id", "source", "where", "printed", "computed", "kind", "verdict", "interval", "note",
]  # fmt: skip
COMMANDS = "count rank models data train evolve campaign record audit reproduce book".split()

NETS = """
import torch
from torch import nn

def small():
    "Two equal convolutions with batch norms, and a layer that no output depends on."
    print("building")
    layers = [nn.Conv2d(3, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3)]
    layers += [nn.Conv2d(3, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), nn.Flatten(2)]
    net = nn.Sequential(*layers)
    net.spare = nn.Identity()
    net.spare.register_parameter("unused", nn.Parameter(torch.zeros(1200)))
    return net

def spare():
    net = small()
    for i in range(8):
        net[0].register_parameter(f"spare{i}", nn.Parameter(torch.zeros(1000)))
    return net

def linear(): return nn.Linear(16, 4)
def single(): return nn.Linear(1, 1, bias=False)
def failing(): raise OSError("no checkpoint")

class Parts(nn.Module):
    def __init__(self, as_tuple):
        super().__init__()
        self.as_tuple, self.a, self.b = as_tuple, nn.Linear(16, 4), nn.Linear(16, 2)
    def forward(self, x):
        return (self.a(x), self.b(x)) if self.as_tuple else {"a": self.a(x), "b": self.b(x)}

def mapping(): return Parts(as_tuple=False)
def pair(): return Parts(as_tuple=True)
"""


def count(*arguments):
    result = run("count", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return loads(result.stdout)


@pytest.fixture(autouse=True)
def nets(tmp_path, monkeypatch):
    """A module of models in the current directory."""
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("nets", None)


def test_help_ends_in_an_example():
    assert run("--version").stdout == f"reuseprior {__version__}\n"
    listed = run("--help").stdout
    for command in COMMANDS:
        last = run(command, "--help").stdout.strip().splitlines()[-1].strip()
        assert last.startswith(f"Example: reuseprior {command}") and f"\n  {command} " in listed


@pytest.mark.slow
def test_no_code_of_the_current_folder_is_run_but_the_module_that_is_named(tmp_path):
    """Not in the processes that count either; and it stands in for no installed module.

    A file for every module that might be imported says so if it is; `python -m` itself, before
    any code of ours, reads what `runpy` imports.
    """
    code = "import runpy, sys; print(*sys.modules)"
    first = shell("-I", "-c", code, encoding="utf-8").stdout.split()
    names = {name.split("/")[0] for name in metadata.packages_distributions()}
    for name in (names | set(sys.stdlib_module_names)) - {"reuseprior", *first}:
        code = f"import os\nos.write(2, b'PLANTED {name}')\nraise SystemExit('planted')\n"
        (tmp_path / f"{name}.py").write_text(code)
    models = ["resnet20-cifar", "nets:linear", "colorsys:tiny"]  # nothing has imported colorsys
    options = ["--shape", "1,16", "--jobs", "2", "--no-cache"]
    done = shell("-m", "reuseprior", "rank", *models, *options, encoding="utf-8")
    assert done.returncode == 1 and re.search("nets:linear +1×16", done.stdout), done.stderr
    assert "planted" not in done.stderr.lower()
    told = r"module 'colorsys' has no 'tiny'.* \(it was found at .*colorsys\.py\)"
    assert re.search(told, done.stderr)


def test_shells_complete(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["reuseprior"])
    monkeypatch.setenv("PYTHONSAFEPATH", "1")  # which `main` sets for good
    for asked, words, offered in (
        ("source_bash", "", "_completion()"),
        ("complete_bash", "reuseprior ne", "new-study"),
        ("complete_bash", "reuseprior reproduce 04-", "04-counting-contexts 04-parameter-sharing"),
    ):
        monkeypatch.setenv("_REUSEPRIOR_COMPLETE", asked)
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
        with pytest.raises(SystemExit):
            cli.main()
        assert offered in " ".join(capsys.readouterr().out.split())


def test_no_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "PUBLISHED", tmp_path / "nowhere")
    for command in ("audit", "reproduce"):
        refused(run(command), "is not a checkout of reuseprior")


STORES = "stores:10%,weighted,mask"
COUNTED = [  # arguments, and some of what is printed
    (
        "efficientnetv2-b0 --image-size 64",
        {"model": "efficientnetv2-b0", "image_size": 64, "shape": [1, 3, 64, 64],
         "sharing": "none", "batch_norm": "learnable", "parameters": 7_139_704,
         "weight_nodes": 7_139_704, "input_nodes": 3 * 64 * 64, "output_nodes": 1000},
    ),
    (f"wrn-10-2 --image-size 16 --sharing {STORES}",
     {"sharing": STORES, "parameters": 30_370, "weight_nodes": 303_706}),
    ("nets:small --image-size 8 --sharing all_but_bn", {"parameters": 93, "weight_nodes": 174}),
    ("nets:mapping --shape 1,16", {"image_size": None, "output_nodes": 6, "parameters": 102}),
    ("nets:mapping --shape 1,16 --output b", {"output_nodes": 2, "parameters": 34}),
    ("nets:pair --shape 1,16 --output 1", {"output_nodes": 2, "parameters": 34}),
    # One parameter is no surprise: P_G is minus infinity, which JSON lacks.
    ("nets:single --shape 1,1", {"P_G": None}),
]  # fmt: skip


def test_count_json():
    for arguments, expected in COUNTED:
        one = count(*arguments.split())
        assert list(one) == COUNT_KEYS and one["seconds"] > 0 and one["multiply_adds"] > 0
        assert {key: one[key] for key in expected} == expected, arguments
    found = count("torchvision:squeezenet1_1", "--batch-norm", "all")
    model = torchvision.models.squeezenet1_1()
    expected = count_contexts(model, (1, 3, 224, 224), batch_norm="all").quantities().to_dict()
    assert found["image_size"] == 224 and found.items() >= expected.items()


def test_count_text():
    """What a factory prints goes to standard error; what was left out is said in a few lines."""
    result = run("count", "nets:small", "--image-size", 8, "--sharing", "all_but_bn")
    assert "building" in result.stderr and "building" not in result.stdout
    label = "\nnets:small, input 1×3×8×8, sharing all_but_bn, batch norm learnable, "
    assert result.exit_code == 0 and label in result.stdout and "E[log2 |C|]" in result.stdout
    left_out = "left out: 1,200 of spare.unused (no operator uses it)\n"
    assert result.stdout.endswith(f"{left_out}left out in all: 1,200 entries\n")
    lines = run("count", "nets:spare", "--image-size", 8).stdout.splitlines()
    more = ["left out: … and some of 4 more tensors", "left out in all: 9,200 entries"]
    assert lines[-2:] == more and sum(line.startswith("left out") for line in lines) == 7


@pytest.mark.slow
def test_tokens():
    """A language model has a length, and no image size in any label."""
    pytest.importorskip("transformers")
    found, embedded, last = (
        count("hf:gpt2", "--tokens", 8, *more) for more in ([], ["--embedded"], ["--last"])
    )
    assert found["image_size"] is None and found["input_nodes"] == 8
    assert embedded["input_nodes"] == 8 * 768
    assert 8 * last["output_nodes"] == found["output_nodes"]
    asked = run("count", "hf:gpt2", "--image-size", 224)
    refused(asked, "takes tokens, not an image: give --tokens")
    text = run("count", "hf:gpt2", "--tokens", 8, "--until", "transformer.h.0").stdout
    assert "hf:gpt2, input 1×8," in text


def test_rank_json():
    models = ["torchvision:resnet18", "V2-B0", "nets:small"]
    found = loads(run("rank", *models, "--image-size", 64, "--json").stdout)
    assert [c["model"] for c in found] == ["V2-B0", "torchvision:resnet18", "nets:small"]
    assert all(list(c) == [*COUNT_KEYS, "score", "terms"] for c in found)
    assert all(sum(c["terms"].values()) == pytest.approx(c["score"]) for c in found)
    scores = [c["P_G_spread"] for c in found]
    assert scores == sorted(scores, reverse=True)
    nothing = run("rank", "v2-b9", "--json")
    assert nothing.exit_code == 1 and loads(nothing.stdout) == []


def test_rank_says_how_often_such_gaps_are_right_or_the_terms_of_r6_and_when_sizes_differ():
    models = ["resnet20-cifar", "V2-B0"]
    result = run("rank", *models, "--image-size", 32)
    pair = next(line for line in result.stdout.splitlines() if "V2-B0 resnet20-cifar" in line)
    assert "bits, right in" in pair and "disagree, ×" in pair and WHAT_IT_IS in result.stderr
    assert SIZES_DIFFER not in result.stderr and SIZES_DIFFER in run("rank", *models).stderr
    result = run("rank", *models, "--r6")
    assert result.stdout.startswith("R6 and its terms, bits, for 1,281,167 training examples\n")


def test_rank_shows_the_others_when_one_cannot_be_counted():
    result = run("rank", "nets:failing", "nets:small", "v2-b9", "--image-size", 8)
    assert result.exit_code == 1
    assert "nets:small 1×3×8×8" in result.stdout
    assert result.stdout.endswith("\nsharing none, batch norm learnable\n")
    assert "right in" not in result.stdout  # one model has no neighbour
    first, second = (s for s in result.stderr.splitlines() if s.startswith("not counted: "))
    assert first.startswith("not counted: nets:failing: model 'nets:failing' cannot be built")
    assert second.startswith("not counted: v2-b9: unknown model 'v2-b9'")


def test_models_lists_what_the_readme_names():
    shown = run("models").stdout
    names = [line.split()[0] for line in shown.splitlines()]
    assert names[0] == "efficientnetv2-b0"
    sources = (
        "torchvision:NAME timm:NAME hf:TYPE nas-bench-201:CELL nas-bench-macro:DIGITS "
        "transnas-macro:DIGITS transnas-micro:CELL flexibert:ENCODER random-cells:NUMBER "
        "package.module:factory 'torchvision:resnet*'"
    )
    assert names[-11:] == sources.split()
    assert "resnet50-v1              image size 384, also ResNet-50\n" in shown
    readme = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    given = re.findall(r"^reuseprior (?:count|rank|train) (.+)$", readme, re.MULTILINE)
    words = [word for line in given for word in line.partition(" --")[0].split()]
    assert len(words) >= 3
    for word in words:
        source = word.strip("'").partition(":")[0]
        listed = f"{source}:" in shown if ":" in word else f" {word}\n" in shown
        assert listed or source == "my_models", word


REASON = "the text says 2.0 on page 5; " * 8
ENTRIES = [
    Entry("t-1/a", "thesis", "thesis, table 1, row 1", "1.0", 1.04, "computed", "reproduced",
          (0.95, 1.05)),
    Entry("t-1/b", "thesis", "thesis, table 1, row 2", "2.0", 3.0, "computed", "erratum",
          (1.95, 2.05), REASON),
    Entry("t-2/a", "thesis", "thesis, table 2", ">3.0", None, "measured", "open", (3.0, inf)),
    Entry("t-2/b", "thesis", "thesis, table 2", "4.0", inf, "computed", "not reproduced",
          (3.95, 4.05)),
    Entry("t-2/c", "thesis", "thesis, table 2", "5", 5, "setting", "used"),
]  # fmt: skip
TABLES = ("thesis, table 1", "thesis, table 2")
ONE = ["--only", TABLES[0]]


def parts():
    """The two tables of the ledger; the first cannot be made of the second's."""
    of = {table: [e for e in ENTRIES if e.where.startswith(table)] for table in TABLES}
    return {table: partial(list, entries) for table, entries in of.items()}


@pytest.fixture
def committed(tmp_path, monkeypatch):
    """A ledger of five numbers, whose committed verdicts are in the returned file."""
    monkeypatch.setattr(ledger, "parts", parts)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "PUBLISHED", tmp_path / "data" / "published")
    paths.PUBLISHED.mkdir(parents=True)
    commit({})
    return tmp_path / "data" / "ledger.csv"


def commit(verdicts):
    """Write a ledger whose verdicts are as given, and else those of ENTRIES.

    An id that these lack is `quoted` in table 2; None for a verdict leaves the row out.
    """
    entries = {e.id: e for e in ENTRIES}
    for identity, verdict in verdicts.items():
        new = Entry(identity, "thesis", "thesis, table 2", "6", None, "quoted", "confirmed")
        entries[identity] = replace(entries.get(identity, new), verdict=verdict)
    ledger.update([e for e in entries.values() if e.verdict])


def test_audit(committed):
    result = run("audit")
    assert (result.exit_code, result.stderr) == (0, "")
    total = "5 printed numbers: 1 ✓, 2 ✗, 1 …, 1 inputs"
    assert result.stdout.splitlines()[-3:] == [total, str(ENTRIES[1]), str(ENTRIES[3])]
    found = loads(run("audit", "--json").stdout)
    assert all(list(entry) == AUDIT_KEYS for entry in found)
    assert [entry["computed"] for entry in found] == [1.04, 3.0, None, None, 5]
    intervals = [[0.95, 1.05], [1.95, 2.05], [3.0, None], [3.95, 4.05], None]
    assert [entry["interval"] for entry in found] == intervals
    assert found[1]["note"] == REASON and found[1]["kind"] == "computed"


def test_audit_of_a_place(committed, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    result = run("audit", *ONE)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    shown = (
        "thesis, table 1, row 1:\n  t-1/a\n"
        "    printed 1.0  computed 1.0400  interval 0.95 to 1.05  ✓ computed: reproduced\n"
        "thesis, table 1, row 2:\n  t-1/b\n"
        "    printed 2.0  computed 3.0000  interval 1.95 to 2.05  ✗ computed: erratum"
    )
    assert lines[:6] == shown.splitlines()
    reason = lines[6:-2]
    assert len(reason) > 3 and all(len(line) <= 60 for line in reason)
    assert " ".join(" ".join(reason).split()) == REASON.strip()
    assert lines[-2:] == ["", "2 printed numbers: 1 ✓, 1 ✗, 0 inputs"]
    made = {**parts(), TABLES[0]: lambda: pytest.fail("is not asked for")}
    monkeypatch.setattr(ledger, "parts", lambda: made)
    found = loads(run("audit", "--only", TABLES[1], "--json").stdout)
    assert [entry["id"] for entry in found] == ["t-2/a", "t-2/b", "t-2/c"]


def test_audit_refuses(committed):
    before = committed.read_bytes()
    told = "Error: no number is printed at 'thesis, table 9'; there are 'thesis"
    refused(run("audit", "--only", "thesis, table 9"), told)
    refused(run("audit", *ONE, "--update"), "Error: --update commits the whole ledger: leave")
    assert committed.read_bytes() == before


WORSE = {"t-1/b": "unsaid", "t-2/b": "erratum", "t-9": "confirmed"}
TOLD = [
    "t-1/b: verdict was 'unsaid' and is now 'erratum'",
    "t-2/b: verdict was 'erratum' and is now 'not reproduced'",
    "t-9 was confirmed and is no longer in the ledger",
]
BETTER = "t-1/a: verdict was 'erratum' and is now 'reproduced'"
CHANGED = [  # committed verdicts, arguments, and what is said: that of the places asked for only
    *((WORSE, arguments, TOLD) for arguments in ([], ["--json"], [*ONE, "--only", TABLES[1]])),
    (WORSE, ONE, TOLD[:1]),
    ({**WORSE, "t-1/b": "erratum"}, ONE, []),
    # better fails as well, or a ledger of low verdicts would let all later ones pass
    ({"t-1/a": "erratum"}, [], [BETTER]),
    ({"t-1/a": None}, [], ["t-1/a is reproduced and is not in data/ledger.csv"]),
]  # fmt: skip


def test_audit_fails_where_a_verdict_changed(committed):
    for verdicts, arguments, told in CHANGED:
        commit(verdicts)
        result = run("audit", *arguments)
        assert (result.exit_code, result.stderr.splitlines()) == (int(bool(told)), told)
    result = run("audit", "--update")
    assert result.exit_code == 0 and CHANGED[-1][-1][0] in result.stderr
    with committed.open(newline="") as file:
        assert [row["verdict"] for row in csv.DictReader(file)] == [e.verdict for e in ENTRIES]
    committed.write_text("")
    assert run("audit", "--update").exit_code == run("audit").exit_code == 0


GONE = [  # what happens to the committed text, and what is said
    (lambda text: None, r"ledger\.csv is missing: restore it with git, or write it anew with"),
    (lambda text: Path("a folder"), r"cannot be read \(\[Errno 21\] Is a directory"),
    (lambda text: "", r"ledger\.csv cannot be read \(not enough values"),
    (lambda text: text.splitlines()[0] + "\n", r"ledger\.csv has no row: restore it"),
    (lambda text: text.replace("verdict", "verdikt"), r"has not the columns id, source, where"),
    (lambda text: text + text.splitlines()[1] + "\n", r"has the id 't-1/a' twice: restore"),
    (lambda text: text[:-12], r"ledger\.csv has \d cells in row 5: restore"),
    (lambda text: text.replace("reproduced", "fine"), r"'t-1/a' that it is 'computed' and 'fine'"),
    (lambda text: text.replace("setting", "wish"), r"'t-2/c' that it is 'wish' and 'used', which"),
    (lambda text: text.replace("t-1/a", "a" * 200_000), r"\(field larger than field limit"),
    (lambda text: text.encode("utf-16"), r"ledger\.csv cannot be read \('utf-8' codec"),
]


@pytest.mark.parametrize(("damage", "sentence"), GONE)
def test_audit_fails_where_there_is_nothing_to_compare_with(committed, damage, sentence):
    damaged = damage(committed.read_text())
    committed.unlink()
    match damaged:
        case Path():
            committed.mkdir()
        case str() | bytes():
            committed.write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
    for arguments in ([], ["--json"], ONE):
        refused(run("audit", *arguments), sentence, code=1)


@pytest.fixture
def chapters(committed, tmp_path, monkeypatch):
    """A repository of its own: a chapter that needs seed 1, and a ledger; how they run is stubbed.

    That a batch runs what it should is test_reproduce.py's subject, which pages are renewed
    test_contents.py's.
    """
    house.build(tmp_path, monkeypatch)
    paths.FIGURES.mkdir()
    ledger.save(ENTRIES)
    for name in ("03-broken", "00-ledger"):
        house.notebook(name, "profile = 'quick'; seed = 0", "assert seed")
        house.chapter(name, last=name == "00-ledger")

    def batch(jobs, parallel):
        for job in jobs:
            job.output.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(job.notebook, job.output)
            is_broken = job.name == "03-broken" and job.parameters.get("seed") != 1
            yield reproduce.Outcome(job, 1.5, "assert seed" if is_broken else "")

    monkeypatch.setattr(reproduce, "batch", batch)
    monkeypatch.setattr(contents, "renew", lambda: [paths.ROOT / "data" / "tables.md"])


def test_reproduce(chapters):
    needs = "not run yet (about 1 min on two cores)"
    expected = f"03-broken: {needs}\n00-ledger: {needs}\n"
    assert run("reproduce", "--dry-run").stdout == expected
    commit({"t-1/a": "erratum", "t-1/b": "unsaid"})
    result = run("reproduce")
    broken = paths.BUILD / "failed" / "03-broken.ipynb"
    assert (result.exit_code, result.stderr.splitlines()) == (1, [
        "running 03-broken, 00-ledger: at most about 2 min on two idle cores",
        "✗ 03-broken 1.5 s", "✓ 00-ledger 1.5 s",
        f"03-broken failed: assert seed; see {broken}",
    ])  # fmt: skip
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert lines[1] == "1 of 2 chapters are done" and "5 printed numbers: 1 ✓, 2 ✗" in lines[2]
    assert "not as committed: 2" in lines and {TOLD[0], BETTER} <= {*lines}
    assert f"executed notebooks: {paths.BUILD / 'notebooks'}" in lines
    assert len(lines) < 24 and max(map(len, lines)) < 200  # a page of a terminal
    assert run("reproduce", "--only", "03-broken", "-p", "seed=1").exit_code == 0
    result = run("reproduce", "00-ledger", "--save")
    assert result.exit_code == 0 and (paths.FIGURES / "README.md").exists()
    slip = "00-ledger: it was not saved from one run of all cells in order"
    assert result.stderr.splitlines()[2:] == ["saved: 00-ledger, data/tables.md", slip]


def test_reproduce_refuses_before_anything_runs(chapters):
    for arguments, message in (
        ("03-broken -p seed=1.5", "parameter 'seed' of 03-broken is int, not '1.5'"),
        ("--only 03-brocken", r"unknown chapter '03-brocken', did you mean '03-broken'\?"),
        ("--save --profile full", "--save is for the quick profile without -p"),
        ("03-broken --save -p seed=1", "--save is for the quick profile without -p"),
    ):
        refused(run("reproduce", *arguments.split()), f"Error: {message}")
    assert not (paths.BUILD / "notebooks").exists()
