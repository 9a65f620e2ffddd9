"""Encoders fine-tuned on GLUE, searches for their schedules, and what was found side by side.

```python
run(Experiment("glue-sst2", "cpu"), seed=0)  # the plain encoder; goes on where it was interrupted
run(Experiment("glue-sst2", "cpu", DRAWN), seed=0)  # one set of weights for all schedules
look(Search("glue-sst2", "cpu", "gp", length=128), seed=0)
compare("glue-sst2", "cpu", length=128, seed=0)
look(Search("glue-mrpc", "cpu", "gp", length=128, weights=""), seed=0)  # by the plain one's
```

Trainings lie in `data/results/classformer-SCALE`, searches in `classformer-search-SCALE` and
comparisons in `classformer-front-SCALE`. "Validation" is in trainings the half of GLUE's validation
part by which an epoch is chosen, and searches go by it too; "test" is the other half, on which the
weights of that epoch and the schedules that were found are reported. GLUE's own test part is
neither: `read_test` looks at it, once.

The thesis fine-tunes the encoder anew for every schedule that a search tries. Here a search goes by
one set of weights, so that evaluating a schedule takes seconds: weights each batch of whose
training drew a schedule of its own, or those of the plain encoder, which know no bottleneck and so
lose more by one than weights that do. Whether either ranks schedules as weights of their own would
is not tested by a search itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from reuseprior import data, paths, results
from reuseprior.contexts import multiply_adds, trace_model
from reuseprior.data import Texts
from reuseprior.data.texts import labelled_test
from reuseprior.errors import UserError
from reuseprior.measures.latency import interleaved
from reuseprior.models import without_weights
from reuseprior.models.classformer import (
    MINILM,
    Classformer,
    Schedule,
    Space,
    binary_search,
    pad,
    pretrained,
    search,
    shallower,
    tokenizer,
)
from reuseprior.plotting import PAGE_WIDTH, PLAIN, STRONG
from reuseprior.results import Recording, Run
from reuseprior.training import Protocol, finished, train
from reuseprior.training.batches import Share
from reuseprior.training.task import TextClassification

TASKS = ("glue-cola", "glue-sst2", "glue-mrpc", "glue-rte")
SPACE = Space(6)
MARGIN = 0.02  # of the plain encoder's score that a schedule may lose, out of 1
TIMED = 8  # texts that are timed, of the half that searches go by
DRAWN = "drawn"  # in place of a schedule: every training batch draws its own from SPACE

# by task: all that a scale changes of the protocol. cpu: an hour on one core for all four
SCALES: dict[str, Mapping[str, Mapping[str, object]]] = {
    "cpu": {
        "glue-cola": {"epochs": 3, "warmup_epochs": 0.3},
        "glue-sst2": {"epochs": 1, "warmup_epochs": 0.1, "train_images": 20_000},
        "glue-mrpc": {"epochs": 3, "warmup_epochs": 0.3},
        "glue-rte": {"epochs": 3, "warmup_epochs": 0.3},
    },
    "full": {task: {} for task in TASKS},
}


@dataclass(frozen=True)
class Experiment:
    """One encoder on one task: the schedule that it is fine-tuned under, as a text, and its layers.

    Without a schedule it is the plain encoder, and `drawn` trains one set of weights for all
    schedules of SPACE.
    """

    task: str
    scale: str
    schedule: str = ""
    layers: int = 6
    encoder: str = MINILM

    @property
    def protocol(self) -> Protocol:
        return Protocol.load("classformer").changed(SCALES[self.scale][self.task])

    def name(self, seed: int) -> str:
        what = self.schedule.replace(",", "-") or "plain"
        layers = f"-layers{self.layers}" if self.layers != SPACE.layers else ""
        return f"{self.task.removeprefix('glue-')}-{what}{layers}-seed{seed}"

    def folder(self, seed: int, root: Path | None = None) -> Path:
        """Where its training is recorded."""
        return (root or paths.RESULTS) / f"classformer-{self.scale}" / self.name(seed)

    def about(self) -> dict[str, object]:
        """What `config.json` says of the model, beside its data and its task."""
        fields = asdict(self)
        del fields["task"]  # the data's name; a trainer's task is another thing
        return fields | {"space": asdict(SPACE) if self.schedule == DRAWN else None}

    def build(self, seed: int) -> Classformer:
        """The pretrained encoder with a new classifier, which the seed decides."""
        load = partial(pretrained, self.encoder, seed=seed)
        if self.schedule == DRAWN:
            return load(space=SPACE)
        if self.schedule:
            return load(schedule=Schedule.parse(self.schedule))
        model = load()
        return model if self.layers == model.sizes.layers else shallower(model, self.layers)


def run(
    one: Experiment, *, seed: int, root: Path | None = None, place: str | Path | None = None,
    progress: bool = True,
) -> Classformer:  # fmt: skip
    """Fine-tune an encoder, record it, and return it with the weights of its best epoch.

    `root` is `data/results` if not given, `place` where data lie, as `data.load` takes it. What was
    interrupted goes on from its checkpoint, and what is finished comes back from it.
    """
    texts, model = data.load(one.task, place), one.build(seed)
    task = TextClassification(tokenizer(one.encoder), texts.metric)
    train(
        model, texts, one.protocol, one.folder(seed, root), seed=seed, task=task,
        about=one.about(), resume=True, progress=progress,
    )  # fmt: skip
    return model


# Searches -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Search:
    """A search for the fastest schedule that loses at most MARGIN against the plain encoder.

    `length` is what texts are padded to when they are timed, 0 for not at all; it changes no score.
    `weights` is the training whose weights all schedules are evaluated with, `drawn` or, as "",
    the plain encoder's.
    """

    task: str
    scale: str
    sampler: str
    length: int = 0
    weights: str = DRAWN
    budget: int = 16

    @property
    def trained(self) -> Experiment:
        """What the schedules are evaluated with."""
        return Experiment(self.task, self.scale, self.weights)

    def folder(self, seed: int, root: Path | None = None) -> Path:
        place = _place(self.task, self.weights, self.length)
        name = f"{place}-{self.sampler}-seed{seed}"
        return (root or paths.RESULTS) / f"classformer-search-{self.scale}" / name


def _place(task: str, weights: str, length: int) -> str:
    """The part of a run's name that says what is searched or compared."""
    lengths = f"length{length}" if length else "own-lengths"
    return f"{task.removeprefix('glue-')}-{weights or 'plain'}-{lengths}"


def look(
    one: Search, *, seed: int, root: Path | None = None, place: str | Path | None = None
) -> Run:
    """Search, record a row a trial, and return the run; goes on where it was interrupted.

    The plain encoder and the weights that are searched by must be trained; both are of seed 0,
    and `seed` is the search's own.
    """
    plain, searched = Experiment(one.task, one.scale), one.trained
    required = _score(_recorded(plain, root)) - MARGIN
    bench = _Bench.of(searched, root, place)
    config = asdict(one) | {
        "seed": seed, "space": asdict(SPACE), "required": required, "timed": TIMED, "threads": 1,
    }  # fmt: skip
    recording = Recording.start(one.folder(seed, root), config, resume=True)
    if finished(recording.folder):
        recording.close()
        return Run.read(recording.folder)
    recording.truncate(0)

    def evaluate(schedule: Schedule) -> tuple[float, float]:
        calls = {str(s): bench.under(s) for s in (Schedule.plain(SPACE.layers), schedule)}
        times = interleaved(calls, bench.timed(one.length), rounds=2)
        return bench.score(schedule, "search"), times[str(schedule)].share

    trials = search(
        SPACE, evaluate, required=required, budget=one.budget, sampler=one.sampler, seed=seed,
        log=recording.folder / "trials.journal",
    )  # fmt: skip
    recording.extend(asdict(trial) | {"schedule": str(trial.schedule)} for trial in trials)
    return recording.finish(_made(bench, seed))


class _Bench:
    """Trained weights on a task: schedules tried on them are scored and timed."""

    def __init__(self, model: Classformer, one: Experiment, place: str | Path | None):
        self.model, self.texts = model.eval(), data.load(one.task, place)
        self.task = TextClassification(tokenizer(one.encoder), self.texts.metric)
        self._seen: dict[tuple[Schedule, str], float] = {}

    @classmethod
    @cache
    def of(cls, one: Experiment, root: Path | None, place: str | Path | None) -> _Bench:
        _recorded(one, root)
        return cls(run(one, seed=0, root=root, place=place, progress=False), one, place)

    def under(self, schedule: Schedule) -> Callable[[Tensor], Tensor]:
        """The model under a schedule; any other that was set before is forgotten."""

        def call(tokens: Tensor) -> Tensor:
            self.model.schedule = schedule
            return self.model(tokens)

        return call

    def score(self, schedule: Schedule, part: str) -> float:
        """GLUE's score on the half `search` or `report`."""
        if (schedule, part) not in self._seen:
            call = self.under(schedule)
            self._seen[schedule, part] = scored(call, self.task, getattr(self.texts, part))
        return self._seen[schedule, part]

    def timed(self, length: int) -> list[Tensor]:
        """Texts of the search half one by one, evenly over their order by length, padded or not.

        No training texts: those of SST-2 are phrases, and half as long as the sentences that it is
        scored on.
        """
        tokens = sorted(self.task.tokens(self.texts.search), key=lambda one: len(one[0]))
        step = len(tokens) / TIMED
        chosen = [tokens[int((i + 0.5) * step)] for i in range(TIMED)]
        return [pad([one], length) for one in chosen]


@torch.inference_mode()
def scored(call: Callable[[Tensor], Tensor], task: TextClassification, part: Texts) -> float:
    """GLUE's score of a classifier on texts."""
    place = {"device": torch.device("cpu"), "seed": 0, "share": Share()}
    batches = task.batches(part, Protocol(batch_size=32), **place)
    totals = sum(task.sums(call(tokens), labels) for tokens, labels in batches.once())
    values = task.measured((totals / len(part)).tolist())
    return values[task.measures.index(task.metric)]


def _recorded(one: Experiment, root: Path | None) -> Run:
    """The training of seed 0, finished."""
    folder = one.folder(0, root)
    if not (folder / results.SUMMARY).exists() or Run.read(folder).summary["state"] != "finished":
        raise UserError(
            f"{folder} holds no finished training: run(Experiment({one.task!r}, {one.scale!r}, "
            f"{one.schedule!r}, {one.layers}), seed=0) makes it"
        )
    return Run.read(folder)


def _score(run: Run) -> float:
    """The score of a training's best epoch on the half that chose it."""
    return float(run.metrics[f"validation_{run.config['metric']}"].max())


def _made(bench: _Bench, seed: int) -> dict[str, object]:
    return results.provenance(seed=seed, device="cpu", data_checksum=bench.texts.checksum)


# Side by side -------------------------------------------------------------------------------------

# Schedules that are not searched for, by what they are.
KNOWN = {
    "plain": [Schedule.plain(6)],
    "free": [Schedule((1, 1, 1, 1, 1, 8))],  # the last layer's, which no logit depends on
    "uniform": [Schedule((g,) + (1,) * 5) for g in (2, 4)] + [Schedule((2,) * 6)],
    "funnel": [Schedule((1, 1, 2, 1, 2, 1)), Schedule((1, 1, 4, 1, 4, 1))],
    "fixed": [Schedule.fixed(first, 6) for first in range(6)],
    "last": [Schedule.last(count, 6) for count in range(1, 7)],
    "cut": [Schedule((128, 1, 1, 1, 1, 8), eta) for eta in (16, 32, 48)],  # the text's first η
    "shortest": [Schedule((8,) * 6)],  # no schedule of SPACE computes less
}
SHALLOWER = (3, 4)  # layers of encoders that are trained with fewer


def compare(
    task: str, scale: str, *, length: int, seed: int, weights: str = DRAWN,
    root: Path | None = None, place: str | Path | None = None, rounds: int = 5,
) -> Run:  # fmt: skip
    """Time and score, in one run, what was found and what it stands beside; a row each.

    By `weights`, as searches have them: the best trial of every recorded search at this length, and
    schedules of KNOWN. Beside them the plain encoder by weights of its own, as the baseline of all
    times, and encoders of fewer layers, where they are trained. Scores are on both halves: what was
    found by one is reported by the other. With one thread and with two.
    """
    with_schedules, plain = (Experiment(task, scale, what) for what in (weights, ""))
    searched, base = (_Bench.of(one, root, place) for one in (with_schedules, plain))
    entries = [("baseline", plain, base, Schedule.plain(SPACE.layers))]
    for kind, schedules in KNOWN.items():
        if weights or kind != "plain":  # which is the baseline
            entries += [(kind, with_schedules, searched, schedule) for schedule in schedules]
    for layers in SHALLOWER:
        fewer = Experiment(task, scale, layers=layers)
        if (fewer.folder(0, root) / results.SUMMARY).exists():
            bench = _Bench.of(fewer, root, place)
            entries.append(("fewer layers", fewer, bench, Schedule.plain(layers)))
    entries += [
        (f"found by {sampler}", with_schedules, searched, schedule)
        for sampler, schedule in found(task, scale, length, weights, root)
    ]
    calls = {str(i): bench.under(s) for i, (_, _, bench, s) in enumerate(entries)}
    config = {
        "task": task, "scale": scale, "length": length, "weights": weights, "seed": seed,
        "timed": TIMED, "metric": base.task.metric, "rounds": rounds,
    }  # fmt: skip
    name = f"{_place(task, weights, length)}-seed{seed}"
    folder = (root or paths.RESULTS) / f"classformer-front-{scale}" / name
    recording = Recording.start(folder, config, resume=True)
    if finished(folder):
        recording.close()
        return Run.read(folder)
    recording.truncate(0)
    times = {n: interleaved(calls, base.timed(length), rounds=rounds, threads=n) for n in (1, 2)}
    for i, (kind, one, bench, schedule) in enumerate(entries):
        halves = {half: bench.score(schedule, half) for half in ("search", "report")}
        row = {
            "kind": kind,
            "weights": one.name(0),
            "layers": one.layers,
            "schedule": str(schedule),
        }
        row |= {f"score_{half}": score for half, score in halves.items()}
        for threads, measured in times.items():
            own_times = asdict(measured[str(i)])
            row |= {f"{what}_{threads}_threads": v for what, v in own_times.items()}
        recording.append(row)
    return recording.finish(_made(base, seed))


def found(
    task: str, scale: str, length: int, weights: str = DRAWN, root: Path | None = None
) -> list[tuple[str, Schedule]]:
    """The schedules of most reward of the recorded searches, each once, with its sampler."""
    best: dict[Schedule, str] = {}
    for searched in results.finished_runs(f"classformer-search-{scale}", root):
        config = searched.config
        if _of(config, task, length, weights):
            row = searched.metrics.loc[searched.metrics.reward.idxmax()]
            best.setdefault(Schedule.parse(str(row.schedule)), config["sampler"])
    return [(sampler, schedule) for schedule, sampler in best.items()]


def read_test(
    one: Experiment, schedule: Schedule, *, root: Path | None = None,
    place: str | Path | None = None,
) -> Run:  # fmt: skip
    """The score of trained weights under a schedule on GLUE's test part, read once and recorded.

    SST-2 and MRPC have one with labels. A second reading of a task is refused, whatever it is of
    and at whichever scale, as the first may have guided it.
    """
    folder = (root or paths.RESULTS) / "classformer-test" / one.task
    for read in (folder, paths.RESULTS / "classformer-test" / one.task):
        if read.exists():
            raise UserError(
                f"{read} holds a reading of the test part of {one.task}: it is read once"
            )
    bench = _Bench.of(one, root, place)
    part = labelled_test(one.task, data.root_folder(place))
    recording = Recording.start(folder, asdict(one) | {"read": str(schedule)}, resume=False)
    recording.append({bench.task.metric: scored(bench.under(schedule), bench.task, part)})
    return recording.finish(_made(bench, 0))


# What the campaign plans --------------------------------------------------------------------------

# Searches need weights, which recorded runs have not, so it works in a `root` of its own;
# `reuseprior campaign --record` takes what is finished from there.


def start_training(planned, root: Path | None = None, *, progress: bool = True) -> None:
    """Fine-tune an encoder, plain or with schedules that are drawn."""
    schedule = _weights(planned)
    one = Experiment(planned.data, planned.protocol, schedule, **planned.changed)
    run(one, seed=planned.seed, root=root, progress=progress)


def start_search(planned, root: Path | None = None, *, progress: bool = True) -> None:
    """Search for a schedule by weights that are trained."""
    weights = {"weights": _weights(planned)}
    one = Search(planned.data, planned.protocol, **planned.changed, **weights)
    look(one, seed=planned.seed, root=root)


def start_comparison(planned, root: Path | None = None, *, progress: bool = True) -> None:
    """Compare what searches by these weights found."""
    options = {"weights": _weights(planned), "seed": planned.seed, "root": root}
    compare(planned.data, planned.protocol, **planned.changed, **options)


def _weights(planned) -> str:
    return "" if planned.model == "plain" else planned.model


# Structure before training ------------------------------------------------------------------------


class _Encoder(torch.nn.Module):
    """From embedded texts to logits: what contexts are counted in."""

    def __init__(self, model: Classformer):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model.classify(self.model.encode(x))


@cache
def structure(schedule: Schedule, length: int) -> dict[str, float]:
    """What counting says of MiniLM under a schedule, for a text of so many tokens.

    P_G and P′_G, the share of contexts that is left in bits (0 for the plain encoder), and
    multiply-adds as a share of the plain encoder's. Tables of embeddings are left out: a token
    uses one row of them, whatever the schedule.
    """
    plain = Schedule.plain(len(schedule.gamma))
    with without_weights():
        model = Classformer(schedule, 2)
    traced = trace_model(_Encoder(model), (1, length, model.sizes.width))
    quantities = traced.count().quantities()
    row = {"log2_contexts": quantities.log2_contexts, "multiply_adds": multiply_adds(traced)}
    base = row if schedule == plain else structure(plain, length)
    return row | {
        "P_G": quantities.P_G,
        "P_G_spread": quantities.P_G_spread,
        "bits": row["log2_contexts"] - base["log2_contexts"],
        "cost": row["multiply_adds"] / base["multiply_adds"],
    }


# What is recorded ---------------------------------------------------------------------------------


def trained(scale: str, root: Path | None = None) -> pd.DataFrame:
    """The finished trainings of a scale, a row each: scores on both halves, in per cent."""
    rows = []
    for run in results.finished_runs(f"classformer-{scale}", root):
        metric = run.config["metric"]
        rows.append({
            "run": run.name, "task": run.config["data"], "metric": metric,
            "texts": run.config["images"]["train"], "epochs": run.summary["epochs"],
            "best_epoch": run.summary["best_epoch"], "search_half": 100 * _score(run),
            "report_half": 100 * run.summary[f"test_{metric}"],
            "minutes": run.summary["wall_seconds"] / 60,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _of(config: dict, task: str, length: int, weights: str) -> bool:
    """Whether a search or a comparison is of a task at a length by these weights."""
    return (config["task"], config["length"], config["weights"]) == (task, length, weights)


def trials(
    task: str, scale: str, length: int, weights: str = DRAWN, root: Path | None = None
) -> pd.DataFrame:
    """The trials of the finished searches of a task, with the best reward up to each."""
    parts = []
    for run in results.finished_runs(f"classformer-search-{scale}", root):
        config = run.config
        if _of(config, task, length, weights):
            said = {key: config[key] for key in ("sampler", "seed", "required")}
            parts.append(run.metrics.assign(**said, best=run.metrics.reward.cummax()))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def front(
    task: str, scale: str, length: int, weights: str = DRAWN, root: Path | None = None
) -> pd.DataFrame:
    """The comparison of seed 0 of a task at a length, a row a network; scores in per cent."""
    for run in results.finished_runs(f"classformer-front-{scale}", root):
        if _of(run.config, task, length, weights) and run.config["seed"] == 0:
            halves = [f"score_{half}" for half in ("search", "report")]
            return run.metrics.assign(**{half: 100 * run.metrics[half] for half in halves})
    return pd.DataFrame()


def halving(table: pd.DataFrame) -> pd.Series | None:
    """Of a comparison the schedule at half the baseline's time or less that scores most.

    By the half that searches go by, with one thread; of equal scores the faster. `loss` is what it
    loses on the other half, in points. None where no schedule is so fast.
    """
    fast = table[(table.layers == SPACE.layers) & (table.share_1_threads <= 0.5)]
    if not len(fast):
        return None
    best = fast.sort_values(["score_search", "share_1_threads"], ascending=[False, True]).iloc[0]
    base = table[table.kind == "baseline"].squeeze()
    return pd.concat([best, pd.Series({"loss": base.score_report - best.score_report})])


def constrained(table: pd.DataFrame, loss: float = 100 * MARGIN) -> tuple[pd.Series, int]:
    """Bidart's binary search over the fixed schedules of a comparison.

    That of the earliest first bottleneck that loses at most `loss` points on the half that searches
    go by, the baseline where none does; and how many the search looked at.
    """
    base = table[table.kind == "baseline"].squeeze()
    rows = {row.schedule: row for _, row in table[table.kind == "fixed"].iterrows()}
    schedule, seen = binary_search(
        lambda one: rows[str(one)].score_search, SPACE.layers, base.score_search - loss
    )
    return rows.get(str(schedule), base), len(seen)


KINDS = {  # what is drawn of a comparison: its name, marker and colour
    "baseline": ("plain encoder, own weights", "*", STRONG),
    "found": ("most reward of a search", "h", STRONG),
    "fewer layers": ("fewer layers, own weights", "D", "#000000"),
    "plain": ("plain", "o", "#000000"),
    "free": ("last layer forgets", "P", "#0072B2"),
    "last": ("last n layers", "v", "#E69F00"),
    "fixed": ("fixed schedules", "^", "#009E73"),
    "uniform": ("uniform", "s", "#CC79A7"),
    "funnel": ("Funnel-like", "X", "#56B4E9"),
    "cut": ("cut after η tokens", ">", "#000000"),
    "shortest": ("shortest of the space", "<", PLAIN),
}


def missing(ax: Axes, how: str) -> None:
    """Say on an axis that nothing is recorded, and what makes it, in place of an empty drawing."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, f"no run yet:\n{how}", ha="center", va="center", transform=ax.transAxes)


def draw_front(ax: Axes, table: pd.DataFrame, threads: int = 1) -> None:
    """Draw the score that is reported against time; lines end at the quartiles of the time."""
    kinds = table.kind.str.partition(" by ")[0]
    share = table[f"share_{threads}_threads"]
    low, high = (table[f"share_{end}_{threads}_threads"] for end in ("low", "high"))
    for kind, (label, marker, color) in KINDS.items():
        of_kind = kinds == kind
        if not of_kind.any():
            continue
        spread = np.array([share[of_kind] - low[of_kind], high[of_kind] - share[of_kind]])
        ax.errorbar(
            share[of_kind], table.score_report[of_kind], xerr=spread, fmt=marker, label=label,
            color=color, markersize=5, elinewidth=0.5,
        )  # fmt: skip
    ax.set(xlabel="time, share of the plain encoder's")


def fronts(tables: Mapping[str, pd.DataFrame], how: str) -> Figure:
    """Draw comparisons side by side under their titles, and below all of them what marks mean.

    In place of one that is empty stands what makes it.
    """
    fig, axes = plt.subplots(1, len(tables), figsize=(PAGE_WIDTH, 3.1), squeeze=False)
    labels = {}
    for ax, (title, table) in zip(axes[0], tables.items(), strict=True):
        ax.set_title(title)
        if len(table):
            draw_front(ax, table)
        else:
            missing(ax, how)
        handles, names = ax.get_legend_handles_labels()
        labels |= dict(zip(names, handles, strict=True))
    fig.supylabel("score on the report half, %", fontsize="medium")
    if labels:
        fig.legend(labels.values(), labels.keys(), loc="outside lower center", ncols=4)
    return fig
