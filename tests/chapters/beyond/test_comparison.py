"""Scores against each other: intervals, differences on the same samples, choices without leaks."""

import numpy as np
import pandas as pd
import pytest

from reuseprior import paths
from reuseprior.chapters.beyond import benchmarks, choice, comparison, preregistration, survey
from reuseprior.errors import UserError
from reuseprior.measures.scores import R6, R7
from reuseprior.models import nas_bench_201
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
    table = comparison.compare(found, y, by=by, resamples=300)
    assert table.loc["R6", "difference"] is None
    gap, values = table.loc["b", "difference"], table["agreement"].map(lambda e: e.value)
    assert gap.value == pytest.approx(values["R6"] - values["b"])
    assert 0 < gap.low < gap.value < gap.high and gap.verdict == "better"
    back = comparison.compare(found, y, by=by, against="b", resamples=300).loc["R6", "difference"]
    assert (back.low, back.high) == pytest.approx((-gap.high, -gap.low))
    assert back.verdict == "worse" and str(back).endswith(" worse")


def test_copies_say_no_more_than_one_of_them():
    one, nine = drawn(), drawn(copies=9)
    single, whole, alone = (
        width(comparison.compare(*given, resamples=300).loc["b", "agreement"])
        for given in (one[:2], nine, nine[:2])
    )
    assert whole == pytest.approx(single, rel=0.3) and alone < single / 2


def test_several_tasks_count_as_their_mean():
    found, y, _ = drawn()
    both = comparison.compare(found, y.assign(z=-y["y"]), resamples=10)
    assert both.loc["R6", "agreement"].value == pytest.approx(0)


def test_within_groups():
    found, y, _ = drawn()
    group = pd.Series(np.arange(60) % 6)
    shifted = y["y"] + 100 * group  # between groups the scores say nothing
    table = comparison.within(found, shifted, group, resamples=100)
    assert table.loc["R6", "agreement"].value > 0.6
    pooled = comparison.compare(found, shifted.to_frame(), by="tau", resamples=10)
    assert pooled.loc["R6", "agreement"].value < 0.4
    by_models = comparison.within(found, shifted, group, resamples=100, models=True)
    assert by_models.loc["b", "difference"].value == table.loc["b", "difference"].value
    with pytest.raises(UserError, match="No group has three models"):
        comparison.within(found, shifted, pd.Series(range(60)))


def test_inside_against_outside_is_one_question():
    """Two sets with one and the same advantage: its difference is not told apart from none."""
    found, y, _ = drawn(200)
    inside = pd.Series(np.arange(200) < 20)
    given = (found, y["y"], pd.Series(range(200)), inside, "R6", "b")
    result = comparison.difference_of_differences(*given, resamples=200)
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
            comparison.compare(scores, accuracies, by=by)


def test_what_was_settled_is_what_is_computed():
    settled = preregistration.settled()["scores"]
    assert (R6.weight, R7.weight, settled["recommended"]) == (1 / 4, 1 / 2, "R6")
    assert settled["R6"].startswith("P_G + 1/4 (log2 M + H_u) - blur")
    table = survey.joined("torchvision")
    assert list(comparison.scores(table, 10)) == settled["compared"]
    assert len(comparison.variants()) == 5 + 9
    for name in benchmarks.names():
        benchmark = benchmarks.find(name)
        assert all(benchmark.examples(accuracy) > 2 for accuracy in benchmark.accuracies)
        config = read_json(paths.RESULTS / "beyond" / name / CONFIG)
        assert config["preregistration"] == preregistration.sha256(), name


def test_isomorphic_cells_are_written_alike():
    """Edges 0→1, 0→2, 1→2, 0→3, 1→3, 2→3: one convolution, or a chain of two, by any nodes."""
    ways = {
        "(0)3": ("000300", "300010", "100030", "030001", "010003"),
        "((0)2)3": ("200030", "020003", "201003", "102003"),
        "(0)3+0": ("300110", "010103", "030101"),
    }
    for written, cells in ways.items():
        assert {nas_bench_201.structure(cell) for cell in cells} == {written}
    assert nas_bench_201.structure("330000") == ""


def test_the_choice_and_the_rest_share_no_structure_and_no_live_cell():
    cells = benchmarks.find("nas-bench-201").read()
    seen = choice.cells_of(cells)
    assert 1000 <= seen.sum() < 1300
    for column in ("alike", "model"):
        assert not set(cells.loc[seen, column]) & set(cells.loc[~seen, column])
    zoo = benchmarks.find("torchvision").read()
    half = choice.classifiers_of(zoo)
    assert not set(zoo.loc[half, "family"]) & set(zoo.loc[~half, "family"])
    assert 20 < half.sum() < 55


def test_every_candidate_is_kept():
    table = choice.read()
    assert len(table) == len(choice.candidates()) == 113
    assert table["sum"].is_monotonic_decreasing
    best = choice.best(table)
    assert best.name == table.iloc[0]["score"] and best.sizes
