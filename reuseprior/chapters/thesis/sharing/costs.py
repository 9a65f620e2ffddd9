"""What sharing buys at equal cost: accuracy beside what a network stores, computes and takes."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from statistics import fmean

import numpy as np
import pandas as pd

from reuseprior.chapters.thesis.sharing import experiments
from reuseprior.contexts import multiply_adds
from reuseprior.measures.statistics import LEAST, by_chance, kendall, order
from reuseprior.models import Recipe
from reuseprior.results import ResultError, Run
from reuseprior.training import Protocol

PROTOCOL_OF = {"EfficientNetV2": experiments.HOURS, "ResNet": experiments.RESNETS}

COSTS = {
    "params": "stored parameters",
    "multiply_adds": "multiply-adds of an image",
    "seconds": "core-seconds of training",
    "P_G": "$P_G$, bits",
    "P_G_spread": "$P'_G$, bits",
}
SETTLED, UNSETTLED, NOT_RUN = "settled", "not settled", "not run"


def equal_cost() -> pd.DataFrame:
    """One row a network of both families on CIFAR-10, at all widths that are planned.

    Columns: family, model, width, shared, seeds (that are recorded), state (SETTLED, as
    `experiments.settled` has it, UNSETTLED or NOT_RUN), accuracy (mean over seeds, per cent, of the
    test images), params (learnable, tied ones once), multiply_adds (of one image forward), seconds
    (of a training on one core, were all epochs as fast as the fastest of the network with and
    without sharing: both compute the same, and others may have used the processor), P_G and
    P_G_spread. Accuracy and seconds are NaN of networks that had not settled. Raises
    `results.ResultError` where runs of a family differ in more than model and width.
    """
    planned = {(one.model, one.width): one for one in experiments.planned() if _is_compared(one)}
    runs = {network: its for p in PROTOCOL_OF.values() for network, its in _by_network(p).items()}
    rows = [_row(one, runs.get(network, [])) for network, one in planned.items()]
    columns = ["family", "model", "width", "shared", "seeds", "state", "accuracy", *COSTS]
    table = pd.DataFrame(rows, columns=columns)
    alike = table.groupby([table.model.str.removesuffix("-shared"), "width"])
    table["seconds"] = alike.seconds.transform("min").where(table.state == SETTLED)
    return table.sort_values(["family", "params"], ignore_index=True)


def _is_compared(one: experiments.Planned) -> bool:
    """Whether a planned network is of the comparison: on one data set, at one size and policy."""
    return one.data == "cifar10" and not one.image_size and not one.model.endswith("-with-bn")


def _by_network(protocol: str) -> dict[tuple[str, float], list[Run]]:
    """The runs of a protocol by model and width."""
    found = experiments.at_all_widths(protocol, "cifar10")
    for run in found:
        differs = _settings(run).items() ^ _settings(found[0]).items()
        if differs:
            raise ResultError(
                f"{run.folder} and {found[0].folder} differ in "
                f"{', '.join(sorted({key for key, _ in differs}))}: they do not compare, move one "
                "of them to another experiment"
            )
    groups: dict[tuple[str, float], list[Run]] = {}
    for run in found:
        key = experiments.label(run), run.config["protocol"]["width"]
        groups.setdefault(key, []).append(run)
    return groups


def _settings(run: Run) -> dict[str, object]:
    # a run is older than some settings, which then were what their defaults are
    protocol = vars(Protocol()) | run.config["protocol"]
    return {key: v for key, v in protocol.items() if key not in ("name", "width")}


def _row(network: experiments.Planned, runs: Sequence[Run]) -> dict[str, object]:
    recorded = experiments.forward_pass(network.config)
    quantities = recorded.count().quantities()
    model = Recipe.recorded(network.config).build(lazy=True)
    state = SETTLED if experiments.settled(runs) else UNSETTLED if runs else NOT_RUN
    accuracies = [100 * run.summary["test_accuracy"] for run in runs if state == SETTLED]
    fastest = [
        len(run.metrics) * run.metrics.seconds.min() * run.summary["threads"] for run in runs
    ]
    return {
        "family": next(f for f, protocol in PROTOCOL_OF.items() if protocol == network.protocol),
        "model": network.model,
        "width": network.width,
        "shared": network.model.endswith("-shared"),
        "seeds": len(runs),
        "state": state,
        "accuracy": fmean(accuracies) if accuracies else nan,
        "params": sum(p.numel() for p in model.parameters()),
        "multiply_adds": multiply_adds(recorded),
        "seconds": min(fastest, default=nan),
        "P_G": quantities.P_G,
        "P_G_spread": quantities.P_G_spread,
    }


def foretold(networks: pd.DataFrame) -> pd.DataFrame:
    """How far each cost and estimate orders the accuracies of a family that are known.

    `networks` is a table of `equal_cost`. A row a family of three networks or more, with their
    number; in the other cells Kendall's τ-b, the pairs that are in the same order and in the other,
    and the chance of as great a τ in no order at all (`statistics.by_chance`). Pairs of equal cost
    are in no order, and where there are any τ-b stays below 1.
    """
    rows = {}
    for family, group in networks.dropna().groupby("family"):
        if len(group) < LEAST:
            continue
        rows[family] = {"networks": len(group)}
        for column in COSTS:
            both = group[column], group.accuracy
            tau, (same, other), p = kendall(*both), order(*both), by_chance(*both)
            rows[family][column] = f"{tau:+.2f} ({same}:{other}, p {p:.2g})"
    return pd.DataFrame.from_dict(rows, "index", columns=["networks", *COSTS])


def gain_at_equal(networks: pd.DataFrame, cost: str) -> pd.DataFrame:
    """What sharing gains at equal cost: points of accuracy above the line of unshared networks.

    The line joins a family's settled unshared networks over the logarithm of the cost, and is
    broken where one between two of them was trained and had not settled. Shared networks that
    cost less than the least of them, more than the greatest, or fall into a break are left out.
    Columns: family, model, width, gain, and the fewest seeds of the networks that it rests on,
    which are the shared one and its neighbours on the line: a difference is no test.
    """
    rows = []
    for family, group in networks.groupby("family"):
        line = group[~group.shared & group.accuracy.notna()].sort_values(cost)
        breaks = group[~group.shared & (group.state == UNSETTLED)][cost]
        for row in group[group.shared & group.accuracy.notna()].itertuples():
            at = getattr(row, cost)
            below, above = line[line[cost] <= at].tail(1), line[line[cost] >= at].head(1)
            ends = pd.concat([below, above])
            if below.empty or above.empty or breaks.between(*ends[cost]).any():
                continue
            there = np.interp(np.log(at), np.log(ends[cost]), ends.accuracy)
            fewest = min(row.seeds, *ends.seeds)
            rows.append((family, row.model, row.width, row.accuracy - there, fewest))
    return pd.DataFrame(rows, columns=["family", "model", "width", "gain", "seeds"])
