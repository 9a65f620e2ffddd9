"""What the README says is what the package computes."""

import re

import pytest
import yaml
from torchvision import models

from reuseprior import paths
from reuseprior.chapters import counting as chapter4
from reuseprior.chapters import habits, reuse
from reuseprior.chapters.beyond import compare
from reuseprior.measures.comparing import TIED
from reuseprior.measures.statistics import kendall
from reuseprior.report import campaign, ledger, notebooks, published

README = (paths.ROOT / "README.md").read_text(encoding="utf-8")
PAIRS = re.compile(r"^(parameters|multiply-adds) +(\d+) +([\d.]+)", re.MULTILINE)
ORDERED = re.compile(
    r"^equal stored parameters +\d+ +(?P<P_G>\S+) +\S+ +(?P<cost>\S+)", re.MULTILINE
)


def test_the_worked_numbers():
    for name, graph in (("4.2b", chapter4.FIGURE_4_2B), ("4.2a", chapter4.FIGURE_4_2A)):
        said = re.search(rf"(?:In|graph) {name} .*?P_G = (?:[^$]*= )?(-?\d\.\d\d)\$", README)[1]
        assert said == f"{graph.quantities().P_G:.2f}", name


def test_the_pair_of_the_thesis():
    printed = published.load("thesis/table-4-3").set_index("model").P_G.astype(float)
    gap = printed["V2-S-shared"] - printed["V2-B0"]
    assert f"V2-S-shared over V2-B0, is printed {gap:.2f} bits apart" in README


@pytest.mark.slow
def test_what_a_gap_is_worth():
    table = compare.networks("timm")
    right = compare.pairs_right(table, "P_G", resamples=1).set_index("gap")["right"]
    said = "in {} % of the pairs 0–¼ bits apart, {} % at ¼–½, {} % at ½–1, {} % at 1–2, {} % at 2–4"
    assert said.format(*(round(100 * right[gap]) for gap in (0, 0.25, 0.5, 1, 2))) in README


@pytest.mark.slow
def test_multiply_adds_beside_it():
    ahead = {}
    for name in ("timm", "torchvision", "nas-bench-201"):
        table = compare.networks(name)
        of = {m: kendall(table[m], table["accuracy"]) for m in ("P_G", "multiply-adds")}
        ahead[name] = of["multiply-adds"] - of["P_G"]
    said = "about as well on timm, worse on torchvision, better on NAS-Bench-201"
    assert said in README and abs(ahead["timm"]) < 0.05
    assert ahead["torchvision"] < -0.1 and ahead["nas-bench-201"] > 0.1


def shown_in(chapter, cell):
    """The text that a notebook's cell shows, which other tests compare with what it computes."""
    cells = notebooks.read(paths.NOTEBOOKS / f"{chapter}.ipynb")["cells"]
    (found,) = [c for c in cells if c["id"] == cell]
    return "".join(found["outputs"][-1]["data"]["text/plain"])


def test_what_reuse_is_worth():
    row = re.compile(r"^(parameters|multiply-adds) +(\S+) +(\S+) +(\S+)", re.MULTILINE)
    rows = row.findall(shown_in("07-reuse", "07-12"))
    counts = {at: [int(float(n)) for n in numbers] for at, *numbers in rows}
    cells = notebooks.read(paths.NOTEBOOKS / "07-reuse.ipynb")["cells"]
    (answer,) = [notebooks.source(c) for c in cells if c["id"] == "07-13"]
    of, gained, _ = counts[reuse.PARAMETERS]
    assert f"in {gained} of our own {of}" in answer
    of, gained, _ = counts[reuse.MULTIPLY_ADDS]
    assert gained == 2 and f"in two of our own {of}" in answer
    shown = shown_in("07-reuse", "bytes-pays")
    won = {at: (round(int(n) * float(share)), int(n)) for at, n, share in PAIRS.findall(shown)}
    gained, of = won[reuse.PARAMETERS]
    none, all_ = won[reuse.MULTIPLY_ADDS]
    assert f"in {gained} of {of} pairs of small transformers" in answer
    assert none == 0 and f"in none of {all_} pairs of small transformers" in answer
    networks = {(one.model, one.sharing) for one in campaign.planned(kind="next-byte")}
    said = f"sharing won {gained} of {of} pairs at equal parameters, none of {all_} at equal mult"
    assert f"In our {len(networks)} small transformers {said}" in README
    orders = ORDERED.search(shown_in("07-reuse", "bytes-count"))
    assert "it orders {:.0f} % rightly".format(100 * float(orders["P_G"])) in answer
    assert "multiply-adds {:.0f} %.".format(100 * float(orders["cost"])) in answer


@pytest.mark.slow
def test_what_others_networks_say():
    table = reuse.counted()
    rows = (100 * reuse.pays(table)[["share", "low", "high"]]).round().astype(int)
    compute, storage = rows.loc[reuse.MULTIPLY_ADDS], rows.loc[reuse.PARAMETERS]
    assert f"In {len(table)} networks sharing was better, averaged over sources" in README
    assert table["source"].nunique() == 8
    said = "in {} % of the pairs at equal multiply-adds ({} to {} %), in {} % at equal parameters ("
    assert said.format(*compute, storage["share"]) in README
    assert "at equal parameters ({1} to {2} %)".format(*storage) in README
    assert "$P_G$ falls" in README and "foretells this is undecided" in README
    agreement = reuse.concordance(table)
    assert reuse.decided(agreement).startswith("undecided")
    every = agreement[agreement["subset"] == "all pairs"].set_index("measure")
    shares = (100 * every[["share", "low", "high"]]).round().astype(int)
    said = "{} % in the right order ({} to {} %)", "the number of parameters {} % ({} to {} %)"
    ranked, stored = shares.loc["P′_G"], shares.loc["stored parameters"]
    assert said[0].format(*ranked) in TIED and said[1].format(*stored) in TIED
    assert "better in {} % ({} to {} %".format(*storage) in TIED, "what `rank` says of such a model"


def test_habits():
    rows = [row for row in ledger.committed_rows() if row["kind"] == "computed"]
    unsaid = [r for r in rows if r["source"] == "thesis" and ledger.MARKS[r["verdict"]] == "≈"]
    table = habits.explained(unsaid)
    assert all(habits.of_note(row["note"]) for row in unsaid) and len(table) == 6
    most = table.numbers.nlargest(2)
    assert list(most.index) == ["one output node", "running statistics"]
    for habit, n in most.items():
        assert re.search(rf"{habit}[^(]*\({n}\b", README)


def test_snippet_prints_what_is_shown_and_its_decision_is_right(capsys):
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.S)
    exec(compile(snippet, "README.md", "exec"), {})
    (shown,) = re.findall(r"```text\n(.*?)```", README, re.S)
    assert capsys.readouterr().out == shown
    top1 = {
        name: models.get_model_weights(name).IMAGENET1K_V1.meta["_metrics"]["ImageNet-1K"]["acc@1"]
        for name in ("vgg16", "resnet18")
    }
    assert "Multiply-adds say VGG-16, rightly on ImageNet." in README
    assert top1["vgg16"] > top1["resnet18"]


def test_cites_what_citation_cff_names():
    cited = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    works = [cited["preferred-citation"], *cited["references"]]
    for work in (work for work in works if work["type"] != "software"):
        names = [author.get("family-names", author.get("name")) for author in work["authors"]]
        for said in (work["title"], str(work["year"]), *names, work.get("doi", "")):
            assert said in README
