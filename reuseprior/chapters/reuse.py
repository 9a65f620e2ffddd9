"""Trained networks that differ in sharing, in pairs at equal cost, and what P_G says of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import pandas as pd

from reuseprior.chapters import reuse_runs
from reuseprior.measures.statistics import Sample, percentiles, told_apart
from reuseprior.results import Run

PARAMETERS, MULTIPLY_ADDS = "parameters", "multiply-adds"
SMALLER = ("narrower", "shallower")  # kinds of smaller plain networks
LEAST_PART = 0.9  # of a network's stored parameters that its plain baseline stores


def against_plain(models: pd.DataFrame) -> pd.DataFrame:
    """Trained networks that share, each less its plain baselines: a row a pair.

    `models` is `baselines.compared`'s. At equal parameters a baseline is a smaller plain network of
    the same family that stores no more and at least nine tenths as much; at equal multiply-adds it
    is the same network without sharing. Columns: at equal, network, baseline, gain (points of
    accuracy), bits (of P_G), seeds (the fewest of either), p (Welch's test over seeds).
    """
    columns = ["at equal", "network", "baseline", "gain", "bits", "seeds", "p"]
    rows = [
        (
            at, one.network, other.network, one.accuracy - other.accuracy, one.P_G - other.P_G,
            min(one.seeds, other.seeds), told_apart(_sample(one), _sample(other)).p,
        )
        for at, one, other in _baselines(models)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _sample(row) -> Sample:
    return Sample(row.accuracy, row.sd, row.seeds)


def _baselines(models: pd.DataFrame) -> Iterator[tuple]:
    plain = list(models[models.kind == "plain"].itertuples())
    smaller = list(models[models.kind.isin(SMALLER)].itertuples())
    for one in models[~models.kind.isin([*SMALLER, "plain"])].itertuples():
        for other in smaller:
            stored = other.parameters / one.parameters
            if _family(one) == _family(other) and LEAST_PART <= stored <= 1:
                yield PARAMETERS, one, other
        for other in plain:
            if other.model == one.model and other.multiply_adds == one.multiply_adds:
                yield MULTIPLY_ADDS, one, other


def _family(row) -> str:
    return row.model.partition("-")[0]


def agreeing(pairs: pd.DataFrame) -> pd.DataFrame:
    """How many pairs gained and lost accuracy, and in how many P_G has the sign right."""
    return pd.DataFrame(
        {
            at: {
                "pairs": len(rows),
                "sharing gained": int((rows["gain"] > 0).sum()),
                "sharing lost": int((rows["gain"] < 0).sum()),
                "mean gain, points": round(rows["gain"].mean(), 1),
                "mean change of P_G, bits": round(rows["bits"].mean(), 1),
                "P_G has the sign right": int((rows["gain"] * rows["bits"] > 0).sum()),
            }
            for at, rows in pairs.groupby("at equal", sort=False)
        }
    ).T


# Networks that others trained ---------------------------------------------------------------------

MEASURES = {
    "P_G": "P_G", "P′_G": "P_G_spread", "stored parameters": "stored", "weights used": "used",
    "multiply-adds": "multiply_adds", "layers": "layers",
}  # fmt: skip
SUBSETS = {
    "all pairs": (),
    "equal stored parameters": ("stored",),
    "equal multiply-adds": ("multiply_adds",),
    "both equal": ("stored", "multiply_adds"),
}
COSTS = {PARAMETERS: "stored", MULTIPLY_ADDS: "multiply_adds"}  # what two networks are equal in
MOST_OFF = 0.15  # of the printed parameters, that a network's stored ones may be away from them


def counted(run: Run | None = None) -> pd.DataFrame:
    """The counted networks: a row each, with `quality`, the higher the better, and `reason`.

    Where a network is left out, `reason` says why, as preregistered. Columns beside those of the
    counts: group, source, name, sharing, score.
    """
    rows = (run or Run.read(reuse_runs.FOLDER)).metrics.set_index("network")
    groups = reuse_runs.groups()
    table = []
    for one in reuse_runs.networks():
        row, group = rows.loc[one.key].to_dict(), groups.loc[one.group]
        off = abs(row["stored"] / one.printed - 1) if one.printed else 0.0
        if pd.isna(row["reason"]) and off > MOST_OFF:
            row["reason"] = f"{off:.0%} off the printed parameters"
        quality = one.score if group.better == "higher" else -one.score
        table.append(
            {"group": one.group, "source": group.source, "name": one.name, "sharing": one.sharing,
             "score": one.score, "quality": quality, **row}
        )  # fmt: skip
    return pd.DataFrame(table)


@dataclass(frozen=True)
class Pairs:
    """Pairs of a group's networks whose sharing and scores differ, as indices of its networks."""

    source: str
    networks: int
    one: np.ndarray
    other: np.ndarray
    right: np.ndarray  # (pairs, measures): 1, 0, or ½ where a measure is equal
    bits: np.ndarray  # by which P_G differs


def pairs(
    table: pd.DataFrame, equal: Iterable[str] = (), measures: Sequence[str] = (), *,
    differ: bool = False,
) -> list[Pairs]:  # fmt: skip
    """The pairs of each group that are equal in some columns, as preregistered.

    `measures` are columns, those of MEASURES if none is given; with `differ` a pair of which the
    first of them is equal is none.
    """
    most = reuse_runs.preregistered()["statistics"]["equal"]
    groups = []
    for _, group in table[table["reason"].isna()].groupby("group", sort=False):
        one, other = np.triu_indices(len(group), 1)

        def step(column, group=group, one=one, other=other) -> np.ndarray:
            value = group[column].to_numpy(float)
            gap = value[one] - value[other]
            return np.where(np.isclose(value[one], value[other], rtol=1e-9, atol=0), 0, gap)

        better, spec = step("quality"), group["sharing"].to_numpy()
        steps = [step(column) for column in measures or MEASURES.values()]
        chosen = (spec[one] != spec[other]) & (better != 0) & ((steps[0] != 0) | (not differ))
        for column in equal:
            size = group[column].to_numpy(float)
            low, high = np.minimum(size[one], size[other]), np.maximum(size[one], size[other])
            chosen &= high <= most * low
        right = np.array([(1 + np.sign(gap * better)) / 2 for gap in steps]).T
        source, bits = group["source"].iloc[0], np.abs(step("P_G"))
        if chosen.any():
            groups.append(
                Pairs(source, len(group), one[chosen], other[chosen], right[chosen], bits[chosen])
            )
    return groups


def shares(groups: list[Pairs], chance: np.random.Generator | None = None) -> np.ndarray:
    """Share of right pairs by measure: the mean over sources of the mean over their pairs.

    With `chance`, of one bootstrap sample of sources, and of networks within their groups.
    """
    sources = list(dict.fromkeys(one.source for one in groups))
    if chance is not None:
        sources = list(chance.choice(sources, len(sources)))
    means = []
    for source in sources:
        count, right = 0.0, 0.0
        for one in groups:
            if one.source == source:
                times = np.ones(one.networks)
                if chance is not None:
                    drawn = chance.integers(one.networks, size=one.networks)
                    times = np.bincount(drawn, minlength=one.networks).astype(float)
                weights = times[one.one] * times[one.other]
                count, right = count + weights.sum(), right + weights @ one.right
        if count:
            means.append(right / count)
    return np.mean(means, axis=0) if means else np.full(groups[0].right.shape[1], np.nan)


def _sampled(groups: list[Pairs]) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """The shares, those of the bootstrap samples that have any pair, and how many stand behind."""
    plan = reuse_runs.preregistered()["statistics"]
    chance = np.random.default_rng(plan["seed"])
    draws = np.array([shares(groups, chance) for _ in range(plan["samples"])])
    behind = {
        "sources": len({one.source for one in groups}),
        "pairs": sum(len(one.one) for one in groups),
    }
    return shares(groups), draws[~np.isnan(draws[:, 0])], behind


def concordance(table: pd.DataFrame) -> pd.DataFrame:
    """How often each measure orders a pair as training does: a row a subset and measure.

    Columns sources, pairs, share, low, high (its 95 % interval), and less, less_low, less_high:
    P_G's share less this one's.
    """
    rows = []
    for subset, equal in SUBSETS.items():
        whole, draws, behind = _sampled(pairs(table, equal))
        for i, measure in enumerate(MEASURES):
            low, high = percentiles(draws[:, i])
            less_low, less_high = percentiles(draws[:, 0] - draws[:, i])
            rows.append(
                {"subset": subset, "measure": measure, **behind, "share": whole[i], "low": low,
                 "high": high, "less": whole[0] - whole[i], "less_low": less_low,
                 "less_high": less_high}
            )  # fmt: skip
    return pd.DataFrame(rows)


def decided(agreement: pd.DataFrame) -> str:
    """`yes`, `no`, or `undecided` with how many sources would decide it, as preregistered."""
    rows = agreement[agreement["subset"] == "all pairs"].set_index("measure")
    rows = rows.loc[["stored parameters", "multiply-adds"]]
    if (rows["less_low"] > 0).all():
        return "yes"
    if (rows["less_high"] < 0).any():
        return "no"
    row = rows.loc[rows["less"].abs().idxmin()]
    half = (row.less_high - row.less_low) / 2
    if row.less == 0:
        return "undecided: no number of such sources would decide it"
    needed = ceil(round(row.sources * (half / abs(row.less)) ** 2, 6))
    return f"undecided: {needed} sources would decide it"


def pays(table: pd.DataFrame) -> pd.DataFrame:
    """Of pairs of a sharing and a plain network at equal cost: how often the sharing one is better.

    A row a cost, with sources, pairs, share, low and high.
    """
    marked = table.assign(shares=(table["sharing"] != "none").astype(float))
    rows = {}
    for at, column in COSTS.items():
        whole, draws, behind = _sampled(pairs(marked, (column,), ("shares",), differ=True))
        low, high = percentiles(draws[:, 0])
        rows[at] = {**behind, "share": whole[0], "low": low, "high": high}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("at equal")


def beside_plain(table: pd.DataFrame, equal: str) -> pd.DataFrame:
    """Each pair of `pays` that is equal in a column: what the sharing one has more than the plain.

    Columns source, name, sharing, plain, gain (of the score), deviations (the gain in the group's
    standard deviations), and the base-2 logarithm of the ratios of what they store and compute.
    """
    most, costs = reuse_runs.preregistered()["statistics"]["equal"], ["stored", "multiply_adds"]
    rows = []
    for _, group in table[table["reason"].isna()].groupby("group", sort=False):
        sizes, spread = np.log2(group[costs].astype(float)), group["quality"].std()
        for one in group[group["sharing"] != "none"].itertuples():
            for other in group[group["sharing"] == "none"].itertuples():
                ratios = sizes.loc[one.Index] - sizes.loc[other.Index]
                if abs(ratios[equal]) <= np.log2(most) and one.quality != other.quality:
                    gain = one.quality - other.quality
                    said = one.source, one.name, one.sharing, other.name
                    rows.append((*said, gain, gain / spread, *ratios))
    names = ["source", "name", "sharing", "plain", "gain", "deviations"]
    return pd.DataFrame(rows, columns=[*names, *costs])


def by_gap(table: pd.DataFrame) -> pd.DataFrame:
    """Share of pairs in which P_G is right, by how many bits it differs: over all sources."""
    groups, edges = pairs(table), [*reuse_runs.preregistered()["gaps"]["edges"], np.inf]
    bits = np.concatenate([one.bits for one in groups])
    right = np.concatenate([one.right[:, 0] for one in groups])
    place = np.searchsorted(edges, bits, side="right") - 1
    rows = [(edges[i], edges[i + 1], (place == i).sum(), right[place == i].mean())
            for i in range(len(edges) - 1) if (place == i).any()]  # fmt: skip
    return pd.DataFrame(rows, columns=["from bits", "to", "pairs", "right"])
