"""From a printed number to the lines that made it."""

import json
import subprocess
import sys
from itertools import count

import pytest

from reuseprior import paths
from reuseprior.chapters import theorems
from reuseprior.report import cells, ledger, why

pytestmark = pytest.mark.slow

PLACE = "thesis, appendix A.3"
RUN = """
import sys
from pathlib import Path

from reuseprior import paths
from reuseprior.report import why

paths.BUILD = Path(sys.argv[1])
why.trace(sys.argv[2:])
assert why.manifest(why.Trace.load()).loc["00-ledger", "recomputed"] > 0
"""


@pytest.fixture(scope="module")
def traced(once):
    """The trace of one place, of a process of its own."""

    def make(folder):
        subprocess.run([sys.executable, "-c", RUN, folder, PLACE], check=True)

    return json.loads((once("trace", make) / why.TRACE).read_bytes())


def test_every_number_has_a_trail(traced):
    """Its lines are of code that runs for it, and not of code that runs for others alone."""
    trace = why.Trace(traced)
    rows = [row for row in ledger.committed_rows() if row["where"].startswith(PLACE)]
    assert rows and {row["id"] for row in rows} == set(trace.numbers)
    for row in rows:
        told = "\n".join(why.tell(row, trace))
        assert " functions at " in told and "those first" in told and row["printed"] in told
        if row["kind"] == "computed":
            assert "chapter-4-counting.toml" in told and "as the text says" in told
            places = {one[:2] for one in trace.functions(row["id"])}
            assert ("reuseprior/quantities.py", "derive") in places, told


def test_a_theorem_s_trail_holds_its_chains_and_what_they_rest_on():
    """They are made at import, so that nothing of them runs when a verdict is asked for."""
    event = []
    why.sys.addaudithook(lambda name, given: event.append(given) if "cell" in name else None)
    page = next(iter(theorems.DERIVATIONS.theorems.values()))
    alone = theorems.Blueprint(theorems.DERIVATIONS.derivations[:10])
    next(iter(cells.of_theorems(alone, "t", "thesis")))
    assert event[0] == (f"t-{page.name.lower().replace(' ', '-')}", page.name)

    lines = why.with_named({}, "Theorem 4")
    trace = why.Trace({"lines": {"= t": lines}, "needs": {}})
    names = {name for _, name, _ in trace.functions("t")}
    assert {"theorem_4", "theorem_3", "lemma_3"} <= names and "theorem_5" not in names
    chapter = (paths.PACKAGE / "chapters" / "theorems.py").read_text().splitlines()
    made = {chapter[n - 1].split(" = ")[0] for n in lines["reuseprior/chapters/theorems.py"]}
    assert {"LAYERS", "EQUATION_5_12", "LIMIT"} <= made and "MIRROR" not in made
    assert lines["reuseprior/chapters/closed_forms.py"], "a limit that it states"


def test_the_manifest_says_what_is_recomputed():
    """A number that reads recorded runs is read back, whatever its kind; an open one is typed."""
    kinds = ("computed", "setting", "open", "undecided")
    rows = {
        kind: next(row for row in ledger.committed_rows() if kind in (row["kind"], row["verdict"]))
        for kind in kinds
    }
    read = {f"= {rows[k]['id']}": ["data/results/a/b.csv"] for k in ("open", "undecided")}
    said = {"numbers": {row["id"]: {} for row in rows.values()}, "needs": {}, "read": read}
    trace = why.Trace(said)
    found = [why.origin(rows[kind], trace) for kind in kinds]
    assert found == ["recomputed", "typed", "typed", "read back"]
    assert list(why.manifest(trace).loc["00-ledger"]) == [1, 1, 2, 50]
    read[f"= {rows['computed']['id']}"] = ["data/results/a/b.csv"]
    assert list(why.manifest(trace).loc["00-ledger"]) == [0, 2, 2, 0]


def test_what_is_cached_counts_for_all_who_ask():
    now = []
    trail, numbers = why._Trail(now.append), count()
    place = {}
    answer = trail.cached(lambda of: next(numbers), lambda *_: place)
    for number in ("= a", "= b"):
        trail.to(number)
        assert answer(1) == 0
    assert trail.needs["= a"] == trail.needs["= b"] and len(trail.needs["= a"]) == 1
    assert now == ["= a", *trail.needs["= a"], "= a", "= b"]
    assert answer(2) == 1 and len(trail.needs["= b"]) == 2


def test_a_number_is_found_by_its_id_or_by_words():
    for words in (["thesis-4-3-v2-s-shared/P_G"], ["table", "4.3", "V2-S-shared", "P_G"]):
        assert [row["id"] for row in why.find(words)] == ["thesis-4-3-v2-s-shared/P_G"]
    with pytest.raises(why.WhyError, match="did you mean 'thesis-4-3-v2-s/P_G'"):
        why.find(["thesis-4-3-v2-s/PG"])


def test_a_trace_of_other_code_is_refused(traced, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "BUILD", tmp_path)
    with pytest.raises(why.WhyError, match="is missing or damaged"):
        why.Trace.load()
    (tmp_path / why.TRACE).write_text(json.dumps(traced | {"code": ""}))
    with pytest.raises(why.WhyError, match="of other code"):
        why.Trace.load()
