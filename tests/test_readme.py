"""What the README says is what the package computes."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from reuseprior import paths
from reuseprior.measures import closed_forms
from reuseprior.measures.measuring import Conventions, measure
from reuseprior.works.beyond import benchmarks, comparison, language, survey, tested
from reuseprior.works.thesis import contexts as chapter4

README = (paths.ROOT / "README.md").read_text(encoding="utf-8")
COLUMNS = ["image_size", "P_G", "P′_G", "expected_spread", "entropy", "params"]


def headline_rows() -> dict[str, list[str]]:
    rows = {}
    for line in README.splitlines():
        plain = line.replace("\u00a0", " ")  # a mark stays on its number's line
        cells = [c.strip().replace("\\|", "|") for c in re.split(r"(?<!\\)\|", plain)[1:-1]]
        if len(cells) == 7 and cells[0].startswith(("V2-", "ResNet")):
            rows[cells[0]] = cells[1:]
    return rows


@pytest.mark.slow
def test_headline_table_is_the_computed_one():
    rows = headline_rows()
    computed = {}
    for name in ("table-4-3", "table-4-4"):
        computed |= chapter4.printed_beside_computed(name)[COLUMNS].T.to_dict("list")
    assert rows.keys() == computed.keys()
    for model, cells in rows.items():
        assert cells == computed[model], model


@pytest.mark.slow
def test_exact_rows_in_the_text():
    exact = chapter4.exact_rows().P_G
    sentence = f"$P_G$ {exact['V2-M, counted at 480 px']} and {exact['V2-L, counted at 480 px']}"
    assert sentence in README


def decimals(*values):
    """As the text writes numbers below one: .66, +.21, −.18."""
    return [re.sub(r"^([+-]?)0", r"\1", f"{value:+.2f}").replace("-", "−") for value in values]


@pytest.mark.slow
def test_what_the_prediction_is_worth():
    """From the recorded counts; nearly all are models that the thesis does not count."""
    zoos = {name: survey.joined(name) for name in ("torchvision", "timm")}
    sizes = [len(zoo) for zoo in zoos.values()]
    assert "{} classifiers of torchvision and {} of timm".format(*sizes) in README
    own = re.compile(r":((tf_)?efficientnet_?v2_(b0|b1|b3|s|m|l)|resnet50)(\.|$)")
    counted = [name for zoo in zoos.values() for name in zoo["model"] if own.search(name)]
    assert f"timm, {len(counted)} of them the thesis's own," in README
    scores = {
        name: comparison.scores(zoo, benchmarks.find(name).examples("top1"))
        for name, zoo in zoos.items()
    }
    found = {
        name: comparison.agreements(scores[name], zoo[["top1"]], by="tau")
        for name, zoo in zoos.items()
    }
    said = {"P_G": "Kendall's τ {} and {}", "multiply-adds": "with {} and {}"}
    for name, words in said.items():
        values = decimals(*(taus[name] for taus in found.values()))
        assert words.format(*(v.removeprefix("+") for v in values)) in README
    for name, zoo in zoos.items():
        table = comparison.compare(
            scores[name], zoo[["top1"]], zoo["alike"], by="tau", against="P_G"
        )
        differs = table.loc["multiply-adds", "difference"]
        assert differs.low < 0 < differs.high, "and so it is not told apart"
        difference, low, high = decimals(differs.value, differs.low, differs.high)
        assert re.search(
            rf"{re.escape(difference)} \((95 % interval )?{low} to {re.escape(high)}\)", README
        )


@pytest.mark.slow
def test_cells_are_ordered_better_by_parameters():
    cells = survey.joined("nas-bench-201")
    examples = benchmarks.find("nas-bench-201").examples("cifar10")
    rho = comparison.agreements(comparison.scores(cells, examples), cells[["cifar10"]])
    estimate, parameters = unsigned(rho["P_G"], rho["parameters on live paths"])
    assert f"the {len(cells):,} cells of NAS-Bench-201 it has ρ {estimate} with" in README
    assert f"parameters on live paths {parameters}" in README


def unsigned(*values):
    return [value.removeprefix("+") for value in decimals(*values)]


@pytest.mark.slow
def test_what_r6_is_worth():
    tables = {
        p.name: p.compared(resamples=200)
        for p in tested.POPULATIONS
        if p.benchmark in ("nas-bench-201", "timm", "transnas-macro", "transnas-micro")
    }
    r6 = {name: table.loc["R6", "agreement"].value for name, table in tables.items()}
    gaps = {n: table.loc["multiply-adds", "difference"].verdict for n, table in tables.items()}
    cells = [f"{value:.3f}".removeprefix("0") for value in list(r6.values())[:3]]
    (timm,) = unsigned(r6["timm"])
    assert "it has ρ {}, {} and {} on three data sets".format(*cells) in README
    assert f"on timm τ {timm}, each better than multiply-adds" in README
    assert list(gaps.values()) == ["better"] * 4 + ["worse"] * 2
    fresh = tested.fresh_compared().loc["R6", "agreement"]
    found = decimals(fresh.value, fresh.low, fresh.high)
    assert "R6 was not confirmed: ρ {} ({} to {})".format(*found) in README


def test_language_models():
    found = language.agreements().set_index(["suite", "measure"])

    def said(suite, measure):
        tau, margin = decimals(*found.loc[(suite, measure), ["tau", "tau_margin"]])
        return f"{tau.removeprefix('+')} ± {margin.removeprefix('+')}"

    assert f"$P_G$ has a τ of {said('zero-shot', 'P_G')} with published" in README
    size, cost = said("zero-shot", "held"), said("zero-shot", "multiply_adds")
    assert f"parameters {size} and multiply-adds {cost}" in README
    assert f"BERT and ALBERT, it is {said('fine-tuned', 'P_G')}: ALBERT" in README
    rows = language.read().set_index("model")
    larger = [f"ALBERT {size}" for size in ("base", "large", "xlarge", "xxlarge")]
    assert rows.loc[larger, "P_G"].is_monotonic_decreasing
    assert rows.loc[larger, "score"].is_monotonic_increasing


@pytest.mark.slow
def test_what_size_and_sharing_do():
    shared_at = {
        px: chapter4.readings.readings("V2-S-shared", px)[-1].quantities.P_G for px in (224, 384)
    }
    plain = chapter4.quantities("V2-B0", 224)
    assert f"({shared_at[384]:.2f} and {plain.P_G:.2f}) because" in README
    assert f"With both at 224 px it has {shared_at[224]:.2f}, and" in README
    assert shared_at[224] < plain.P_G < shared_at[384]
    whole, shared = (quantities_of(sharing) for sharing in ("none", "all_but_bn"))
    assert f"from {whole.P_G:.2f} to {shared.P_G:.2f}, while" in README
    times = shared.parameter_efficiency / whole.parameter_efficiency
    assert f"accounts for {times:.1f} times as much" in README


def quantities_of(sharing):
    return measure("V2-B0", Conventions(image_size=224, sharing=sharing)).quantities


def test_gap_of_theorems_4_and_5():
    gaps = [
        closed_forms.printed_expected_energy_limit(width, 50)
        - closed_forms.expected_energy_limit(width, 50)
        for width in (2, 100)
    ]
    assert f"{gaps[0]:.3f} nats at width 2, {gaps[1]:.3f} at width 100" in README


def test_snippet_runs(capsys):
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.S)
    exec(compile(snippet, "README.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "1.weight" in shown and "P_G" in shown and "wide" in shown


@pytest.mark.parametrize("target", ["reproduce", "notebooks", "book", "test", "lab"])
def test_commands_exist(target):
    assert f"make {target}" in README
    assert re.search(rf"^{target}:", (paths.ROOT / "Makefile").read_text(), re.M)


def test_links_lead_somewhere():
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert Path(paths.ROOT / link).exists(), link


def test_badges_open_the_landing_page():
    badges = re.findall(r"\[!\[.*?\]\(.*?\)\]\((.*?)\)", README)
    assert {urlsplit(badge).netloc for badge in badges} == {
        "mybinder.org",
        "colab.research.google.com",
    }
    for badge in badges:
        (page,) = re.findall(r"notebooks/\w+\.ipynb", badge)
        assert (paths.ROOT / page).exists()


def test_cites_what_citation_cff_names():
    cited = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    for work in (cited["preferred-citation"], *cited["references"]):
        assert work["title"] in README and str(work["year"]) in README
        assert all(
            author.get("family-names", author.get("name")) in README for author in work["authors"]
        )
        assert work.get("doi", "") in README
