"""What sharing buys at equal cost: accuracy beside what a network stores, computes and takes."""

from __future__ import annotations

from collections.abc import Sequence
from math import factorial, nan
from statistics import fmean

import numpy as np
import pandas as pd

from reuseprior.contexts import multiply_adds
from reuseprior.measures.statistics import LEAST, agreement
from reuseprior.models import Recipe
from reuseprior.results import ResultError, Run
from reuseprior.training import Protocol
from reuseprior.works.thesis.sharing import experiments

PROTOCOL_OF = {"EfficientNetV2": experiments.HOURS, "ResNet": experiments.RESNETS}

COSTS = {
    "params": "stored parameters",
    "multiply_adds": "multiply-adds of an image",
    "seconds": "seconds of training",
    "P_G": "$P_G$, bits",
    "P_G_spread": "$P'_G$, bits",
}
CHANCE = "±1.00 by chance"  # a column of `foretold`


def equal_cost() -> pd.DataFrame:
    """One row a network of both families on CIFAR-10, at all widths that are planned.

    Columns: family, model, width, shared, seeds, accuracy (mean over seeds, per cent, of the test
    images), params (learnable, tied ones once), multiply_adds (of one image forward), seconds (of a
    training, were all epochs as fast as the fastest of the network with and without sharing: both
    compute the same, and others may have used the processor), P_G and P_G_spread. Accuracy and
    seconds are those of networks that had settled (`experiments.settled`), NaN of others. Raises
    `results.ResultError` where runs of a family differ in more than model and width.
    """
    planned = {(one.model, one.width): one for one in experiments.planned() if _is_compared(one)}
    runs = {network: its for p in PROTOCOL_OF.values() for network, its in _by_network(p).items()}
    rows = [_row(one, runs.get(network, [])) for network, one in planned.items()]
    columns = ["family", "model", "width", "shared", "seeds", "accuracy", *COSTS]
    table = pd.DataFrame(rows, columns=columns)
    alike = table.groupby([table.model.str.removesuffix("-shared"), "width"])
    table["seconds"] = alike.seconds.transform("min").where(table.seeds > 0)
    return table.sort_values(["family", "params"], ignore_index=True)


def _is_compared(one: experiments.Planned) -> bool:
    """Whether a planned network is of the comparison: on one data set, at one size and policy."""
    return one.data == "cifar10" and not one.image_size and not one.model.endswith("-with-bn")


def _by_network(protocol: str) -> dict[tuple[str, float], list[Run]]:
    """The runs of the networks of a protocol that settled, by model and width."""
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
    for run in experiments.settled(found):
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
    accuracies = [100 * run.summary["test_accuracy"] for run in runs]
    fastest = [len(run.metrics) * run.metrics.seconds.min() for run in runs]
    return {
        "family": next(f for f, protocol in PROTOCOL_OF.items() if protocol == network.protocol),
        "model": network.model,
        "width": network.width,
        "shared": network.model.endswith("-shared"),
        "seeds": len(runs),
        "accuracy": fmean(accuracies) if runs else nan,
        "params": sum(p.numel() for p in model.parameters()),
        "multiply_adds": multiply_adds(recorded),
        "seconds": min(fastest, default=nan),
        "P_G": quantities.P_G,
        "P_G_spread": quantities.P_G_spread,
    }


def foretold(networks: pd.DataFrame) -> pd.DataFrame:
    """Kendall's τ between accuracy and each cost and estimate, within each family.

    `networks` is a table of `equal_cost`. A row a family of three networks or more, with their
    number and the chance that as many in no order at all stand in perfect order or its reverse,
    2/n!; each other cell is τ and half its 95 % bootstrap interval, which a perfect order leaves
    without width, however few the networks.
    """
    rows = {}
    for family, group in networks.dropna().groupby("family"):
        if len(group) < LEAST:
            continue
        rows[family] = {"networks": len(group), CHANCE: f"{2 / factorial(len(group)):.2g}"}
        for column in COSTS:
            found = agreement(group[column], group.accuracy, resamples=1000)
            rows[family][column] = f"{found.tau:+.2f} ± {found.tau_margin:.2f}"
    return pd.DataFrame.from_dict(rows, "index", columns=["networks", CHANCE, *COSTS])


def gain_at_equal(networks: pd.DataFrame, cost: str) -> pd.DataFrame:
    """What sharing gains at equal cost: points of accuracy above the line of unshared networks.

    The line joins a family's unshared networks over the logarithm of the cost; shared ones that
    cost less than the least of them or more than the greatest are left out. Columns: family, model,
    width, gain, and the fewest seeds of a network that it rests on: a difference is no test.
    """
    rows = []
    for family, group in networks.dropna().groupby("family"):
        line = group[~group.shared].sort_values(cost)
        for row in group[group.shared].itertuples():
            at = getattr(row, cost)
            if len(line) and line[cost].min() <= at <= line[cost].max():
                there = np.interp(np.log(at), np.log(line[cost]), line.accuracy)
                fewest = min(row.seeds, line.seeds.min())
                rows.append((family, row.model, row.width, row.accuracy - there, fewest))
    return pd.DataFrame(rows, columns=["family", "model", "width", "gain", "seeds"])
