"""Every printed number of Bidart's chapter 5, with what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from fractions import Fraction
from functools import cache
from math import sqrt

import pandas as pd
from scipy import stats

from reuseprior.chapters.classformer_runs import Search
from reuseprior.models.classformer import RANDOM_STARTS, Classformer, Schedule, Sizes, started
from reuseprior.report import published
from reuseprior.report.cells import Cells
from reuseprior.report.ledger import Contradiction, Interpretation, Public, Statement, public
from reuseprior.report.published import Printed
from reuseprior.report.runs import Claim, RunSelection
from reuseprior.results import Run
from reuseprior.training import Protocol

PARTS = Cells(__name__, "bidart/chapter-5")

# The benchmark's names of tasks, by our columns.
TASKS = {
    "cola": "CoLA", "mnli": "MNLI", "qnli": "QNLI", "qqp": "QQP", "sst2": "SST-2", "mrpc": "MRPC",
    "rte": "RTE", "stsb": "STS-B",
}  # fmt: skip
ROBERTA = "FacebookAI/roberta-base"
SEARCHED = Search(
    "glue-mrpc", "cpu", "gp", length=128, weights=""
)  # what claims about samplers are tested on


def _row(table: str, name: str) -> pd.Series:
    return published.row(f"bidart/chapter-5-{table}", name)


def _scores(row: pd.Series) -> dict[str, Fraction]:
    """The eight scores of a row by the columns under which they are printed."""
    return {task: Fraction(Printed.parse(row[task]).value) for task in row.index if task in TASKS}


# Tables -------------------------------------------------------------------------------------------


def average(row: pd.Series) -> Fraction:
    """The mean of a row's eight scores, as printed; which column is which does not matter."""
    scores = _scores(row).values()
    return sum(scores) / len(scores)


def again(row: pd.Series, column: str) -> str | Contradiction:
    """A score of the fine-tuning that table 5.1 prints too."""
    first = _row("table-5-1", "roberta-pretrained")[column]
    if row[column] == first:
        return f"{row.model} fine-tuned on eight tasks"
    return Contradiction(first, f"table 5.1 prints {first} of the same fine-tuning")


def levels() -> pd.DataFrame:
    """Table 5.3 as numbers, a row a layer, a column an accuracy required."""
    rows = published.load("bidart/chapter-5-table-5-3")
    return rows.set_index("layer").filter(like="at_").astype(int)


def schedule_of(column: str) -> Schedule:
    """The schedule that a column of table 5.3 is of: each length over the next.

    "Layer 0" is read as the first of twelve, which keeps all.
    """
    lengths = levels()[column].tolist()
    before = [lengths[0], *lengths[:-1]]
    return Schedule(tuple(b // length for b, length in zip(before, lengths, strict=True)))


@cache
def headers() -> dict[str, str]:
    """Table 5.4's columns as printed, each with the task whose scores stand in it.

    By the row of RoBERTa, whose eight numbers table 5.1 prints under their tasks, each once.
    """
    these, known = (
        _scores(_row("table-5-4", "roberta")),
        _scores(_row("table-5-1", "roberta-paper")),
    )
    if sorted(these.values()) != sorted(known.values()) or len(set(these.values())) != len(these):
        raise ValueError("the rows of RoBERTa are not the same eight numbers, each once")
    task_of = {score: task for task, score in known.items()}
    return {column: task_of[score] for column, score in these.items()}


def corrected() -> pd.DataFrame:
    """Table 5.4 under the headers that it should have, as numbers; a row a model."""
    table = published.load("bidart/chapter-5-table-5-4")
    rows = {row.model: _scores(row) for _, row in table.iterrows()}
    mended = {
        model: {headers()[column]: float(score) for column, score in scores.items()}
        for model, scores in rows.items()
    }
    return pd.DataFrame.from_dict(mended, orient="index")[list(TASKS)]


# Rows of table 5.4 that are in public sources at hand, and where these measured.
QUOTED = {
    "bert": ("BERT base", "test set"), "mobilebert": ("MobileBERT", "test set"),
    "distilbert": ("DistilBERT", "development set"), "roberta": ("RoBERTa base", "development set"),
}  # fmt: skip


def as_headed(column: str, name: str) -> list[Public | str]:
    """What other papers print under the header of a column, which is not theirs."""
    model, _ = QUOTED.get(name, ("", ""))
    task = headers()[column]
    sources, of_task = (public(f"{model}, {TASKS[t]}") for t in (column, task))
    note = "" if column == task else f"by table 5.1 it belongs under {TASKS[task]}"
    if of_task and column != task:
        note += f", where the source prints {of_task[0].printed}"
    return [*sources, note]


def searched(column: str) -> str:
    """What the Classformer's scores need, which stand under other headers than theirs."""
    task = headers()[column]
    note = "" if column == task else f"; these are scores of {TASKS[task]}"
    return f"searches with {ROBERTA} on eight tasks{note}"


# Settings and numbers of the text -----------------------------------------------------------------


@cache
def _package() -> dict[str, float]:
    """What the package has for the settings of the text, by their names."""
    protocol = Protocol.load("classformer")
    fixed = [g for g in Schedule.fixed(0, 12).gamma if g > 1]
    return {
        "random": RANDOM_STARTS,
        "hard-coded": len(started(12)),
        "iterations": SEARCHED.budget,
        "layers": Sizes().layers,
        "epochs": protocol.epochs,
        "warm-up": 100 * protocol.warmup_epochs / protocol.epochs,
        "last-factor": max(Schedule.last(1, 12).gamma),
        "fixed-factor": fixed[0],
        "fixed-others": len(fixed) - 1,
        "batch": 1,
    }


def carried(row: pd.Series, name: str) -> str:
    """What a setting is of, and whether the package carries it."""
    if name not in _package():
        return row.quantity
    has = _package()[name]
    same = has == float(row["value"])
    return f"{row.quantity}; the package has {'it' if same else f'{has:g}'}"


def p_value(correlation: float, n: int) -> float:
    """Of Pearson's correlation over n pairs, two-sided.

    >>> round(p_value(-0.25, 7), 2)
    0.59
    """
    t = correlation * sqrt((n - 2) / (1 - correlation**2))
    return float(2 * stats.t.sf(abs(t), n - 2))


def p_of(row: pd.Series, correlation: str) -> list[float | Interpretation]:
    """A p-value by the correlation that is printed beside it, whose digits leave an interval."""
    interval = Printed.parse(_row("text", correlation)["value"]).interval()
    printed = float(Printed.parse(row["value"]).value)

    def nearest(n: int) -> float:
        low, high = sorted(p_value(end, n) for end in interval.ends)
        return min(max(printed, low), high)

    every = len(published.load("bidart/chapter-5-table-5-2"))
    few = every - 1
    convention = f"over {few} data sets, of the {every} that the chapter works with"
    return [nearest(every), Interpretation(nearest(few), convention)]


# Claims -------------------------------------------------------------------------------------------


def _best(runs: Sequence[Run]) -> float:
    """The largest reward (equation 5.4) that a search came to."""
    return float(runs[0].metrics.reward.max())


def samplers(other: str) -> tuple[Claim, str]:
    """Whether a Gaussian process comes to more reward than another sampler, at equal budgets."""
    one = SEARCHED
    first, second = (
        (sampler, RunSelection(
            f"classformer-search-{one.scale}",
            asdict(replace(one, sampler=sampler)),
            _best,
        ))
        for sampler in (one.sampler, other)
    )  # fmt: skip
    scale = (
        f"MiniLM of {Sizes().layers} layers on MRPC, {one.budget} trials by the plain encoder's "
        f"weights, texts padded to {one.length} when timed; by the largest reward"
    )
    needs = f"classformer_runs.look for samplers {one.sampler!r} and {other!r}, 3 seeds each"
    return Claim(first, second, scale), needs


def same_parameters() -> Statement:
    sizes = Sizes(layers=2, width=12, heads=2, hidden=24, vocabulary=30, positions=20)
    counts = {
        sum(p.numel() for p in Classformer(schedule, 2, sizes).parameters())
        for schedule in (Schedule.plain(2), Schedule((2, 4), 3))
    }
    return Statement(len(counts) == 1)


def enables() -> Statement:
    lengths = levels().to_numpy()
    return Statement(bool((lengths[:, :-1] <= lengths[:, 1:]).all()))


def of_full() -> Statement:
    """At 80 % of the full model's accuracy on RTE there would be much to reduce, by table 5.4."""
    nothing = schedule_of("at_80").is_plain
    full = float(_row("table-5-1", "roberta-pretrained").rte)
    reached = corrected().loc["Classformer 95%", "rte"]
    beyond = reached / full > 0.8
    note = (
        "they must be accuracies themselves: at 80 % table 5.3 reduces nothing, and 80 % of the "
        f"full model's {full} on RTE (table 5.1) is {0.8 * full:.1f}, which table 5.4's "
        f"Classformer 95%, reduced, exceeds with {reached}"
    )
    return Statement(not (nothing and beyond), True, note)


def misplaced() -> Statement:
    task_of = headers()
    same = sum(column == task for column, task in task_of.items())
    agree = {
        model: sum(
            public(f"{model}, {TASKS[task]}")[0].printed == published_row[column]
            for column, task in task_of.items()
        )
        for name, (model, _) in QUOTED.items()
        for published_row in [_row("table-5-4", name)]
    }
    note = (
        f"they are {', '.join(TASKS[task] for task in task_of.values())}: RoBERTa's eight numbers "
        f"stand under these in table 5.1; {same} of 8 headers are right; under the mended ones "
        + ", ".join(f"{count} of 8 numbers of {model}" for model, count in agree.items())
        + " are those of their sources"
    )
    right = all(count == len(task_of) for count in agree.values())
    return Statement(same == len(task_of), right, note)


def development() -> Statement:
    tested = [model for model, part in QUOTED.values() if part == "test set"]
    average = _row("table-5-4", "bert").average, _row("table-5-5", "bert").average
    note = (
        f"{' and '.join(tested)} in table 5.4 are of the test set, by their papers as others quote "
        f"them; BERT's average is {average[0]} there and {average[1]} in table 5.5, on the "
        "development set"
    )
    return Statement(not tested, True, note)


def kept(model: str) -> dict[str, pd.Series]:
    """A model's scores as per cent of the full model's, by the table that has the latter."""
    full = {
        "5.1": _row("table-5-1", "roberta-pretrained"), "5.4": None,
        "5.5": _row("table-5-5", "roberta"),
    }  # fmt: skip
    table = corrected()
    whole = {
        place: table.loc["Roberta"] if row is None else row[list(TASKS)].astype(float)
        for place, row in full.items()
    }
    return {place: 100 * table.loc[model] / scores for place, scores in whole.items()}


def meets(level: int) -> Statement:
    shares = kept(f"Classformer {level}%")
    notes = [
        f"of RoBERTa in table {place} from {share.min():.1f} ({TASKS[share.idxmin()]}) to "
        f"{share.max():.1f} %, {int((share >= level).sum())} of 8 tasks at {level} or more"
        for place, share in shares.items()
    ]
    met = any((share >= level).all() for share in shares.values())
    return Statement(met, True, "; ".join(notes))


def first_row() -> Statement:
    paper, thesis = (_row("table-5-1", f"roberta-{name}") for name in ("paper", "pretrained"))
    gaps = {task: float(thesis[task]) - float(paper[task]) for task in TASKS}
    far = {task: gap for task, gap in gaps.items() if abs(gap) > 1}
    shown = ", ".join(f"{TASKS[task]} {gap:+.1f}" for task, gap in far.items())
    note = (
        f"that is the paper's own, the second the thesis's; they differ by more than 1 in {shown}"
    )
    return Statement(False, True, note)
