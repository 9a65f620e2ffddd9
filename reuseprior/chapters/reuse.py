"""Trained networks that differ in sharing, in pairs at equal cost, and what P_G says of them."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from reuseprior.measures.statistics import Sample, told_apart

PARAMETERS, MULTIPLY_ADDS = "parameters", "multiply-adds"
SMALLER = ("narrower", "shallower")  # ways that make a plain network smaller
LEAST_PART = 0.9  # of a network's stored parameters that its plain rival stores


def against_plain(models: pd.DataFrame) -> pd.DataFrame:
    """Trained networks that share, each less its plain rivals: a row a pair.

    `models` is `contenders.compared`'s. At equal parameters a rival is a smaller plain network of
    the same family that stores no more and at least nine tenths as much; at equal multiply-adds it
    is the same network without sharing. Columns: at equal, network, rival, gain (points of
    accuracy), bits (of P_G), seeds (the fewest of either), p (Welch's test over seeds).
    """
    columns = ["at equal", "network", "rival", "gain", "bits", "seeds", "p"]
    rows = [
        (
            at, one.network, other.network, one.accuracy - other.accuracy, one.P_G - other.P_G,
            min(one.seeds, other.seeds), told_apart(_sample(one), _sample(other)).p,
        )
        for at, one, other in _rivals(models)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _sample(row) -> Sample:
    return Sample(row.accuracy, row.sd, row.seeds)


def _rivals(models: pd.DataFrame) -> Iterator[tuple]:
    plain = list(models[models.way == "plain"].itertuples())
    smaller = list(models[models.way.isin(SMALLER)].itertuples())
    for one in models[~models.way.isin([*SMALLER, "plain"])].itertuples():
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
