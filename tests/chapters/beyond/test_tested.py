"""Populations, what tables and the figure say of them, and the networks that were trained here."""

import numpy as np
import pandas as pd
import pytest

from reuseprior.chapters.beyond import (
    averages,
    choice,
    comparison,
    fresh,
    own,
    survey,
    tested,
    views,
)
from reuseprior.chapters.beyond.comparison import Difference, Estimate
from reuseprior.models import catalog
from reuseprior.report import chapters, notebooks

POPULATIONS = tested.POPULATIONS
NAMES = [population.name for population in POPULATIONS]


def table(value, low, high):
    estimate = Estimate(value, low, high)
    gap = Difference(0.1, -0.1, 0.3)
    rows = {"R6": (estimate, None), "multiply-adds": (estimate, gap)}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["agreement", "difference"])


def test_every_table_of_a_score_says_what_was_seen():
    tables, seen = dict.fromkeys(NAMES, table(0.9, 0.88, 0.92)), [p.seen for p in POPULATIONS]
    bars, less = tested.bars(tables), tested.differences(tables, "multiply-adds")
    within = "missed (within the interval)"
    assert bars["verdict"].tolist() == ["missed", within, within, *["reached"] * 4]
    assert bars.loc["timm", "R6"] == "0.900 (0.880 to 0.920)"
    assert bars["seen before"].tolist() == [*seen[:6], seen[-1]]
    assert less["seen before"].tolist() == seen
    assert less.iloc[0, -1] == "+0.100 (-0.100 to +0.300) not distinguishable"
    assert less.columns[-1] == "R6 less multiply-adds"
    assert tested.overview(tables).columns.tolist() == list(zip(NAMES, seen, strict=True))
    assert tested.overview(tables).loc["R6", ("timm", "yes")] == 0.9
    assert tested.title("torchvision") == "torchvision, seen before: half of it"


def test_chapter_6_shows_no_score_without_saying_what_was_seen():
    """The table itself says it, or is of the choice and says that."""
    path = next(one.notebook for one in chapters.found() if one.name == "06-beyond")
    allowed = [
        "title(", "with_seen(", "overview(", "differences(", "bars(", "not seen before",
        "survey.joined(name) for name", "all cells", "log_partition", "measure_all",
        # the text before it says that nothing was chosen on these
        "language.", "genotypes.", "candidates_of_r6 =", "views.blur_candidates",
    ]  # fmt: skip
    for cell in notebooks.read(path)["cells"]:
        source = notebooks.source(cell)
        if "nbval-check-output" in notebooks.tags(cell):
            assert any(word in source for word in allowed), source


def test_the_figure_has_a_panel_a_population():
    tables = dict.fromkeys(NAMES, table(0.9, 0.8, 1.0))
    fig = views.scores_by_population(tables, ["multiply-adds", "R6"], "R6")
    assert [ax.get_title().replace("\n", " ") for ax in fig.axes] == NAMES
    assert [ax.get_xlabel() for ax in fig.axes] == [*"ρρρττρρρρ"]
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["multiply-adds", "R6"]


def test_populations():
    for population in POPULATIONS[3:6]:
        rows = population.rows()
        found = population.scores(rows)
        assert len(found) == len(rows) > 30 and not found.isna().any(axis=None)
        assert "alike" in rows
    cells = survey.joined("nas-bench-201")
    assert tested.own_live_cells(cells).sum() == cells["model"].nunique() == 9445
    assert not set(POPULATIONS[0].rows()["alike"]) & set(cells.loc[choice.cells_of(cells), "alike"])


def test_trained_networks_are_scored_within_their_groups():
    rows = own.read()
    assert len(rows) == len(own.networks()) == 32
    assert (rows.groupby("group").size() >= 3).all()
    assert rows["accuracy"].between(0.3, 0.7).all() and rows["reason"].isna().all()
    found = tested.own_compared(resamples=20)
    assert found.loc["R6", "difference"] is None
    again = own._row(own.networks()["stores/wrn-16-2-all_but_bn"])
    kept = rows.set_index("model").loc["stores/wrn-16-2-all_but_bn"]
    assert again["P_G"] == pytest.approx(kept["P_G"]) and again["seeds"] == 2


def test_averages_on_other_cells():
    rows, others = averages.read()
    assert len(rows) == len(others) == averages.CELLS
    assert set(rows["cell"]) == set(averages.cells(survey.joined("nas-bench-201"))["cell"])
    pooled = rows["model"].str.partition(":")[2].str.contains("4")
    assert np.allclose(rows["shortest"], others["shortest"])
    # without a pooling in the cells only the two reductions average
    assert abs(rows["layer_entropy"] - others["layer_entropy"])[~pooled].max() < 0.2
    assert not np.allclose(rows["layer_entropy"], others["layer_entropy"])


def test_networks_of_random_cells_are_those_that_were_settled():
    rows = fresh.read()
    assert rows["model"].tolist() == sorted(fresh.names()[: len(rows)])
    assert all(catalog.find(name) for name in rows["model"])
    scores = comparison.scores(rows, rows["examples"].iloc[0])
    assert np.isfinite(scores).all(axis=None)
