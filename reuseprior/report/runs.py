"""Recorded runs on their way to the ledger: which bear on a printed number, and what they say.

A chapter says which runs those are: the folder in `data/results`, what their `config.json` must
say, which is the printed protocol, and how the number follows from them. As long as too few
finished runs say all that, the number stays open. A random run cannot equal a printed digit, so
the number is judged by an interval; and what it is printed for, a claim about two kinds of runs, at
any scale by a test.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan

from reuseprior import paths, results
from reuseprior.measures.statistics import (
    ABOVE,
    ALIKE,
    BELOW,
    MOST_SEEDS,
    Sample,
    differs,
    one_more,
    seeds_needed,
    told_apart,
)
from reuseprior.report.ledger import Entry, entry
from reuseprior.report.published import Interval, Printed
from reuseprior.results import Run
from reuseprior.revolver import Settings
from reuseprior.schemas import Config
from reuseprior.training import Protocol

# How a machine works a protocol off, or when it looks at test images, changes no printed setting.
_OF_A_MACHINE = frozenset({
    "name", "workers", "compile", "channels_last", "small_maps", "precision", "checkpoint_every",
    "test_every",
})  # fmt: skip


def settings(protocol: Mapping[str, object], printed: Mapping[str, object]) -> dict[str, object]:
    """What a run's protocol must say: that of a file, with what a source prints of the run."""
    values = {**protocol, **printed}
    return {key: value for key, value in values.items() if key not in _OF_A_MACHINE}


@dataclass(frozen=True)
class RunSelection:
    """The runs that bear on one printed number.

    `value` makes the number, in the unit in which it is printed, of all runs of one seed (most
    often one). A seed counts from `runs` runs on. Of all runs found, those that `counts` returns;
    the others are `otherwise`.
    """

    experiment: str  # a folder of data/results or a pattern of such; none need be there
    config: Mapping[str, object]  # a part of a run's config.json, level by level
    value: Callable[[Sequence[Run]], float]
    runs: int = 1
    counts: Callable[[Sequence[Run]], Sequence[Run]] = lambda found: found
    otherwise: str = "not read"


def runs_for(selection: RunSelection) -> dict[int, list[Run]]:
    """The finished runs at the printed protocol by their seed, as many a seed as are needed."""
    wanted = json.loads(json.dumps(selection.config))  # as it is read: tuples are lists
    there: list[Run] = []
    for path in sorted(paths.RESULTS.glob(f"{selection.experiment}/*/{results.CONFIG}")):
        config = results.read_json(path, Config)
        if "protocol" in config:  # runs older than a field say nothing of it: it is at its default
            config["protocol"] = vars(Protocol()) | config["protocol"]
        if "settings" in config:
            config["settings"] = Settings().to_data() | config["settings"]
        if _says(config, wanted):
            run = Run.read(path.parent)
            if run.summary["state"] == "finished":
                there.append(run)
    by_seed: dict[int, list[Run]] = {}
    for run in selection.counts(there):
        by_seed.setdefault(run.config.get("seed"), []).append(run)
    whole = {seed: of_seed for seed, of_seed in by_seed.items() if len(of_seed) >= selection.runs}
    return dict(sorted(whole.items()))


SEEDS = 3  # two have an interval of 18 deviations to each side, and no power worth a note


def measured(
    row,
    column: str,
    selection: RunSelection | None,
    needs: str,
    *,
    of: int = 1,
    over_seeds: bool = False,
    protocol: str = "the printed protocol",
    interval: Interval | None = None,
) -> Entry:
    """The entry of a number that trainings give: within or outside, or open as long as none can.

    The printed number is the mean `of` so many runs more: it is judged by the 95 % prediction
    interval of Student's t over our seeds. `over_seeds` says that it is the standard deviation over
    the source's own trainings instead, which our runs show and do not judge. `needs` says what it
    takes to run. Without a `selection`, as of what no run here can give, it is open. `protocol`
    says what the runs were made by where the source prints none, `interval` what the number stands
    for where its digits do not say it, as of "about".
    """
    by_seed = {} if selection is None else runs_for(selection)
    values = [selection.value(runs) for runs in by_seed.values()]
    if not values:
        return entry(row, column, None, "measured", "open", None, f"needs {needs}")
    seeds = f"{len(values)} seed{'s' * (len(values) > 1)}"
    note = f"{seeds} at {protocol} in {_folders(by_seed)}"
    mean, deviation, _ = Sample.of(values)
    if over_seeds:
        value = None if isnan(deviation) else deviation
        return entry(
            row, column, value, "measured", "open", None, f"{note}; a spread is not judged"
        )
    if len(values) < SEEDS:
        note += f"; needs {SEEDS} or more: {needs}"
        return entry(row, column, mean, "measured", "open", None, note)
    low, high = one_more(values, of)
    interval = interval or Printed.parse(row[column]).interval()
    verdict = "within" if interval.least <= high and low <= interval.most else "outside"
    what = "further runs" if of == 1 else f"means of {of} further runs"
    note += f"; 95 % of {what} lie between {low:.4g} and {high:.4g}"
    return entry(row, column, mean, "measured", verdict, interval, note)


@dataclass(frozen=True)
class Claim:
    """What a source says of two kinds of runs: that the first score above the second, or as well.

    Two selections of one scale, each by the name that the note gives it; `scale` says how ours
    differs from the source's own. `paired` says that they are two numbers of the same runs, or of
    runs that begin alike where they have one seed. A claim that is `possible` is one that the
    source puts as a possibility, which no example refutes.
    """

    first: tuple[str, RunSelection]
    second: tuple[str, RunSelection]
    scale: str
    alike: bool = False  # whether the source says that they score alike
    paired: bool = False
    possible: bool = False


def claimed(row, column: str, claim: Claim, needs: str) -> Entry:
    """The entry of a claim about two kinds of runs, by Welch's t-test over their seeds.

    Of runs that are paired it is Student's, over their differences.

    It holds if the test tells the two apart in the claimed direction, fails if in the other, and
    is undecided if it cannot; a claim that two score alike can fail and never hold by it, and with
    one of a possibility an example can agree and never refute it. The note says with how many seeds
    an undecided claim would be decided, and of an open one which runs there are that do not count.
    Runs are paired by their seed.
    """
    (one, first), (other, second) = claim.first, claim.second
    its, theirs = runs_for(first), runs_for(second)
    if claim.paired:
        both = its.keys() & theirs.keys()
        its, theirs = ({seed: f[seed] for seed in sorted(both)} for f in (its, theirs))
    if not (its and theirs):
        there = "".join(f"{left}; " for left in map(_left_out, (claim.first, claim.second)) if left)
        return entry(row, column, None, "measured", "open", None, f"{there}needs {needs}")
    ours = [first.value(runs) for runs in its.values()]
    others = [second.value(runs) for runs in theirs.values()]
    a, b = Sample.of(ours), Sample.of(others)
    if claim.paired:
        gaps = Sample.of([x - y for x, y in zip(ours, others, strict=True)])
        test, more = differs(gaps), _deciding(gaps)
    else:
        test, more = told_apart(a, b), _deciding(a, b)
    # two differences that happen to lie close have a small p, and no power
    word = ALIKE if claim.paired and gaps.n < SEEDS else test.word
    verdict, how = _verdict(claim, word), test.how
    if word == ALIKE:
        how += f"; {more}"
        if claim.alike:
            how += "; more seeds can refute that they are alike, and not show it"
    if claim.possible and word == BELOW:
        how += "; it goes the other way, and one example can show this and not refute it"
    elif claim.possible:
        how += "; one example can show this and not refute it"
    folders = " and ".join(sorted({_folders(its), _folders(theirs)}))
    note = f"{claim.scale}: {one} {a.mean:.2f}, {other} {b.mean:.2f}; {how}; {folders}"
    return entry(row, column, a.mean - b.mean, "measured", verdict, None, note)


def _verdict(claim: Claim, word: str) -> str:
    """What a test that found ABOVE, BELOW or ALIKE says of a claim."""
    if word == ALIKE:
        return "undecided"
    if word == ABOVE and not claim.alike:
        return "example agrees" if claim.possible else "claim holds"
    return "undecided" if claim.possible else "claim fails"


def _left_out(side: tuple[str, RunSelection]) -> str:
    """How many seeds of one side of a claim are recorded that do not count, and why."""
    name, selection = side
    every = runs_for(replace(selection, counts=lambda recorded: recorded))
    if not (n := len(every.keys() - runs_for(selection).keys())):
        return ""
    return f"{name}: {n} seed{'s' * (n > 1)} recorded, {selection.otherwise}"


def _deciding(*samples: Sample) -> str:
    """With how many seeds a difference could be told, were means and spreads as they look."""
    if min(sample.n for sample in samples) < SEEDS:
        return f"{SEEDS} seeds or more would say how many can"
    if not any(sample.deviation for sample in samples):
        return "seeds that differ would say how many can"
    n = seeds_needed(*samples)
    if n is None:
        return f"no number of seeds up to {MOST_SEEDS:,} would, at this difference and spread"
    each = " of each" if len(samples) > 1 else ""
    return f"{n} seeds{each} would find it with a power of 80 %, if it and the spread are as here"


def _folders(by_seed: Mapping[int, Sequence[Run]]) -> str:
    folders = {run.folder.parent.name for runs in by_seed.values() for run in runs}
    return f"data/results/{' and '.join(sorted(folders))}"


INSTRUCTIONS = {
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "AVX512": {"ATEN_CPU_CAPABILITY": "avx512"},
}
"""What is set for a processor that can do more to round as one of these."""


def instructions(run: Run) -> str:
    """The INSTRUCTIONS that a run on a processor computed with; the oldest do not say: AVX2."""
    return run.summary.get("instructions", "AVX2")


def machine(run: Run) -> str:
    """What goes before a command for it to compute on a processor as a run did: `NAME=value `.

    That is as many threads and the same instructions, without which sums round otherwise.
    """
    wanted = {"OMP_NUM_THREADS": run.summary["threads"]} | INSTRUCTIONS.get(instructions(run), {})
    return "".join(f"{name}={value} " for name, value in wanted.items())


def options(changes: Mapping[str, object]) -> str:
    """What is changed of a protocol or of settings, as the command line takes it.

    >>> options({"width": 0.5, "compile": True, "space.widths": [1, 2]})
    " --set width=0.5 --set compile=true --set 'space.widths=[1, 2]'"
    """
    texts = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in changes.items()
    }
    return "".join(f" --set {shlex.quote(f'{key}={text}')}" for key, text in texts.items())


def _says(config, wanted) -> bool:
    """Whether a configuration holds all that is wanted, level by level."""
    if not (isinstance(config, dict) and isinstance(wanted, dict)):
        return config == wanted and isinstance(config, bool) == isinstance(wanted, bool)
    return all(key in config and _says(config[key], value) for key, value in wanted.items())
