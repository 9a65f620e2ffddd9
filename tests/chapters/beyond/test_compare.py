"""Scores against each other, what tables and pictures say of them, and what a gap is worth."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from reuseprior import paths, plotting
from reuseprior.chapters.beyond import compare, show, survey
from reuseprior.chapters.beyond.compare import Difference, Estimate
from reuseprior.errors import UserError
from reuseprior.measures.comparing import FILE, GAPS
from reuseprior.measures.scores import R6, R7
from reuseprior.models import nas_bench
from reuseprior.results import CONFIG, read_json


def drawn(n=60, seed=0, copies=1):
    """Accuracies that the first score follows closely and the second loosely."""
    random = np.random.default_rng(seed)
    y = random.normal(size=n)
    near, far = y + 0.3 * random.normal(size=n), y + 2 * random.normal(size=n)
    again = np.repeat(np.arange(n), copies)
    found = pd.DataFrame({"R6": near[again], "b": far[again]})
    return found, pd.DataFrame({"y": y[again]}), pd.Series(again)


def width(estimate):
    return estimate.high - estimate.low


@pytest.mark.parametrize("by", ["rho", "tau"])
def test_compared_on_the_same_samples(by):
    found, y, _ = drawn()
    table = compare.compare(found, y, by=by, resamples=300)
    assert table.loc["R6", "difference"] is None
    gap, values = table.loc["b", "difference"], table["agreement"].map(lambda e: e.value)
    assert gap.value == pytest.approx(values["R6"] - values["b"])
    assert 0 < gap.low < gap.value < gap.high and gap.verdict == "better"
    back = compare.compare(found, y, by=by, against="b", resamples=300).loc["R6", "difference"]
    assert (back.low, back.high) == pytest.approx((-gap.high, -gap.low))
    assert back.verdict == "worse" and str(back).endswith(" worse")


def test_pairs_and_sorting_give_one_tau(monkeypatch):
    found, y, _ = drawn()
    found, y = found.round(), y.assign(z=y["y"].round())  # ties
    pairs = compare.compare(found, y, by="tau", resamples=20)
    monkeypatch.setattr(compare, "MANY", 10)
    by_sorting = compare.compare(found, y, by="tau", resamples=20)
    for one, other in zip(pairs["agreement"], by_sorting["agreement"], strict=True):
        ends = (one.value, one.low, one.high)
        assert ends == pytest.approx((other.value, other.low, other.high), abs=1e-12)


def test_copies_say_no_more_than_one_of_them():
    one, nine = drawn(), drawn(copies=9)
    single, whole, alone = (
        width(compare.compare(*given, resamples=300).loc["b", "agreement"])
        for given in (one[:2], nine, nine[:2])
    )
    assert whole == pytest.approx(single, rel=0.3) and alone < single / 2


def test_several_tasks_count_as_their_mean():
    found, y, _ = drawn()
    both = compare.compare(found, y.assign(z=-y["y"]), resamples=10)
    assert both.loc["R6", "agreement"].value == pytest.approx(0)


def test_within_groups():
    found, y, _ = drawn()
    group = pd.Series(np.arange(60) % 6)
    shifted = y["y"] + 100 * group  # between groups the scores say nothing
    table = compare.within(found, shifted, group, resamples=100)
    assert table.loc["R6", "agreement"].value > 0.6
    pooled = compare.compare(found, shifted.to_frame(), by="tau", resamples=10)
    assert pooled.loc["R6", "agreement"].value < 0.4
    by_models = compare.within(found, shifted, group, resamples=100, models=True)
    assert by_models.loc["b", "difference"].value == table.loc["b", "difference"].value
    with pytest.raises(UserError, match="No group has three models"):
        compare.within(found, shifted, pd.Series(range(60)))


def test_inside_against_outside_is_one_question():
    """Two sets with one and the same advantage: its difference is not told apart from none."""
    found, y, _ = drawn(200)
    inside = pd.Series(np.arange(200) < 20)
    given = (found, y["y"], pd.Series(range(200)), inside, "R6", "b")
    result = compare.difference_of_differences(*given, resamples=200)
    gap = result["difference"]
    assert gap.value == pytest.approx(result["chosen"].value - result["the others"].value)
    assert gap.verdict == "not distinguishable"
    assert width(gap) > width(result["the others"])


def test_bad_use():
    found, y, _ = drawn()
    for scores, accuracies, by, message in (
        (found, y, "r", "choose rho or tau"),
        (found.assign(b=np.nan), y, "rho", "A score or an accuracy is NaN"),
        (found[:2], y[:2], "rho", "2 models: an order needs at least 3"),
    ):
        with pytest.raises(UserError, match=message):
            compare.compare(scores, accuracies, by=by)


def test_what_was_preregistered_is_what_is_computed():
    preregistered = survey.preregistered()["scores"]
    assert (R6.weight, R7.weight, preregistered["recommended"]) == (1 / 4, 1 / 2, "R6")
    assert preregistered["R6"].startswith("P_G + 1/4 (log2 M + H_u) - blur")
    table = survey.joined("torchvision")
    assert list(compare.scores(table, 10)) == preregistered["compared"]
    assert len(compare.variants()) == 5 + 9
    for name in survey.BENCHMARKS:
        benchmark = survey.find(name)
        assert all(benchmark.examples(accuracy) > 2 for accuracy in benchmark.accuracies)
        config = read_json(paths.RESULTS / "beyond" / name / CONFIG)
        assert config["preregistration"] == survey.sha256(), name


def test_isomorphic_cells_are_written_alike():
    """Edges 0→1, 0→2, 1→2, 0→3, 1→3, 2→3: one convolution, or a chain of two, by any nodes."""
    ways = {
        "(0)3": ("000300", "300010", "100030", "030001", "010003"),
        "((0)2)3": ("200030", "020003", "201003", "102003"),
        "(0)3+0": ("300110", "010103", "030101"),
    }
    for written, cells in ways.items():
        assert {nas_bench.isomorphism_class(cell) for cell in cells} == {written}
    assert nas_bench.isomorphism_class("330000") == ""


def test_the_choice_and_the_rest_share_no_structure_and_no_live_cell():
    cells = survey.find("nas-bench-201").read()
    seen = survey.cells_of(cells)
    assert 1000 <= seen.sum() < 1300
    for column in ("alike", "model"):
        assert not set(cells.loc[seen, column]) & set(cells.loc[~seen, column])
    zoo = survey.find("torchvision").read()
    half = survey.classifiers_of(zoo)
    assert not set(zoo.loc[half, "family"]) & set(zoo.loc[~half, "family"])
    assert 20 < half.sum() < 55


POPULATIONS = compare.POPULATIONS
NAMES = [population.name for population in POPULATIONS]


def table(value, low, high):
    estimate = Estimate(value, low, high)
    gap = Difference(0.1, -0.1, 0.3)
    rows = {"R6": (estimate, None), "multiply-adds": (estimate, gap)}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["agreement", "difference"])


def test_every_table_of_a_score_says_what_was_seen():
    tables, seen = dict.fromkeys(NAMES, table(0.9, 0.88, 0.92)), [p.seen for p in POPULATIONS]
    bars, less = compare.bars(tables), compare.differences(tables, "multiply-adds")
    within = "missed (within the interval)"
    assert bars["verdict"].tolist() == ["missed", within, within, *["reached"] * 4]
    assert bars.loc["timm", "R6"] == "0.900 (0.880 to 0.920)"
    assert bars["seen before"].tolist() == [*seen[:6], seen[-1]]
    assert less["seen before"].tolist() == seen
    assert less.iloc[0, -1] == "+0.100 (-0.100 to +0.300) not distinguishable"
    assert less.columns[-1] == "R6 less multiply-adds"
    assert compare.overview(tables).columns.tolist() == list(zip(NAMES, seen, strict=True))
    assert compare.overview(tables).loc["R6", ("timm", "yes")] == 0.9
    assert compare.title("torchvision") == "torchvision, seen before: half of it"


def test_populations():
    for population in POPULATIONS[3:6]:
        rows = population.rows()
        found = population.scores(rows)
        assert len(found) == len(rows) > 30 and not found.isna().any(axis=None)
        assert "alike" in rows
    cells = survey.joined("nas-bench-201")
    assert compare.own_live_cells(cells).sum() == cells["model"].nunique() == 9445
    assert not set(POPULATIONS[0].rows()["alike"]) & set(cells.loc[survey.cells_of(cells), "alike"])


def test_trained_networks_are_scored_within_their_groups():
    rows = survey.read("own")
    own = survey.own_networks()
    assert len(rows) == len(own) == 32
    assert (rows.groupby("group").size() >= 3).all()
    assert rows["accuracy"].between(0.3, 0.7).all() and rows["reason"].isna().all()
    one = "stores/wrn-16-2-all_but_bn"
    again, kept = survey.own_network(one, own[one]), rows.set_index("model").loc[one]
    assert again["P_G"] == pytest.approx(kept["P_G"]) and again["seeds"] == 2


def few(values, accuracies, families=None):
    families = range(len(values)) if families is None else families
    return pd.DataFrame({"P_G": values, "accuracy": accuracies, "alike": families})


def test_pairs_are_counted_by_hand():
    # gaps: 0.5 right, 3 wrong, 2.5 wrong; the fourth network ties in accuracy with the first
    table = few([1.0, 1.5, 4.0, 4.0], [70, 71, 60, 70])
    found = compare.pairs_right(table, "P_G", resamples=5).set_index("gap")
    assert found["pairs"].to_dict() == {0: 1, 0.25: 0, 0.5: 1, 1: 0, 2: 3, 4: 0}
    assert found["right"].fillna(-1).to_dict() == {0: 0.5, 0.25: -1, 0.5: 1, 1: -1, 2: 0, 4: -1}


def test_intervals_are_of_families():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 2, 60)
    accuracies = values + rng.normal(0, 2, 60)
    single = compare.pairs_right(few(values, accuracies), "P_G")
    copies = few(np.tile(values, 4), np.tile(accuracies, 4), np.tile(range(60), 4))
    fourfold = compare.pairs_right(copies, "P_G")
    width = [(t["high"] - t["low"])[2:5].to_numpy() for t in (single, fourfold)]
    assert np.all(width[1] > 0.7 * width[0])  # copies of a family say nothing more


def test_a_cost_is_compared_at_equal_frequency():
    table = compare.networks("torchvision")
    ours = compare.pairs_right(table, "P_G", resamples=1)
    cost = compare.at_equal_frequency(table, "multiply-adds", resamples=1)
    assert np.allclose(ours["pairs"], cost["pairs"], atol=2)


@pytest.mark.slow
def test_the_committed_table_is_what_the_records_give():
    rows = FILE.read_text(encoding="utf-8").splitlines()
    assert rows == compare.calibrate().to_csv(index=False).splitlines()
    assert len(rows) == 1 + 3 * 4 * (len(GAPS) - 1)


@pytest.mark.parametrize("seed", range(3))
def test_lines_to_points_run_under_no_name(seed):
    rng = np.random.default_rng(seed)
    n = 200
    scores = pd.Series(31 + 10 * rng.beta(2, 4, n), name="R6")
    families = [f"family{i}" for i in range(n)]
    accuracies = 86 - 25 / (scores - 30) + rng.normal(0, 1, n)
    models = [f"zoo:{'net_' * (1 + i % 4)}{i}.a_recipe" for i in range(n)]
    table = pd.DataFrame({"family": families, "top1": accuracies, "model": models})
    fig = plotting.Picture(figsize=(plotting.PAGE_WIDTH / 2, 3.0))
    ax = fig.subplots()
    show.scatter(ax, table, scores, "top1")
    fig.draw_without_rendering()
    assert len(ax.texts) == 2 * show.LABELLED
    for text in ax.texts:
        line = text.arrow_patch.get_path().transformed(text.arrow_patch.get_transform())
        for other in ax.texts:
            assert not line.intersects_bbox(letters(other)), (text, other)


def letters(text):
    """Where the letters are, without the line."""
    return Text.get_window_extent(text).padded(-1.5)
