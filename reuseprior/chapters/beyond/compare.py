"""Scores against each other, as `preregistration.toml` says, and what a gap between two is worth.

ρ or τ with intervals over what is drawn together, and differences between two scores on the same
bootstrap samples.
"""

from __future__ import annotations

import random
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np
import pandas as pd

from reuseprior.chapters.beyond import survey
from reuseprior.chapters.beyond.survey import BENCHMARKS, MASS, SUITES, find, joined, read
from reuseprior.errors import UserError
from reuseprior.measures.comparing import GAPS, MEASURES
from reuseprior.measures.scores import R6, R7, S0, Score, ablations
from reuseprior.measures.statistics import (
    LEAST,
    agreement,
    bootstrap,
    kendall,
    percentiles,
)

MANY = 3000  # models, beyond which there are fewer samples
SAMPLES, SAMPLES_OF_MANY = 1000, 200
TOP = 0.1  # of the models, by accuracy


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, draws: Sequence[float]) -> Estimate:
        """A value, and percentiles over bootstrap samples."""
        low, high = percentiles(draws)
        return cls(float(value), float(low), float(high))

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


class Difference(Estimate):
    """A difference with its interval: better or worse only where that leaves zero out."""

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `not distinguishable`."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "not distinguishable"

    def __str__(self) -> str:
        return f"{self.value:+.3f} ({self.low:+.3f} to {self.high:+.3f}) {self.verdict}"


def scores(table: pd.DataFrame, examples: float, *, more: Sequence[Score] = ()) -> pd.DataFrame:
    """The compared measures of a survey's rows (`survey.joined`), a column each, and `more`.

    T is `examples`. What has no signal path ranks lowest by each.
    """
    live = np.isfinite(table["blur"])
    simple = {
        "parameters on live paths": table["parameters"],
        "multiply-adds": table["multiply_adds"],
        "P_G": table["P_G"],
        "P′_G": table["P_G_spread"],
    }
    columns = {name: values.where(live, -np.inf) for name, values in simple.items()}
    columns |= {score.name: score(table, examples) for score in (S0, R6, R7, *more)}
    return pd.DataFrame(columns, index=table.index)


def variants() -> tuple[Score, ...]:
    """R6 without each of its terms, and with other constants in the place of ¼."""
    weights = survey.preregistered()["scores"]["sensitivity"]
    others = [Score(f"R6 with {w:g}", w, R6.sizes) for w in weights if w != R6.weight]
    return (*ablations(R6).values(), *others)


def compare(
    measures: pd.DataFrame,
    accuracies: pd.DataFrame,
    alike: pd.Series | None = None,
    *,
    by: str = "rho",
    against: str = "R6",
    seed: int = 0,
    resamples: int | None = None,
) -> pd.DataFrame:
    """A row a measure: its agreement with the accuracies, and what `against` has more than it.

    Columns `agreement` (an `Estimate`) and `difference` (a `Difference`; None for itself). Several
    columns of accuracies count as their mean agreement. Models of equal `alike` are drawn together.
    `by` is rho or tau. Raises UserError for NaN, and for fewer than three models.
    """
    agreements_of = _agreements(by)
    x, y = _checked(measures, accuracies)
    draws = agreements_of(x, y, _draws(alike, len(x), seed, resamples))
    return _beside(measures.columns, agreements_of(x, y, _all(x))[0], draws, against)


def _beside(names: Sequence[str], whole: np.ndarray, draws: np.ndarray, against: str):
    """The table of `compare` from agreements with all models and with each sample (a row)."""
    first = list(names).index(against)
    rows = {}
    for i, name in enumerate(names):
        gap = Difference.of(whole[first] - whole[i], draws[:, first] - draws[:, i])
        rows[name] = Estimate.of(whole[i], draws[:, i]), None if i == first else gap
    return pd.DataFrame.from_dict(rows, orient="index", columns=["agreement", "difference"])


def agreements(measures: pd.DataFrame, accuracies: pd.DataFrame, *, by: str = "rho") -> pd.Series:
    """Each measure's agreement as `compare` has it, without intervals."""
    x, y = _checked(measures, accuracies)
    return pd.Series(_agreements(by)(x, y, _all(x))[0], index=measures.columns)


def within(
    measures: pd.DataFrame,
    accuracy: pd.Series,
    group: pd.Series,
    *,
    against: str = "R6",
    seed: int = 0,
    resamples: int = SAMPLES,
    models: bool = False,
) -> pd.DataFrame:
    """As `compare`, for the mean of τ within groups, each weighted by its pairs.

    Samples are of groups; of models within each group, with `models`. Groups of fewer than three
    models, or of equal accuracies, are left out, and a measure that is equal in a group has τ 0
    there.
    """
    parts = [
        (_places(measures.loc[rows].to_numpy(float)), accuracy[rows].to_numpy(float)[:, None])
        for rows in group.groupby(group).groups.values()
        if len(rows) >= LEAST and accuracy[rows].nunique() > 1
    ]
    if not parts:
        raise UserError("No group has three models of different accuracies.")
    chance, n = np.random.default_rng(seed), len(parts)
    pairs = np.array([len(y) * (len(y) - 1) / 2 for _, y in parts])

    def taus(samples) -> np.ndarray:  # a row a group
        each = zip(parts, samples, strict=True)
        return np.array([np.nan_to_num(_kendalls(x, y, [rows])[0]) for (x, y), rows in each])

    of_groups = taus(np.arange(len(y)) for _, y in parts)
    if models:
        sizes = [len(y) for _, y in parts]
        each = (taus(chance.integers(size, size=size) for size in sizes) for _ in range(resamples))
        draws = [np.average(one, axis=0, weights=pairs) for one in each]
    else:  # τ of a group is the same in each sample
        rows = [chance.integers(n, size=n) for _ in range(resamples)]
        draws = [np.average(of_groups[i], axis=0, weights=pairs[i]) for i in rows]
    whole = np.average(of_groups, axis=0, weights=pairs)
    return _beside(measures.columns, whole, np.array(draws), against)


def difference_of_differences(
    measures: pd.DataFrame,
    accuracy: pd.Series,
    family: pd.Series,
    chosen: pd.Series,
    a: str,
    b: str,
    *,
    seed: int = 0,
    resamples: int = SAMPLES,
) -> dict[str, Difference]:
    """τ of `a` less τ of `b`: among the chosen models, among the others, and the difference.

    Whether an advantage is another here than there is one question, with an interval of its own
    over resampled families of either kind; that one of them is distinguishable from zero and the
    other is not does not answer it.
    """
    kinds = []
    for part in (chosen, ~chosen):
        x, y = _checked(measures.loc[part, [a, b]], accuracy[part].to_frame())
        whole, *draws = _kendalls(x, y, [*_all(x), *_draws(family[part], len(x), seed, resamples)])
        kinds.append((whole[0] - whole[1], np.array([tau[0] - tau[1] for tau in draws])))
    (here, draws_here), (there, draws_there) = kinds
    return {
        "chosen": Difference.of(here, draws_here),
        "the others": Difference.of(there, draws_there),
        "difference": Difference.of(here - there, draws_here - draws_there),
    }


def at_the_top(measures: pd.DataFrame, accuracy: pd.Series, alike: pd.Series | None, **options):
    """`compare` among the tenth of the models with the highest accuracies."""
    best = accuracy >= accuracy.quantile(1 - TOP)
    alike_of_best = None if alike is None else alike[best]
    return compare(measures[best], accuracy[best].to_frame(), alike_of_best, **options)


def _agreements(by: str) -> Callable[[np.ndarray, np.ndarray, Iterable[np.ndarray]], np.ndarray]:
    kinds = {"rho": _spearmans, "tau": _kendalls}
    if by not in kinds:
        raise UserError(f"by={by!r}: choose rho or tau")
    return kinds[by]


def _all(x: np.ndarray) -> list[np.ndarray]:
    """The one sample that holds each row once."""
    return [np.arange(len(x))]


def _spearmans(x: np.ndarray, y: np.ndarray, samples: Iterable[np.ndarray]) -> np.ndarray:
    """A row a sample: mean over y's columns of Spearman's ρ with each of x's columns."""
    n, both = x.shape[1], np.hstack([x, y])
    rows = []
    for sample in samples:
        ranks = _ranks(both[sample])
        ranks -= ranks.mean(axis=0)
        size = np.sqrt((ranks**2).sum(axis=0))
        with np.errstate(invalid="ignore"):  # a measure that does not vary has no ρ
            ranks /= size
        rows.append((ranks[:, :n].T @ ranks[:, n:]).mean(axis=1))
    return np.array(rows).reshape(-1, n)


def _kendalls(x: np.ndarray, y: np.ndarray, samples: Iterable[np.ndarray]) -> np.ndarray:
    """A row a sample: mean over y's columns of Kendall's τ-b with each of x's columns.

    All pairs are compared once, as a sample is how many times it has each row; of many rows, whose
    pairs take gigabytes, each sample is sorted.
    """
    if len(x) > MANY:
        rows = [[np.mean([kendall(a, b) for b in y[i].T]) for a in x[i].T] for i in samples]
        return np.array(rows).reshape(-1, x.shape[1])
    times = np.array([np.bincount(rows, minlength=len(x)) for rows in samples], float)
    times = times.reshape(-1, len(x))
    orders = [np.sign(np.subtract.outer(c, c)) for c in np.hstack([x, y]).T.astype(float)]

    def total(products: np.ndarray) -> np.ndarray:  # over the pairs of each sample
        return ((times @ products) * times).sum(axis=1)

    size, n = [np.sqrt(total(order * order)) for order in orders], x.shape[1]
    with np.errstate(invalid="ignore"):  # a measure that does not vary has no τ
        taus = [
            [total(orders[i] * orders[j]) / size[i] / size[j] for j in range(n, len(orders))]
            for i in range(n)
        ]
    return np.clip(taus, -1, 1).mean(axis=1).T


def _places(x: np.ndarray) -> np.ndarray:
    """Each column's values as whole numbers in the same order, 0 for the least."""
    return np.array([np.unique(column, return_inverse=True)[1] for column in x.T]).T


def _ranks(places: np.ndarray) -> np.ndarray:
    """Each column's ranks, the mean one for equal places: counted, as sorting takes longer."""
    ranks = []
    for column in places.T:
        times = np.bincount(column)
        ranks.append((times.cumsum() - (times - 1) / 2)[column])
    return np.array(ranks).T


def _checked(measures: pd.DataFrame, accuracies: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The places of the scores and of the accuracies, a column each."""
    x, y = measures.to_numpy(float), accuracies.to_numpy(float)
    if len(x) < LEAST:
        raise UserError(f"{len(x)} models: an order needs at least {LEAST}.")
    if np.isnan(x).any() or np.isnan(y).any():
        raise UserError("A score or an accuracy is NaN: leave such models out, and say so.")
    return _places(x), _places(y)


def _draws(
    alike: pd.Series | None, n: int, seed: int, resamples: int | None
) -> Iterator[np.ndarray]:
    """Rows of bootstrap samples; models of equal `alike` are drawn together."""
    if resamples is None:
        resamples = SAMPLES_OF_MANY if n > MANY else SAMPLES
    group = np.arange(n) if alike is None else pd.factorize(alike)[0]
    order = np.argsort(group, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    for drawn in bootstrap(len(members), resamples, seed):
        yield np.concatenate([members[i] for i in drawn])


# Populations --------------------------------------------------------------------------------------

SEEN = "yes"
FORM_SEEN = "before log2 T only"  # the study printed it; the threshold came before
UNSEEN = "no"


@dataclass(frozen=True)
class Population:
    """Models of a benchmark with an accuracy, or several whose mean agreement counts.

    It stands with what was in sight when R6 got its form and constants, so that a table that
    reports on it says so as well.
    """

    name: str
    benchmark: str
    accuracies: tuple[str, ...]
    seen: str
    by: str = "rho"
    chosen: Callable[[pd.DataFrame], pd.Series] | None = None
    """Which rows, all if None."""

    def rows(self) -> pd.DataFrame:
        """Its part of the survey."""
        table = joined(self.benchmark)
        return table if self.chosen is None else table[self.chosen(table)]

    def scores(self, table: pd.DataFrame, **options) -> pd.DataFrame:
        """`scores` of its rows, with the benchmark's T."""
        return scores(table, find(self.benchmark).examples(self.accuracies[0]), **options)

    def compared(self, *, more=(), **options) -> pd.DataFrame:
        """`compare` on it, drawing together what is alike."""
        table = self.rows()
        accuracies = table[list(self.accuracies)]
        return compare(
            self.scores(table, more=more), accuracies, table["alike"], by=self.by, **options
        )


def _outside(table: pd.DataFrame) -> pd.Series:
    return ~survey.cells_of(table)


def own_live_cells(table: pd.DataFrame) -> pd.Series:
    """One cell for each live cell of NAS-Bench-201: the one without any other edge, 9,445."""
    return table["model"].str.partition(":")[2] == table["cell"]


POPULATIONS = (
    Population("201 CIFAR-10", "nas-bench-201", ("cifar10",), SEEN, chosen=_outside),
    Population("201 CIFAR-100", "nas-bench-201", ("cifar100",), SEEN, chosen=_outside),
    Population("201 ImageNet16", "nas-bench-201", ("imagenet16_120",), SEEN, chosen=_outside),
    Population(
        "torchvision", "torchvision", ("top1",), "half of it", "tau",
        lambda table: ~survey.classifiers_of(table),
    ),
    Population("timm", "timm", ("top1",), SEEN, "tau"),
    Population("NAS-Bench Macro", "nas-bench-macro", ("cifar10",), SEEN),
    Population("TransNAS macro", "transnas-macro", survey.MACRO_TASKS, FORM_SEEN),
    Population("TransNAS micro", "transnas-micro", survey.MICRO_TASKS, UNSEEN),
    Population("FlexiBERT", "flexibert", ("glue",), UNSEEN),
)  # fmt: skip
"""Of NAS-Bench-201 and torchvision what our own choice did not see; the study's own sets of choice
are not known. FlexiBERT's accuracy is the mean over GLUE's tasks."""


def all_compared(**options) -> dict[str, pd.DataFrame]:
    """Every population's table."""
    return {population.name: population.compared(**options) for population in POPULATIONS}


def fresh_compared(*, more=(), **options) -> pd.DataFrame:
    """`compare` on the networks of random cells."""
    table = read("random-cells")
    measures = scores(table, table["examples"].iloc[0], more=more)
    return compare(measures, table[["accuracy"]], **options)


def own_compared(*, more=(), **options) -> pd.DataFrame:
    """`within` the groups of networks that other chapters trained."""
    table = read("own")
    parts = [
        scores(part, part["examples"].iloc[0], more=more) for _, part in table.groupby("group")
    ]
    measures = pd.concat(parts).loc[table.index]
    return within(measures, table["accuracy"], table["group"], models=True, **options)


def beside_masses(name: str, accuracy: str, measures: tuple[str, ...], **options) -> pd.DataFrame:
    """NN-Mass and NN-Density with some of our measures, on the models that have them.

    As `compare` by τ, the differences against the first of `measures`.
    """
    table = survey.joined_masses(name)
    of_ours = scores(table, find(name).examples(accuracy))[list(measures)]
    columns = of_ours.assign(**{column: table[key] for column, key in MASS.items()})
    options |= {"by": "tau", "against": measures[0]}
    return compare(columns, table[[accuracy]], table["alike"], **options)


def of_languages(by: tuple[str, ...] = ("P_G", "P_G_spread", "held", "multiply_adds")):
    """How each measure's order agrees with language models' scores, a row a suite and measure.

    τ and ρ with 1.96 bootstrap deviations over the models. What a model was trained on, and how
    long, is in none of the measures.
    """
    models, rows = read("language-models"), []
    for suite in SUITES:
        of_suite = models[models["suite"] == suite]
        for measure in by:
            one = agreement(of_suite[measure], of_suite["score"])
            rows.append((suite, measure, len(of_suite), *astuple(one)))
    names = ["suite", "measure", "models", "tau", "tau_margin", "rho", "rho_margin"]
    return pd.DataFrame(rows, columns=names)


# What tables say, with what was seen before -------------------------------------------------------


def title(benchmark: str) -> str:
    """A benchmark's name, and whether what is tested on it had been seen: it heads each table.

    >>> title("timm")
    'timm, seen before: yes'
    """
    said = dict.fromkeys(p.seen for p in POPULATIONS if p.benchmark == benchmark)
    return f"{benchmark}, seen before: {', '.join(said)}"


def with_seen(table: pd.DataFrame) -> pd.DataFrame:
    """A table with a row a population, and a first column that says whether that had been seen."""
    seen = {population.name: population.seen for population in POPULATIONS}
    result = table.copy()
    result.insert(0, "seen before", [seen[name] for name in table.index])
    return result


def overview(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A row a measure, a column a population, seen before or not: agreement, without intervals."""
    columns = {
        (one.name, one.seen): tables[one.name]["agreement"].map(lambda e: e.value)
        for one in POPULATIONS
    }
    return pd.DataFrame(columns).rename_axis(columns=[None, "seen before"])


def differences(tables: Mapping[str, pd.DataFrame], other: str) -> pd.DataFrame:
    """A row a population: whether it had been seen, R6's agreement, and R6 less `other`."""
    rows = {
        name: (str(table.loc["R6", "agreement"]), str(table.loc[other, "difference"]))
        for name, table in tables.items()
    }
    columns = ["R6", f"R6 less {other}"]
    return with_seen(pd.DataFrame.from_dict(rows, orient="index", columns=columns))


def bars(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What was expected of R6 (`preregistration.toml`), and whether it was reached."""
    rows = {}
    for one in POPULATIONS:
        bar = survey.preregistered()["expected"].get(one.benchmark)
        if isinstance(bar, list):  # one of each data set
            bar = bar[BENCHMARKS[one.benchmark].accuracies.index(one.accuracies[0])]
        if bar is not None:
            agreement = tables[one.name].loc["R6", "agreement"]
            verdict = "reached" if agreement.value >= bar else "missed"
            within = (
                " (within the interval)" if verdict == "missed" and agreement.high >= bar else ""
            )
            rows[one.name] = (bar, str(agreement), verdict + within)
    columns = ["at least", "R6", "verdict"]
    return with_seen(pd.DataFrame.from_dict(rows, orient="index", columns=columns))


# What a gap is worth ------------------------------------------------------------------------------

# Every pair of two networks of a benchmark is one comparison. Pairs share networks, and networks
# share families, so intervals come from resampling whole families (`alike`): a pair counts as often
# as both its networks are drawn.
ACCURACIES = {"timm": "top1", "torchvision": "top1", "nas-bench-201": "cifar10"}
CELLS = 800  # of NAS-Bench-201, drawn: its 122 million pairs say no more


def networks(benchmark: str) -> pd.DataFrame:
    """A benchmark's networks that pass a signal: `MEASURES` in bits, `accuracy` and `alike`.

    Costs are base-2 logarithms, so that one bit is a factor of two; rounded, as their last bits
    depend on the processor and a pair at an edge would change its interval.
    """
    table = joined(benchmark)
    table = table[np.isfinite(table["blur"])]
    if benchmark == "nas-bench-201":
        table = table.sample(CELLS, random_state=0)
    columns = {
        "P′_G": table["P_G_spread"],
        "P_G": table["P_G"],
        "multiply-adds": np.log2(table["multiply_adds"]).round(9),
        "parameters": np.log2(table["parameters"]).round(9),
    }
    accuracy = table[ACCURACIES[benchmark]]
    return pd.DataFrame(columns).assign(accuracy=accuracy, alike=table["alike"])


def pairs_right(
    table: pd.DataFrame,
    measure: str,
    edges: Sequence[float] = GAPS,
    *,
    resamples: int = SAMPLES_OF_MANY,
    seed: int = 0,
) -> pd.DataFrame:
    """A row an interval of gaps: how many pairs lie in it, and the share in the right order.

    Columns `gap` (from) and `below` in bits, `pairs`, `right`, and `low` and `high`, a 95 %
    interval over resampled families. Pairs of equal accuracy are left out; pairs of equal estimate
    are half right.
    """
    values, accuracy = table[measure].to_numpy(), table["accuracy"].to_numpy()
    one, other = np.triu_indices(len(table), 1)
    better = np.sign(accuracy[one] - accuracy[other])
    one, other, better = one[better != 0], other[better != 0], better[better != 0]
    gaps = values[one] - values[other]
    places = np.searchsorted(edges, np.abs(gaps), side="right") - 1
    halves = 1 + np.sign(gaps) * better  # 0, 1 or 2

    def shares(weights: np.ndarray) -> np.ndarray:
        count, right = (np.bincount(places, w, len(edges) - 1) for w in (weights, halves * weights))
        with np.errstate(invalid="ignore"):  # an interval may be empty in a sample
            return right / (2 * count)

    family = pd.factorize(table["alike"])[0]
    drawn = []
    for sample in bootstrap(family.max() + 1, resamples, seed):
        times = np.bincount(sample, minlength=family.max() + 1)[family]
        drawn.append(shares((times[one] * times[other]).astype(float)))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN")  # an interval without any pair
        low, high = percentiles(drawn)
    columns = {"gap": edges[:-1], "below": edges[1:]}
    columns |= {"pairs": np.bincount(places, minlength=len(edges) - 1)}
    columns |= {"right": shares(np.ones(len(gaps))), "low": low, "high": high}
    return pd.DataFrame(columns)


def at_equal_frequency(table: pd.DataFrame, cost: str, **options) -> pd.DataFrame:
    """`pairs_right` of a cost, its intervals holding as many pairs as those of P_G's `GAPS`.

    A bit of P_G and a bit of a cost are no one currency, but the widest tenth of all gaps is one.
    """
    one, other = np.triu_indices(len(table), 1)
    cost_gaps, gaps = (np.abs(table[m].to_numpy()[one] - table[m].to_numpy()[other])
                 for m in (cost, "P_G"))  # fmt: skip
    inner = (np.quantile(cost_gaps, (gaps < edge).mean()) for edge in GAPS[1:-1])
    return pairs_right(table, cost, [0.0, *map(float, inner), np.inf], **options)


def calibrate() -> pd.DataFrame:
    """The rows of `measures/calibration.csv`: every benchmark, measure and interval of gaps."""
    parts = [
        pairs_right(table, measure).assign(benchmark=benchmark, measure=measure)
        for benchmark in ACCURACIES
        for table in [networks(benchmark)]
        for measure in MEASURES
    ]
    columns = ["benchmark", "measure", "gap", "below", "pairs", "right", "low", "high"]
    return pd.concat(parts)[columns].round(3).reset_index(drop=True)


# A search without training ------------------------------------------------------------------------

# Cells of NAS-Bench-201 by a score, and the accuracy of what is found: the search sees scores only,
# and accuracies are looked up once it has ended.
POPULATION = 50
TOURNAMENT = 10
OPERATIONS = "01234"


def at_random(scores: Mapping[str, float], evaluations: int, seed: int) -> str:
    """The best of so many different cells drawn at random.

    >>> at_random({"000001": 1.0, "000002": 2.0}, 2, seed=0)
    '000002'
    """
    _check(scores, evaluations)
    return max(random.Random(seed).sample(sorted(scores), evaluations), key=scores.get)


def by_evolution(scores: Mapping[str, float], evaluations: int, seed: int) -> str:
    """The best cell that regularised evolution meets (Real et al., 2019).

    A population of 50 cells, oldest first: the best of 10 drawn has a child with another operation
    on one edge, which joins while the oldest dies. Cells are six digits, and `scores` has them all.
    """
    _check(scores, evaluations)
    chance = random.Random(seed)
    names = sorted(scores)
    population = deque(chance.sample(names, min(POPULATION, evaluations)))
    best = max(population, key=scores.get)
    for _ in range(evaluations - len(population)):
        parent = max(chance.sample(list(population), TOURNAMENT), key=scores.get)
        child = _mutated(parent, chance)
        population.append(child)
        population.popleft()
        best = max(best, child, key=scores.get)
    return best


def _mutated(cell: str, chance: random.Random) -> str:
    edge = chance.randrange(len(cell))
    other = chance.choice([digit for digit in OPERATIONS if digit != cell[edge]])
    return cell[:edge] + other + cell[edge + 1 :]


def _check(scores: Mapping[str, float], evaluations: int) -> None:
    if not 1 <= evaluations <= len(scores):
        raise UserError(
            f"{evaluations} evaluations of {len(scores)} cells: ask for 1 to {len(scores)}."
        )
