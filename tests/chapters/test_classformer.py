"""Chapter 5's tables; searches and comparisons on a small encoder, halves kept apart."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from reuseprior.chapters import classformer, classformer_runs
from reuseprior.chapters.classformer_runs import DRAWN, KNOWN, Experiment, Search, look
from reuseprior.data import TextSet
from reuseprior.errors import UserError
from reuseprior.measures.latency import interleaved
from reuseprior.models.classformer import Classformer, Schedule, Sizes
from reuseprior.report import campaign
from tests.training.letters import LETTERS, texts

pytest.importorskip("optuna")
SIZES = Sizes(layers=6, width=16, heads=2, hidden=16, vocabulary=40, positions=130)
TASK = "glue-sst2"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Where a plain and a drawn encoder of a letter's breadth are trained."""
    patch = pytest.MonkeyPatch()
    held = TextSet.of(TASK, 2, "accuracy", texts(96, 0), texts(40, 1))

    def pretrained(name, *, schedule=None, space=None, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Classformer(schedule or Schedule.plain(6), 2, SIZES, space)

    patch.setattr(classformer_runs, "pretrained", pretrained)
    patch.setattr(classformer_runs, "tokenizer", lambda name: LETTERS)
    patch.setattr(classformer_runs.data, "load", lambda name, place=None: held)
    patch.setattr(classformer_runs, "labelled_test", lambda name, place: texts(20, 2))
    changes = {"epochs": 2, "warmup_epochs": 0.2, "learning_rate": 0.1}
    patch.setattr(classformer_runs, "TIMED", 3)
    once = lambda calls, inputs, **_: interleaved(calls, inputs, rounds=1)  # noqa: E731
    patch.setattr(classformer_runs, "interleaved", once)  # how times are taken is tested elsewhere
    patch.setitem(classformer_runs.SCALES, "small", dict.fromkeys(classformer_runs.TASKS, changes))
    place = tmp_path_factory.mktemp("results")
    for schedule in ("", DRAWN):
        classformer_runs.run(
            Experiment(TASK, "small", schedule), seed=0, root=place, progress=False
        )
    yield place
    patch.undo()


def test_a_search_goes_by_one_half_and_is_recorded(root):
    one = Search(TASK, "small", "tpe", length=32, budget=10)
    searched = look(one, seed=1, root=root)
    assert searched.summary["state"] == "finished" and len(searched.metrics) == 10
    plain = classformer_runs._recorded(Experiment(TASK, "small"), root)
    best = plain.metrics.validation_accuracy.max()
    assert searched.config["required"] == best - classformer_runs.MARGIN
    bench = classformer_runs._Bench.of(Experiment(TASK, "small", DRAWN), root, None)
    for row in searched.metrics.itertuples():
        schedule = Schedule.parse(row.schedule)
        assert row.score == bench.score(schedule, "search")
        assert row.share > 0
    again = look(one, seed=1, root=root)
    assert again.metrics.equals(searched.metrics)
    schedule = searched.metrics.schedule[searched.metrics.reward.idxmax()]
    wanted = [("tpe", Schedule.parse(schedule))]
    assert classformer_runs.found(TASK, "small", 32, root=root) == wanted
    assert classformer_runs.found(TASK, "small", 0, root=root) == []
    assert len(classformer_runs.trials(TASK, "small", 32, root=root)) == 10
    assert classformer_runs.trials(TASK, "small", 32, "", root=root).empty


def test_times_are_of_texts_as_long_as_those_that_are_scored(root, monkeypatch):
    """Not of training texts, which in SST-2 are phrases."""
    bench = classformer_runs._Bench.of(Experiment(TASK, "small"), root, None)
    monkeypatch.setattr(bench, "texts", replace(bench.texts, train=texts(96, 0).take([0])))
    timed = [len(one[0, 0]) for one in bench.timed(0)]
    scored = sorted(len(ids) for ids, _ in bench.task.tokens(bench.texts.search))
    assert timed == [scored[len(scored) * part // 6] for part in (1, 3, 5)]
    assert {one.shape[2] for one in bench.timed(32)} == {32}


@pytest.mark.slow
def test_a_comparison_times_all_in_one_run(root):
    compared = classformer_runs.compare(TASK, "small", length=32, seed=0, root=root).metrics
    assert compared.kind[0] == "baseline" and compared.share_1_threads[0] == 1
    assert {*KNOWN} <= {*compared.kind}
    scores = compared.set_index("kind").filter(like="score_")
    assert scores.loc["free"].equals(scores.loc["plain"].rename("free"))
    assert compared.filter(like="threads").notna().all(axis=None)


@pytest.mark.slow
def test_a_search_by_the_plain_encoders_weights(root):
    """The last layer's bottleneck costs them nothing."""
    look(Search(TASK, "small", "random", 32, "", budget=3), seed=0, root=root)
    table = classformer_runs.compare(
        TASK, "small", length=32, seed=0, weights="", root=root
    ).metrics
    table = table.set_index("kind")
    assert set(table.weights) == {Experiment(TASK, "small").name(0)}
    scores = table.filter(like="score_")
    assert scores.loc["free"].equals(scores.loc["baseline"].rename("free"))
    assert "found by random" in table.index and "plain" not in table.index
    shown = classformer_runs.front(TASK, "small", 32, "", root=root)
    assert shown.score_report[0] == 100 * table.score_report.iloc[0]


BASE = ("baseline", "1,1,1,1,1,1", 1.0, 90.0, 91.0)


def compared(*rows):
    """A comparison of the baseline with these rows."""
    columns = ["kind", "schedule", "share_1_threads", "score_search", "score_report"]
    table = pd.DataFrame([BASE, *rows], columns=columns)
    return table.assign(layers=[3 if kind == "fewer" else 6 for kind in table.kind])


def test_half_the_time_is_chosen_by_one_half_and_judged_by_the_other():
    """The best of the report half would be another, and would be chosen by what it reports."""
    table = compared(
        ("found", "4,4,1,1,1,1", 0.4, 89.0, 86.0), ("found", "4,2,1,1,1,1", 0.5, 88.0, 90.5),
        ("last", "1,1,1,1,4,1", 0.7, 90.0, 91.0), ("fewer", "1,1,1", 0.5, 90.0, 91.0),
    )  # fmt: skip
    best = classformer_runs.halving(table)
    assert best.schedule == "4,4,1,1,1,1" and best.loss == 5
    assert classformer_runs.halving(table[table.share_1_threads > 0.5]) is None


def test_the_binary_search_over_fixed_schedules():
    scores = (60, 70, 87.9, 88, 89, 90)
    table = compared(*(
        ("fixed", str(Schedule.fixed(i, 6)), 0.5 + i / 20, score, score - 1)
        for i, score in enumerate(scores)
    ))  # fmt: skip
    row, looks = classformer_runs.constrained(table)
    assert row.schedule == str(Schedule.fixed(3, 6)) and looks <= 3
    row, _ = classformer_runs.constrained(table, loss=-1)
    assert row.kind == "baseline"


def test_the_shortest_schedule_computes_least():
    """At no length does another schedule of the space keep fewer positions after any layer."""
    (shortest,) = KNOWN["shortest"]
    random = torch.Generator().manual_seed(0)
    for length in (1, 5, 26, 128, 512):
        least = shortest.lengths(length)
        for _ in range(200):
            drawn = classformer_runs.SPACE.draw(random).lengths(length)
            assert all(a <= b for a, b in zip(least, drawn, strict=True))


@pytest.mark.slow
def test_a_campaign_goes_on_with_what_is_finished(root, monkeypatch):
    """Searches of two trials: how many is no matter of what is made."""
    search = classformer_runs.search
    monkeypatch.setattr(classformer_runs, "KNOWN", {k: KNOWN[k] for k in ("plain", "cut")})
    monkeypatch.setattr(
        classformer_runs, "search", lambda *given, budget, **more: search(*given, budget=2, **more)
    )
    few = ("", "layers=3", "sampler=random length=128", "sampler=gp length=0", "length=128")
    planned = [
        replace(one, protocol="small", run=one.run.replace("-cpu/", "-small/"))
        for one in campaign.planned("14-classformer", protocol="cpu")
        if one.changes in few and one.seed == 0
    ]
    others = {path.parent for path in root.rglob("summary.json")}  # of the other tests here
    for one in planned:
        one.start(root, progress=False)
    made = {path: path.stat().st_mtime_ns for path in root.rglob("summary.json")}
    names = {path.parent.name for path in made}
    assert {"sst2-drawn-seed0", "sst2-plain-layers3-seed0", "rte-plain-seed0"} <= names
    assert {"mrpc-plain-length128-random-seed0", "sst2-drawn-own-lengths-gp-seed0"} <= names
    folders, all_made = {one.folder(root) for one in planned}, {path.parent for path in made}
    assert folders <= all_made and all_made - folders <= others
    table = classformer_runs.front(TASK, "small", 128, root=root)
    assert {"fewer layers", "baseline"} <= set(table.kind)
    for one in planned:
        one.start(root, progress=False)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("summary.json")} == made


def test_the_test_part_is_read_once(root, tmp_path, monkeypatch):
    """By no other model, at no other scale, and not in a root beside the record either."""
    one = Experiment(TASK, "small")
    read = classformer_runs.read_test(one, Schedule.plain(6), root=root)
    assert 0 <= read.metrics.accuracy.item() <= 1
    told = "holds a reading of the test part of glue-sst2: it is"
    for other in (one, Experiment(TASK, "cpu"), Experiment(TASK, "small", DRAWN)):
        with pytest.raises(UserError, match=told):
            classformer_runs.read_test(other, Schedule.plain(6), root=root)
    monkeypatch.setattr(classformer_runs.paths, "RESULTS", root)
    with pytest.raises(UserError, match=told):
        classformer_runs.read_test(one, Schedule.plain(6), root=tmp_path)


def test_what_is_not_trained_is_said(root):
    with pytest.raises(UserError, match="holds no finished training: run"):
        look(Search(TASK, "full", "gp"), seed=0, root=root)


SCHEDULES = [
    "1,1,1,1,1,1", "2,1,1,1,1,1", "1,1,1,1,1,8", "1,4,1,2,1,1+4", "8,8,8,8,8,8", "1,1,1,1,2,1+16",
]  # fmt: skip


@pytest.mark.parametrize("length", [13, 128])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_contexts_left_are_a_product_of_lengths(schedule, length):
    """In bits Σ log2(kept / length) over all layers but the last, nearly: see the notebook."""
    schedule = Schedule.parse(schedule)
    counted = classformer_runs.structure(schedule, length)["bits"]
    kept = np.array(schedule.lengths(length)[:-1])
    assert counted == pytest.approx(np.log2(kept / length).sum(), abs=1e-3)


def test_multiply_adds_by_hand():
    """Of MiniLM at 128 tokens: four projections, two of attention, two feed-forward, a head."""

    def by_hand(lengths):
        total = 384 * 384 + 384 * 2
        for before, kept in zip((128, *lengths), lengths, strict=False):
            total += 384 * 384 * 2 * (before + kept) + 2 * 384 * before * kept
            total += 2 * 384 * 1536 * kept
        return total

    for schedule in map(Schedule.parse, SCHEDULES):
        found = classformer_runs.structure(schedule, 128)["multiply_adds"]
        assert found == by_hand(schedule.lengths(128))


# Tables -------------------------------------------------------------------------------------------


def test_headers_need_the_same_numbers(monkeypatch):
    """A number typed wrong would not be taken for a permutation."""
    assert list(classformer.headers().values()) == [
        "cola", "qqp", "mrpc", "stsb", "rte", "sst2", "mnli", "qnli"
    ]  # fmt: skip
    own, wrong = classformer._row, ("table-5-4", "roberta")
    row = own(*wrong).copy()
    row["mnli"] = "91.8"
    monkeypatch.setattr(classformer, "_row", lambda *asked: row if asked == wrong else own(*asked))
    classformer.headers.cache_clear()
    with pytest.raises(ValueError, match="not the same eight numbers"):
        classformer.headers()
    classformer.headers.cache_clear()


def test_table_5_3_is_of_schedules_without_eta():
    for column, levels in classformer.levels().items():
        schedule = classformer.schedule_of(column)
        assert list(schedule.lengths(512)) == levels.tolist()
        assert schedule.eta == 0 and set(schedule.gamma) <= {1, 2, 4}


def test_p_values_are_scipy_s():
    r, p = stats.pearsonr(*np.random.RandomState(0).normal(size=(2, 9)))
    assert classformer.p_value(r, 9) == pytest.approx(p)
