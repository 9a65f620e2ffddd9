"""Every printed number of Bidart's chapter 5, with what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from fractions import Fraction
from functools import cache, partial
from math import sqrt

import pandas as pd
from scipy import stats

from reuseprior.chapters.classformer_runs import Search
from reuseprior.models.classformer import Classformer, Schedule, Sizes, started
from reuseprior.models.classformer.search import RANDOM_STARTS
from reuseprior.report import published
from reuseprior.report.ledger import (
    Cell,
    Entry,
    Reading,
    contradicted,
    judged,
    public,
    quoted,
    setting,
    stated,
)
from reuseprior.report.published import Printed
from reuseprior.report.runs import Claim, Evidence, claimed, measured
from reuseprior.results import Run
from reuseprior.training import Protocol

TASKS = {
    "cola": "CoLA", "mnli": "MNLI", "qnli": "QNLI", "qqp": "QQP", "sst2": "SST-2", "mrpc": "MRPC",
    "rte": "RTE", "stsb": "STS-B",
}  # fmt: skip
ROBERTA = "FacebookAI/roberta-base"
SEARCHED = Search(
    "glue-mrpc", "cpu", "gp", length=128, weights=""
)  # what claims about samplers are tested on


def _rows(table: str, where: str = "bidart") -> Iterator[pd.Series]:
    rows = published.load(f"bidart/chapter-5-{table}")
    yield from (row for _, row in rows[rows["where"].str.startswith(where)].iterrows())


def _row(table: str, name: str) -> pd.Series:
    return next(row for row in _rows(table) if row.id.endswith(f"-{name}"))


def _value(table: str, name: str) -> Fraction:
    return Fraction(Printed.parse(_row(table, name)["value"]).value)


def _scores(row: pd.Series) -> dict[str, Fraction]:
    """The eight scores of a row by the columns under which they are printed."""
    return {task: Fraction(Printed.parse(row[task]).value) for task in row.index if task in TASKS}


# Tables of scores ---------------------------------------------------------------------------------


def _average(row: pd.Series, note: str = "") -> Cell:
    """The mean of a row's eight scores, as printed; which column is which does not matter."""
    scores = _scores(row).values()
    return Cell(row, "average", [Reading(sum(scores) / len(scores))], note=note, derived=True)


def _trained(row: pd.Series, what: str, notes: Mapping[str, str] | None = None) -> Iterator[Entry]:
    """Scores that somebody would have to train for."""
    for task in _scores(row):
        note = (notes or {}).get(task, "")
        yield measured(row, task, None, what + (f"; {note}" if note else ""))


def table_1() -> Iterator[Entry]:
    """RoBERTa as its authors have it, fine-tuned, and from random weights."""
    paper, pretrained, random = _rows("table-5-1")
    for task, name in TASKS.items():
        yield quoted(paper, task, public(f"RoBERTa base, {name}"))
    yield from _trained(pretrained, f"{ROBERTA} fine-tuned at scale 'full' on eight tasks")
    doubted = (
        f"the row has {random.qnli} for QNLI too, {pretrained.cola} is CoLA of the pretrained one, "
        f"and table 5.6 prints {_row('table-5-6', 'none').cola} for a pretrained one with two "
        "bottlenecks: a slip of the pen, most likely"
    )
    yield from _trained(
        random, f"{ROBERTA} from random weights on eight tasks", {"cola": doubted}
    )  # fmt: skip
    again = _row("table-5-4", "roberta").average
    yield from judged([
        _average(paper, f"a tie, which table 5.4 prints as {again} of the same eight numbers"),
        _average(pretrained),
        _average(random, "with the 60.4 for CoLA, so that stood there before the mean was taken"),
    ])  # fmt: skip


def table_2() -> Iterator[Entry]:
    """Sizes of GLUE's tasks."""
    names = {name.lower().replace("-", ""): name for name in TASKS.values()}
    for row in _rows("table-5-2"):
        name = names[row.task]
        part = ", matched" if name == "MNLI" else ""
        yield quoted(row, "training", public(f"GLUE, {name}, training"))
        yield quoted(row, "validation", public(f"GLUE, {name}, validation{part}"))


def table_3() -> Iterator[Entry]:
    """Lengths in the layers of what was found; the first is the example's own length."""
    first, *rest = _rows("table-5-3")
    columns = list(levels().columns)
    for column in columns:
        yield setting(first, column, "no layer of any column reduces the input itself")
    for row in rest:
        for column in columns:
            level = column.removeprefix("at_")
            yield measured(row, column, None, f"a search with {ROBERTA} on RTE at {level} %")


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
    return Schedule(tuple(b // own for b, own in zip(before, lengths, strict=True)))


@cache
def headers() -> dict[str, str]:
    """Table 5.4's columns as printed, each with the task whose scores stand in it.

    By the row of RoBERTa, whose eight numbers table 5.1 prints under their tasks, each once.
    """
    own, known = _scores(_row("table-5-4", "roberta")), _scores(_row("table-5-1", "roberta-paper"))
    if sorted(own.values()) != sorted(known.values()) or len(set(own.values())) != len(own):
        raise ValueError("the rows of RoBERTa are not the same eight numbers, each once")
    task_of = {score: task for task, score in known.items()}
    return {column: task_of[score] for column, score in own.items()}


def corrected() -> pd.DataFrame:
    """Table 5.4 under the headers that it should have, as numbers; a row a model."""
    rows = {row.model: _scores(row) for row in _rows("table-5-4")}
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


def table_4() -> Iterator[Entry]:
    """Scores of other papers, and of the Classformer, under headers that are not theirs."""
    cells = []
    for row in _rows("table-5-4"):
        name = row.id.removeprefix("bidart-5-4-")
        again = _row("table-5-1", "roberta-paper").average
        tie = f"a tie, which table 5.1 prints as {again}" if name == "roberta" else ""
        cells.append(_average(row, tie))
        if name.startswith("classformer"):
            yield from _trained(
                row, f"searches with {ROBERTA} on eight tasks",
                {column: f"these are scores of {TASKS[task]}"
                 for column, task in headers().items() if column != task},
            )  # fmt: skip
            continue
        for column, task in headers().items():
            model, _ = QUOTED.get(name, ("", ""))
            sources, own = (public(f"{model}, {TASKS[t]}") for t in (column, task))
            note = "" if column == task else f"by table 5.1 it belongs under {TASKS[task]}"
            if own and column != task:
                note += f", where the source prints {own[0].printed}"
            yield quoted(row, column, sources, note)
    yield from judged(cells)


def table_5() -> Iterator[Entry]:
    """The same models as the thesis fine-tuned them."""
    other = _row("table-5-1", "roberta-pretrained")
    for row in _rows("table-5-5"):
        for task in _scores(row):
            if row.model == "Roberta" and row[task] != other[task]:
                says = f"table 5.1 prints {other[task]} of the same fine-tuning"
                yield contradicted(row, task, "measured", says)
            else:
                yield measured(row, task, None, f"{row.model} fine-tuned on eight tasks")
    yield from judged(map(_average, _rows("table-5-5")))


def table_6() -> Iterator[Entry]:
    """Objectives of further pretraining."""
    for row in _rows("table-5-6"):
        yield from _trained(row, f"{ROBERTA} pretrained further on WikiText-103, and fine-tuned")
    yield from judged(map(_average, _rows("table-5-6")))


# Settings and numbers of the text -----------------------------------------------------------------


def carried() -> dict[str, float]:
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


def setup(where: str) -> Iterator[Entry]:
    """Settings of the text, and whether the package carries them."""
    code = carried()
    for row in _rows("setup", where):
        name, note = row.id.removeprefix("bidart-5-setup-"), row.quantity
        if name in code:
            same = code[name] == float(row["value"])
            note += "; the package has it" if same else f"; the package has {code[name]:g}"
        yield setting(row, "value", note)


def p_value(correlation: float, n: int) -> float:
    """Of Pearson's correlation over n pairs, two-sided.

    >>> round(p_value(-0.25, 7), 2)
    0.59
    """
    t = correlation * sqrt((n - 2) / (1 - correlation**2))
    return float(2 * stats.t.sf(abs(t), n - 2))


def _p(row: pd.Series, correlation: str) -> Cell:
    """A p-value by the correlation that is printed beside it, whose digits leave a window."""
    found = Printed.parse(_row("text", correlation)["value"])
    printed = float(Printed.parse(row["value"]).value)

    def nearest(n: int) -> float:
        low, high = sorted(p_value(end, n) for end in found.window().ends)
        return min(max(printed, low), high)

    every = len(published.load("bidart/chapter-5-table-5-2"))
    few = every - 1
    return Cell(row, "value", [
        Reading(nearest(every)),
        Reading(nearest(few), f"over {few} data sets, of the {every} that the chapter works with"),
    ], note="the correlation anywhere in the window of its digits")  # fmt: skip


def text(where: str) -> Iterator[Entry]:
    """Numbers in sentences."""
    cells = []
    for row in _rows("text", where):
        name = row.id.removeprefix("bidart-5-text-")
        if name == "variables":
            layers = int(_value("setup", "layers"))
            cells.append(
                Cell(row, "value", [Reading(layers + 1)], note="a γ a layer, and η", derived=True)
            )
        elif name == "others":
            total = int(_value("setup", "hard-coded"))
            note = "all but RoBERTa itself"
            cells.append(Cell(row, "value", [Reading(total - 1)], note=note, derived=True))
        elif name in ("size-p", "length-p"):
            cells.append(_p(row, name.replace("-p", "-correlation")))
        elif name == "tasks":
            yield quoted(row, "value", public("GLUE, tasks"))
        elif name == "tokens":
            yield quoted(row, "value", public("WikiText-103, tokens"))
        elif name == "stsb-categories":
            note = (
                "GLUE makes it a regression, and this chapter scores it by Spearman's correlation"
            )
            yield stated(row, "value", printed=False, mended=True, note=note)
        else:
            yield measured(row, "value", None, _NEEDS[name])
    yield from judged(cells)


_NEEDS = {
    "pareto": "times of eight models on eight tasks, which are drawn and not printed",
    "pareto-others": "times of eight models on eight tasks, which are drawn and not printed",
    "size-correlation": "the performances that were correlated, which are not printed",
    "length-correlation": "the performances that were correlated, which are not printed",
    "dense-loss": f"{ROBERTA} pretrained further on WikiText-103",
    "harmless": f"{ROBERTA} fine-tuned on MNLI under 8x at each layer",
}


# Claims -------------------------------------------------------------------------------------------


def claims(where: str) -> Iterator[Entry]:
    """What the chapter claims in words."""
    for row in _rows("claims", where):
        name = row.id.partition("-claim-")[2]
        if name in _STATED:
            yield _STATED[name](row)
        elif name in _BETTER:
            yield _samplers(row, _BETTER[name])
        else:
            yield measured(row, "value", None, _OPEN[name])


def _best(runs: Sequence[Run]) -> float:
    """The largest reward (equation 5.4) that a search came to."""
    return float(runs[0].metrics.reward.max())


def _samplers(row: pd.Series, other: str) -> Entry:
    """Whether a Gaussian process comes to more reward than another sampler, at equal budgets."""
    one = SEARCHED
    first, second = (
        (sampler, Evidence(
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
    needs = f"classformer.experiments.look for samplers {one.sampler!r} and {other!r}, 3 seeds each"
    return claimed(row, "value", Claim(first, second, scale), needs)


_BETTER = {"gp-tpe": "tpe", "gp-random": "random"}


def _same_parameters(row: pd.Series) -> Entry:
    sizes = Sizes(layers=2, width=12, heads=2, hidden=24, vocabulary=30, positions=20)
    counts = {
        sum(p.numel() for p in Classformer(schedule, 2, sizes).parameters())
        for schedule in (Schedule.plain(2), Schedule((2, 4), 3))
    }
    note = "a schedule is no weight: the module is the same"
    return stated(row, "value", printed=len(counts) == 1, note=note)


def _enables(row: pd.Series) -> Entry:
    lengths = levels().to_numpy()
    holds = bool((lengths[:, :-1] <= lengths[:, 1:]).all())
    return stated(row, "value", printed=holds, note="no layer is longer at a lower requirement")


def _of_full(row: pd.Series) -> Entry:
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
    return stated(row, "value", printed=not (nothing and beyond), mended=True, note=note)


def _headers(row: pd.Series) -> Entry:
    found = headers()
    same = sum(column == task for column, task in found.items())
    agree = {
        model: sum(
            public(f"{model}, {TASKS[task]}")[0].printed == published_row[column]
            for column, task in found.items()
        )
        for name, (model, _) in QUOTED.items()
        for published_row in [_row("table-5-4", name)]
    }
    note = (
        f"they are {', '.join(TASKS[task] for task in found.values())}: RoBERTa's eight numbers "
        f"stand under these in table 5.1; {same} of 8 headers are right; under the mended ones "
        + ", ".join(f"{count} of 8 numbers of {model}" for model, count in agree.items())
        + " are those of their sources"
    )
    right = all(count == len(found) for count in agree.values())
    return stated(row, "value", printed=same == len(found), mended=right, note=note)


def _development(row: pd.Series) -> Entry:
    tested = [model for model, part in QUOTED.values() if part == "test set"]
    average = _row("table-5-4", "bert").average, _row("table-5-5", "bert").average
    note = (
        f"{' and '.join(tested)} in table 5.4 are of the test set, by their papers as others quote "
        f"them; BERT's average is {average[0]} there and {average[1]} in table 5.5, on the "
        "development set"
    )
    return stated(row, "value", printed=not tested, mended=True, note=note)


def _f1(row: pd.Series) -> Entry:
    """BERT's source measures F1 on QQP and MRPC, RoBERTa's accuracy."""
    own = _row("table-5-1", "roberta-pretrained").qqp
    paper, bert = _row("table-5-1", "roberta-paper"), corrected().qqp["BERT"]
    note = (
        f"on QQP BERT's {bert} is F1, by its paper as others quote it, and RoBERTa's {paper.qqp} "
        f"accuracy, as is its {paper.mrpc} on MRPC, by the commands that its repository names; "
        "RoBERTa as the thesis "
        f"fine-tunes it has {own} on QQP, so the Classformer's F1 is set beside an accuracy"
    )
    return stated(row, "value", printed=False, mended=True, note=note)


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


def _meets(row: pd.Series, level: int) -> Entry:
    shares = kept(f"Classformer {level}%")
    told = [
        f"of RoBERTa in table {place} from {share.min():.1f} ({TASKS[share.idxmin()]}) to "
        f"{share.max():.1f} %, {int((share >= level).sum())} of 8 tasks at {level} or more"
        for place, share in shares.items()
    ]
    met = any((share >= level).all() for share in shares.values())
    return stated(row, "value", printed=met, mended=True, note="; ".join(told))


def _first_row(row: pd.Series) -> Entry:
    paper, own = (_row("table-5-1", f"roberta-{name}") for name in ("paper", "pretrained"))
    gaps = {task: float(own[task]) - float(paper[task]) for task in TASKS}
    far = {task: gap for task, gap in gaps.items() if abs(gap) > 1}
    told = ", ".join(f"{TASKS[task]} {gap:+.1f}" for task, gap in far.items())
    note = f"that is the paper's own, the second the thesis's; they differ by more than 1 in {told}"
    return stated(row, "value", printed=False, mended=True, note=note)


def _mobilebert(row: pd.Series) -> Entry:
    note = (
        "MobileBERT makes layers narrower, in the width of vectors, and keeps all positions (Sun "
        "et al. 2020, section 3)"
    )
    return stated(row, "value", printed=False, mended=True, note=note)


_STATED: dict[str, Callable[[pd.Series], Entry]] = {
    "parameters": _same_parameters,
    "lower-enables": _enables,
    "of-full": _of_full,
    "headers": _headers,
    "development": _development,
    "f1": _f1,
    "meets-99": partial(_meets, level=99),
    "meets-95": partial(_meets, level=95),
    "first-row": _first_row,
    "mobilebert-length": _mobilebert,
}

_PRETRAINED = f"{ROBERTA} pretrained further on WikiText-103"
_OPEN = {
    "eta-improves": "run(Experiment(task, 'full', schedule), seed=…) with and without +8, 3 seeds",
    "random-drop": "encoders of random weights, fine-tuned",
    "more-drops": "run(Experiment(task, 'full', schedule), seed=…) for Schedule.last, 3 seeds",
    "rte-qnli": "QNLI, which the package does not read",
    "hardware": "searches on two kinds of hardware",
    "squeezebert-mrpc": _NEEDS["pareto"],
    "mobilebert-qnli": _NEEDS["pareto"],
    "monotonic": "run(Experiment(task, 'full', schedule), seed=…) for Schedule.fixed, 3 seeds",
    "constrained": _NEEDS["pareto"],
    "scales": "the other models, timed beside it",
    "useless": _PRETRAINED,
    "dense-improves": _PRETRAINED,
    "funnel-best": _PRETRAINED,
    "early": "run(Experiment(task, 'full', schedule), seed=…) with 8x at each layer, 3 seeds",
    "ruins": "run(Experiment(task, 'full', schedule), seed=…) with 8x at the first layer, 3 seeds",
}


def section(where: str) -> Iterator[Entry]:
    """What the text of a section or a caption says: settings, numbers, claims."""
    for entries in (setup, text, claims):
        yield from entries(where)


def _table_3() -> Iterator[Entry]:
    """The table, and what is claimed below it."""
    yield from table_3()
    yield from claims("bidart, table 5.3")


def _table_4() -> Iterator[Entry]:
    yield from table_4()
    yield from claims("bidart, table 5.4")


PARTS = {
    "bidart, table 5.1": table_1,
    "bidart, table 5.2": table_2,
    "bidart, table 5.3": _table_3,
    "bidart, table 5.4": _table_4,
    "bidart, table 5.5": table_5,
    "bidart, table 5.6": table_6,
    "bidart, section 5": partial(section, "bidart, section 5"),
    "bidart, figure 5": partial(section, "bidart, figure 5"),
}
