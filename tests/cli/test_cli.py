import csv
import json
import os
import re
import subprocess
import sys
from importlib import metadata
from math import inf

import nbformat
import pytest
import torchvision
from typer.testing import CliRunner

from reuseprior import __version__, paths
from reuseprior.cli import app
from reuseprior.contexts import count_contexts
from reuseprior.measures.comparing import SIZES_DIFFER
from reuseprior.press import contents, ledger, reproduce
from reuseprior.press.ledger import Entry
from tests.press import house

COUNT_KEYS = [
    "model", "image_size", "shape", "sharing", "batch_norm", "parameters", "weight_nodes",
    "input_nodes", "output_nodes", "multiply_adds", "log2_contexts", "expected_spread", "entropy",
    "total_surprisal", "P_G", "P_G_spread", "seconds",
]  # fmt: skip
AUDIT_KEYS = [
    "id", "source", "where", "printed", "computed", "kind", "verdict", "window", "note",
]  # fmt: skip
COMMANDS = [
    "count", "rank", "models", "data", "train", "evolve", "record", "audit", "reproduce", "book",
]  # fmt: skip

NETS = """
import sys
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


def linear():
    return nn.Linear(16, 4)


def single():
    return nn.Linear(1, 1, bias=False)


class Parts(nn.Module):
    def __init__(self, as_tuple):
        super().__init__()
        self.as_tuple, self.a, self.b = as_tuple, nn.Linear(16, 4), nn.Linear(16, 2)

    def forward(self, x):
        return (self.a(x), self.b(x)) if self.as_tuple else {"a": self.a(x), "b": self.b(x)}


def mapping():
    return Parts(as_tuple=False)


def pair():
    return Parts(as_tuple=True)


def failing():
    raise OSError("no checkpoint\\nat my/path")


def leaving():
    sys.exit(0)
"""


def run(*arguments):
    return CliRunner().invoke(app, arguments)


def shell(*arguments):
    """Python in a process of its own, which PYTHONPATH alone tells where the package is."""
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, env=environment, encoding="utf-8")


def loads(text):
    """Strict JSON: NaN and Infinity are errors."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


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


# Help and bad use ------------------------------------------------------------------------------


def test_version():
    assert run("--version").stdout == f"reuseprior {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_in_an_example(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    last = result.stdout.strip().splitlines()[-1].strip()
    assert last.startswith(f"Example: reuseprior {command}")


def planted(folder):
    """Files that stand in for every module that might be imported, and say so if one is."""
    names = {name.split("/")[0] for name in metadata.packages_distributions()}
    for name in (names | set(sys.stdlib_module_names)) - {"reuseprior"}:
        code = f"import os\nos.write(2, b'PLANTED {name}')\nraise SystemExit('planted')\n"
        (folder / f"{name}.py").write_text(code)


@pytest.mark.parametrize(
    "arguments",
    [
        ["count", "resnet20-cifar"],
        pytest.param(
            [
                "rank",
                "resnet20-cifar",
                "nets:linear",
                "--shape",
                "1,16",
                "--jobs",
                "2",
                "--no-cache",
            ],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_no_code_of_the_current_folder_is_run_but_the_module_that_is_named(tmp_path, arguments):
    planted(tmp_path)
    done = shell("-m", "reuseprior", *arguments)
    assert "PLANTED" not in done.stderr and "planted" not in done.stderr
    assert done.returncode == (1 if "rank" in arguments else 0), done.stderr


@pytest.mark.slow
def test_a_module_of_the_current_folder_stands_in_for_no_installed_one(tmp_path):
    planted(tmp_path)
    done = shell("-m", "reuseprior", "count", "colorsys:tiny")  # nothing has imported it
    assert done.returncode == 2 and "PLANTED" not in done.stderr
    assert re.search(
        r"module 'colorsys' has no 'tiny'.* \(it was found at .*colorsys\.py\)", done.stderr
    )


def test_python_m_from_a_checkout_starts_quickly():
    result = shell("-X", "importtime", "-m", "reuseprior", "--help")
    assert result.returncode == 0
    assert result.stdout.startswith("Usage: reuseprior ")
    assert all(f"\n  {command} " in result.stdout for command in COMMANDS)
    imported = {line.split("|")[-1].strip() for line in result.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & {"torch", "numpy", "pandas", "papermill"}


BAD_USE = [  # arguments, message
    (["count"], "Missing argument 'MODEL'."),
    (["cuont"], "No such command 'cuont'"),
    (["count", "V2-B0", "--sharing", "some"], "unknown sharing 'some', did you mean"),
    (["count", "V2-B0", "--batch-norm", "some"], "'some' is not one of 'learnable', 'all'"),
    (["count", "V2-B0", "--image-size", "big"], "Invalid value for '--image-size'"),
    (["count", "V2-B0", "--image-size", "0"], "Invalid value for '--image-size'"),
    (["count", "V2-B0", "--shape", "1,3,x"], "--shape '1,3,x' is not a list of whole numbers"),
    (["count", "V2-B0", "--shape", "1,3,0,0"], "(1, 3, 0, 0) is not a tuple of positive integers"),
    (
        ["count", "V2-B0", "--shape", "1,3,64,64", "--image-size", "64"],
        "--image-size and --shape exclude each other",
    ),
    (["count", "hf:gpt2", "--tokens", "8", "--shape", "1,8"], "--tokens excludes --shape and"),
    (["count", "V2-B0", "--tokens", "8"], "model 'V2-B0' takes no tokens"),
    (["count", "V2-B0", "--embedded"], "'V2-B0' is given no tokens, so that no embeddings can be"),
    (["count", "v2-b9"], "unknown model 'v2-b9', did you mean"),
    (["count", "torchvision:resnet"], "torchvision has no classifier 'resnet', did you mean"),
    (["count", "nets:nothing"], "module 'nets' has no 'nothing'"),
    (["count", "nets:failing"], r"model 'nets:failing' cannot be built: OSError('no checkpoint"),
    (["count", "nets:leaving"], "model 'nets:leaving' cannot be built: SystemExit(0)"),
    (["count", "nets:linear"], "The model"),
    (["count", "nets:mapping", "--shape", "1,16", "--output", "c"], "no part 'c'; it offers"),
    (["rank"], "Missing argument 'MODEL"),
    (["reproduce", "-p", "seed"], "-p 'seed' is not name=value: write it as -p seed=1"),
    (["reproduce", "-p", "seed=1", "-p", "seed=2"], "-p seed is given twice"),
    (["reproduce", "--profile", "slow"], "'slow' is not one of 'quick', 'full'"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_USE)
def test_bad_use_is_one_sentence(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    (error,) = result.stderr.splitlines()
    assert error.startswith("Error: ")
    assert message in error


def test_no_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "PUBLISHED", tmp_path / "nowhere")
    for command in ("audit", "reproduce"):
        result = run(command)
        assert result.exit_code == 2
        assert "is not a checkout of reuseprior" in result.stderr
        assert len(result.stderr.splitlines()) == 1


# Counting --------------------------------------------------------------------------------------


def test_count_json():
    found = count("efficientnetv2-b0", "--image-size", "64")
    assert list(found) == COUNT_KEYS
    assert found["model"] == "efficientnetv2-b0"
    assert found["image_size"] == 64
    assert (found["sharing"], found["batch_norm"]) == ("none", "learnable")
    assert found["parameters"] == found["weight_nodes"] == 7_139_704
    assert found["shape"] == [1, 3, 64, 64] and found["multiply_adds"] > 1_000_000
    assert (found["input_nodes"], found["output_nodes"]) == (3 * 64 * 64, 1000)
    assert found["entropy"] + found["expected_spread"] == pytest.approx(found["log2_contexts"])
    assert found["seconds"] > 0


def test_count_calls_the_counter():
    found = count("torchvision:resnet18", "--batch-norm", "all")
    model = torchvision.models.resnet18()
    expected = count_contexts(model, (1, 3, 224, 224), batch_norm="all").quantities()
    assert found["image_size"] == 224
    assert {key: found[key] for key in expected.to_dict()} == expected.to_dict()


def test_count_sharing_by_stores():
    way = "stores:10%,weighted,mask"
    found = count("wrn-10-2", "--image-size", "16", "--sharing", way)
    plain = count("wrn-10-2", "--image-size", "16")
    assert found["sharing"] == way and found["parameters"] == plain["parameters"] // 10 == 30_370
    assert found["weight_nodes"] == plain["weight_nodes"] == 303_706


def test_count_sharing():
    none, tied, merged = (
        count("nets:small", "--image-size", "8", "--sharing", sharing)
        for sharing in ("none", "all_but_bn", "thesis_tables")
    )
    assert [c["parameters"] for c in (none, tied, merged)] == [174, 93, 93]
    assert [c["weight_nodes"] for c in (none, tied, merged)] == [174, 174, 174]
    assert tied["P_G"] == pytest.approx(merged["P_G"])  # the same here, where all kernels are 3×3
    assert [c["sharing"] for c in (none, tied, merged)] == ["none", "all_but_bn", "thesis_tables"]


def test_count_of_other_shapes_and_outputs():
    whole = count("nets:mapping", "--shape", "1,16")
    part = count("nets:mapping", "--shape", "1,16", "--output", "b")
    second = count("nets:pair", "--shape", "1,16", "--output", "1")
    assert whole["image_size"] is None
    assert [c["output_nodes"] for c in (whole, part, second)] == [6, 2, 2]
    assert [c["parameters"] for c in (whole, part, second)] == [102, 34, 34]


def test_count_without_surprisal_is_still_json():
    """One parameter is no surprise: P_G is minus infinity, which JSON lacks."""
    assert count("nets:single", "--shape", "1,1")["P_G"] is None


def test_what_a_factory_prints_goes_to_standard_error():
    result = run("count", "nets:small", "--image-size", "8", "--json")
    assert loads(result.stdout)["model"] == "nets:small"
    assert "building" in result.stderr


def test_count_text():
    result = run("count", "nets:small", "--image-size", "8", "--sharing", "all_but_bn")
    assert result.exit_code == 0
    assert "E[log2 |C|]" in result.stdout
    assert (
        "\nnets:small, input 1×3×8×8, sharing all_but_bn, batch norm learnable, " in result.stdout
    )
    assert result.stdout.splitlines()[-2:] == [
        "left out: 1,200 of spare.unused (no operator uses it)",
        "left out in all: 1,200 entries",
    ]


def test_count_text_shortens_what_was_left_out():
    lines = run("count", "nets:spare", "--image-size", "8").stdout.splitlines()
    left_out = [line for line in lines if line.startswith("left out")]
    assert len(left_out) == 7
    assert left_out[-2:] == [
        "left out: … and some of 4 more tensors",
        "left out in all: 9,200 entries",
    ]


# Ranking ---------------------------------------------------------------------------------------

RANKED = ["torchvision:resnet18", "V2-B0", "nets:small", "--image-size", "64"]


def test_rank_json():
    result = run("rank", *RANKED, "--json")
    assert result.exit_code == 0
    found = loads(result.stdout)
    assert [c["model"] for c in found] == ["V2-B0", "torchvision:resnet18", "nets:small"]
    assert all(list(c) == [*COUNT_KEYS, "score", "terms"] for c in found)
    assert all(sum(c["terms"].values()) == pytest.approx(c["score"]) for c in found)
    scores = [c["P_G_spread"] for c in found]
    assert scores == sorted(scores, reverse=True)


def test_rank_shows_the_others_when_one_cannot_be_counted():
    result = run("rank", "nets:failing", "nets:small", "v2-b9", "--image-size", "8")
    assert result.exit_code == 1
    assert "nets:small 1×3×8×8" in result.stdout
    assert "R6 and its terms, bits, for 1,281,167 training examples" in result.stdout
    assert result.stdout.endswith("\nsharing none, batch norm learnable\n")
    reasons = [line for line in result.stderr.splitlines() if line.startswith("not counted: ")]
    assert len(reasons) == 2
    assert reasons[0].startswith("not counted: nets:failing: model 'nets:failing' cannot be built")
    assert reasons[1].startswith("not counted: v2-b9: unknown model 'v2-b9'")


def test_rank_of_nothing_countable_is_an_empty_list():
    result = run("rank", "v2-b9", "--json")
    assert result.exit_code == 1
    assert loads(result.stdout) == []


def test_models():
    result = run("models")
    assert result.exit_code == 0
    names = [line.split()[0] for line in result.stdout.splitlines()]
    assert names[0] == "efficientnetv2-b0"
    assert names[-11:] == [
        "torchvision:NAME", "timm:NAME", "hf:TYPE", "nas-bench-201:CELL",
        "nas-bench-macro:DIGITS", "transnas-macro:DIGITS", "transnas-micro:CELL",
        "flexibert:ENCODER", "random-cells:NUMBER",
        "package.module:factory", "'torchvision:resnet*'",
    ]  # fmt: skip
    assert "resnet50-v1              image size 384, also ResNet-50\n" in result.stdout


def test_models_lists_what_the_readme_names():
    readme = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    given = re.findall(r"^reuseprior (?:count|rank|train) (.+)$", readme, re.MULTILINE)
    words = [word for line in given for word in line.partition(" --")[0].split()]
    shown = run("models").stdout
    for word in words:
        source = word.strip("'").partition(":")[0]
        listed = f"{source}:" in shown if ":" in word else f" {word}\n" in shown
        assert listed or source == "my_models", word
    assert len(words) >= 5


def test_rank_says_when_sizes_differ():
    told = run("rank", "resnet20-cifar", "V2-B0").stderr
    assert SIZES_DIFFER in told
    assert SIZES_DIFFER not in run("rank", "resnet20-cifar", "V2-B0", "--image-size", "32").stderr


def test_shells_complete():
    assert "_completion()" in complete("source_bash")
    found = completions("reuseprior reproduce 04-")
    assert found == ["04-counting-contexts", "04-parameter-sharing"]
    assert "new-study" in completions("reuseprior ne")


def completions(words):
    """What bash would offer after these words."""
    return complete("complete_bash", COMP_WORDS=words, COMP_CWORD=str(words.count(" "))).split()


def complete(asked, **more):
    done = subprocess.run(
        [sys.executable, "-c", "from reuseprior.cli import main; main()"],
        env=os.environ | {"_REUSEPRIOR_COMPLETE": asked} | more,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout


# The ledger ------------------------------------------------------------------------------------

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


def parts():
    """The two tables of the ledger; the first cannot be made of the second's."""

    def of(table):
        return lambda: [e for e in ENTRIES if e.where.startswith(table)]

    return {table: of(table) for table in ("thesis, table 1", "thesis, table 2")}


@pytest.fixture
def committed(tmp_path, monkeypatch):
    """A ledger of five numbers, whose committed verdicts are in the returned file."""
    monkeypatch.setattr(ledger, "parts", parts)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "PUBLISHED", tmp_path / "data" / "published")
    paths.PUBLISHED.mkdir(parents=True)
    return tmp_path / "data" / "ledger.csv"


def commit(path, verdicts):
    """Write a ledger whose verdicts are as given, and else those of ENTRIES.

    An id that these lack is `quoted` in table 2; None for a verdict leaves the row out.
    """
    rows = {e.id: {"id": e.id, "where": e.where, "kind": e.kind, "verdict": e.verdict}
            for e in ENTRIES}  # fmt: skip
    for identity, verdict in verdicts.items():
        new = {"id": identity, "where": "thesis, table 2", "kind": "quoted"}
        rows[identity] = rows.get(identity, new) | {"verdict": verdict}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ledger.COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(row for row in rows.values() if row["verdict"])


def test_audit(committed):
    commit(committed, {})
    result = run("audit")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.splitlines()[-3:] == [
        "5 printed numbers: 1 reproduced, 1 erratum, 1 not reproduced, 1 open, 1 used",
        str(ENTRIES[1]),
        str(ENTRIES[3]),
    ]
    assert "thesis, table 2" in result.stdout


def test_audit_json(committed):
    commit(committed, {})
    found = loads(run("audit", "--json").stdout)
    assert all(list(entry) == AUDIT_KEYS for entry in found)
    assert [entry["computed"] for entry in found] == [1.04, 3.0, None, None, 5]
    assert [entry["window"] for entry in found][1:] == [
        [1.95, 2.05],
        [3.0, None],
        [3.95, 4.05],
        None,
    ]
    assert found[1]["note"] == REASON and found[1]["kind"] == "computed"


def test_audit_of_a_place(committed, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    commit(committed, {})
    result = run("audit", "--only", "thesis, table 1")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[:5] == [
        "thesis, table 1, row 1:",
        "  t-1/a",
        "    printed 1.0  computed 1.0400  window 0.95 to 1.05  ✓ computed: reproduced",
        "thesis, table 1, row 2:",
        "  t-1/b",
    ]
    assert lines[5] == "    printed 2.0  computed 3.0000  window 1.95 to 2.05  ✗ computed: erratum"
    reason = lines[6:-2]
    assert len(reason) > 3 and all(len(line) <= 60 for line in reason)
    assert " ".join(" ".join(reason).split()) == REASON.strip()
    assert lines[-2:] == ["", "2 printed numbers: 1 reproduced, 1 erratum"]


def test_audit_of_places_makes_only_them(committed, monkeypatch):
    commit(committed, {})
    made = {**parts(), "thesis, table 1": lambda: pytest.fail("is not asked for")}
    monkeypatch.setattr(ledger, "parts", lambda: made)
    found = loads(run("audit", "--only", "thesis, table 2", "--json").stdout)
    assert [entry["id"] for entry in found] == ["t-2/a", "t-2/b", "t-2/c"]
    assert all(list(entry) == AUDIT_KEYS for entry in found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--only", "thesis, table 9"],
            "no number is printed at 'thesis, table 9'; there are 'thesis",
        ),
        (["--only", "thesis, table 1", "--update"], "--update commits the whole ledger: leave"),
    ],
)
def test_audit_refuses(committed, arguments, message):
    commit(committed, {})
    before = committed.read_bytes()
    result = run("audit", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    (error,) = result.stderr.splitlines()
    assert error.startswith(f"Error: {message}")
    assert committed.read_bytes() == before


def test_audit_fails_where_a_verdict_got_worse(committed):
    commit(committed, {"t-1/b": "unsaid", "t-2/b": "erratum", "t-9": "confirmed"})
    for arguments in ([], ["--json"], ["--only", "thesis, table 1", "--only", "thesis, table 2"]):
        result = run("audit", *arguments)
        assert result.exit_code == 1
        assert result.stderr.splitlines() == [
            "worse: t-1/b was unsaid and is now erratum",
            "worse: t-2/b was erratum and is now not reproduced",
            "worse: t-9 was confirmed and is no longer in the ledger",
        ]


def test_audit_of_a_place_compares_its_rows_only(committed):
    commit(committed, {"t-1/b": "unsaid", "t-2/b": "erratum", "t-9": "confirmed"})
    result = run("audit", "--only", "thesis, table 1")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == ["worse: t-1/b was unsaid and is now erratum"]
    commit(committed, {"t-2/b": "erratum", "t-9": "confirmed"})
    assert run("audit", "--only", "thesis, table 1").exit_code == 0


def test_audit_fails_as_well_where_a_verdict_got_better(committed):
    """Or a ledger of low verdicts would let all later ones pass."""
    commit(committed, {"t-1/a": "erratum"})
    for arguments in ([], ["--only", "thesis, table 1"]):
        result = run("audit", *arguments)
        assert result.exit_code == 1
        assert result.stderr.splitlines() == ["better: t-1/a was erratum and is now reproduced"]


GONE = [  # what happens to the committed text, and what is said
    (lambda text: None, r"ledger\.csv is missing: restore it with git, or write it anew with"),
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
    commit(committed, {})
    damaged = damage(committed.read_text())
    if damaged is None:
        committed.unlink()
    else:
        committed.write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
    for arguments in ([], ["--json"], ["--only", "thesis, table 1"]):
        result = run("audit", *arguments)
        assert result.exit_code == 1
        (error,) = result.stderr.splitlines()
        assert error.startswith("Error: ") and re.search(sentence, error)
    assert run("audit", "--update").exit_code == 0
    assert run("audit").exit_code == 0


def test_audit_fails_where_a_folder_lies_in_the_ledgers_place(committed):
    committed.mkdir()
    result = run("audit")
    assert result.exit_code == 1 and "cannot be read ([Errno 21] Is a directory" in result.stderr


def test_audit_fails_where_a_number_was_never_committed(committed):
    commit(committed, {"t-1/a": None, "t-2/b": None})
    result = run("audit")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "worse: t-1/a is reproduced and has no committed verdict to be compared with",
        "worse: t-2/b is not reproduced and has no committed verdict to be compared with",
    ]


def test_audit_update_accepts_the_verdicts(committed):
    commit(committed, {"t-1/b": "unsaid"})
    result = run("audit", "--update")
    assert result.exit_code == 0
    assert "worse: t-1/b was unsaid and is now erratum" in result.stderr
    with committed.open(newline="") as file:
        assert [row["verdict"] for row in csv.DictReader(file)] == [e.verdict for e in ENTRIES]
    assert run("audit").exit_code == 0


# Notebooks -------------------------------------------------------------------------------------


@pytest.fixture
def chapters(committed, tmp_path, monkeypatch):
    """A repository of its own: a chapter that needs seed 1, one that is fine, and a ledger."""
    house.build(tmp_path, monkeypatch)
    paths.FIGURES.mkdir()
    ledger.save(ENTRIES)
    commit(committed, {})
    for name, check in [("03-broken", "assert seed == 1"), ("04-fine", "seed"), ("00-ledger", "1")]:
        parameters = "profile = 'quick'; seed = 0"
        cells = [nbformat.v4.new_code_cell(source) for source in (parameters, check)]
        cells[0].metadata["tags"] = ["parameters"]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), paths.NOTEBOOKS / f"{name}.ipynb")
        house.chapter(name, last=name == "00-ledger")
    return paths.NOTEBOOKS


def without_times(stderr):
    return sorted(re.sub(r" \d+\.\d s$", "", line) for line in stderr.splitlines())


@pytest.mark.notebook
def test_reproduce(chapters, monkeypatch):
    renewed = []  # the pages that show tables; how is test_contents' subject
    monkeypatch.setattr(contents, "renew", lambda: renewed.append(True) or [])
    result = run("reproduce", "--dry-run")
    needs = "(about 1 min on two cores)"
    expected = [f"{name}: not run yet {needs}" for name in ("03-broken", "04-fine", "00-ledger")]
    assert result.stdout.splitlines() == expected

    result = run("reproduce")
    assert result.exit_code == 1
    broken = paths.BUILD / "failed" / "03-broken.ipynb"
    failure = "cell In [2] (assert seed == 1) raised AssertionError"
    assert without_times(result.stderr) == [
        f"03-broken failed: {failure}; see {broken}",
        "running 03-broken, 04-fine, 00-ledger",
        "✓ 00-ledger",
        "✓ 04-fine",
        "✗ 03-broken",
    ]
    assert broken.exists()
    assert "5 printed numbers: 1 reproduced, 1 erratum, 1 not reproduced" in result.stdout
    assert f"executed notebooks: {paths.BUILD / 'notebooks'}" in result.stdout

    result = run("reproduce", "--only", "03-broken", "-p", "seed=1")
    assert result.exit_code == 0
    assert "up to date: 00-ledger" in result.stderr
    result = run("reproduce", "04-fine", "--save")
    assert result.exit_code == 0
    told = ["saved: 04-fine, 00-ledger", "up to date: 04-fine, 00-ledger"]
    assert without_times(result.stderr) == told
    assert (paths.FIGURES / "README.md").exists() and renewed


REFUSED = [  # arguments, message
    (["03-broken", "-p", "seed=1.5"], "parameter 'seed' of 03-broken is int, not '1.5'"),
    (["--only", "03-brocken"], "unknown chapter '03-brocken', did you mean '03-broken'?"),
    (["--save", "--profile", "full"], "--save is for the quick profile without -p"),
    (["04-fine", "--save", "-p", "seed=1"], "--save is for the quick profile without -p"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_reproduce_refuses_before_anything_runs(chapters, arguments, message):
    result = run("reproduce", *arguments)
    assert result.exit_code == 2
    (error,) = result.stderr.splitlines()
    assert error.startswith(f"Error: {message}")
    assert not (paths.BUILD / "notebooks").exists()


def test_a_verdict_that_got_worse_is_told(chapters, committed, monkeypatch):
    commit(committed, {"t-1/a": "erratum", "t-1/b": "unsaid"})
    monkeypatch.setattr(reproduce, "batch", lambda jobs, parallel: iter(()))
    result = run("reproduce")
    assert "worse: t-1/b was unsaid and is now erratum" in result.stderr
    assert "better: t-1/a was erratum and is now reproduced" in result.stderr


def test_tokens():
    """A language model has a length, and no image size in any label."""
    pytest.importorskip("transformers")
    found = loads(run("count", "hf:gpt2", "--tokens", "8", "--json").stdout)
    assert found["image_size"] is None and found["input_nodes"] == 8
    refused = run("count", "hf:gpt2", "--image-size", "224")
    assert refused.exit_code == 2 and "takes tokens, not an image: give --tokens" in refused.stderr
    embedded = loads(run("count", "hf:gpt2", "--tokens", "8", "--embedded", "--json").stdout)
    assert embedded["input_nodes"] == 8 * 768
    last = loads(run("count", "hf:gpt2", "--tokens", "8", "--last", "--json").stdout)
    assert 8 * last["output_nodes"] == found["output_nodes"]
    text = run("count", "hf:gpt2", "--tokens", "8", "--until", "transformer.h.0").stdout
    assert "hf:gpt2, input 1×8," in text
