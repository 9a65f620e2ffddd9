"""What our own trainings of table 4.2's models say, read from `data/results`.

A protocol's runs lie in `data/results/train-<protocol>`, one folder a model, sharing and seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from reuseprior import published, results, sharing
from reuseprior.contexts import count_contexts
from reuseprior.models import efficientnet_v2, without_weights
from reuseprior.published import Printed
from reuseprior.quantities import Quantities
from reuseprior.results import Run

LABELS = {"none": "", "all_but_bn": "-shared"}
OWN_SIZES = {"digits": 8, "mnist": 28, "cifar10": 32, "cifar100": 32}  # where a protocol says 0


def runs(protocol: str) -> list[Run]:
    """The finished runs of a protocol on the models of table 4.2, in the order of their names.

    Raises `results.ResultError` where there are none.
    """
    found = results.runs(f"train-{protocol}")
    return [run for run in found if run.summary["state"] == "finished"]


def label(run: Run) -> str:
    """The thesis's name of a run's model: V2-B0, V2-B0-shared, V2-S-shared."""
    return (
        run.config["model"].replace("efficientnetv2-", "v2-").upper()
        + (LABELS[run.config["sharing"]])
    )


def trained(found: Sequence[Run]) -> pd.DataFrame:
    """One row a model, fewest parameters first.

    Columns: data, params (learnable, tied ones once), seeds, accuracy and its standard deviation
    over seeds in per cent (of the last epoch), images a second, and the P_G and P′_G of the model
    as it was trained.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in found:
        groups.setdefault((label(run), run.config["data"]), []).append(run)
    rows = []
    for (name, data), members in groups.items():
        accuracies = 100 * np.array([run.summary["test_accuracy"] for run in members])
        q = counted(members[0])
        rows.append(
            {
                "model": name,
                "data": data,
                "params": members[0].config["parameters"],
                "seeds": len(members),
                "accuracy": accuracies.mean(),
                "sd": accuracies.std(ddof=1) if len(members) > 1 else np.nan,
                "images/s": np.median([run.summary["images_per_second"] for run in members]),
                "P_G": q.P_G,
                "P_G_spread": q.P_G_spread,
            }
        )
    return pd.DataFrame(rows).sort_values("params", ignore_index=True)


def counted(run: Run) -> Quantities:
    """The quantities of a run's model as it was trained: its width, sharing and image size."""
    protocol = run.config["protocol"]
    variant = run.config["model"].removeprefix("efficientnetv2-")
    classes, width = run.config["classes"], protocol["width"]
    with without_weights():
        model = efficientnet_v2(variant, num_classes=classes, width=width)
    sharing.tie(model, sharing.policy(run.config["sharing"]))
    size = protocol["test_image_size"] or protocol["image_size"] or OWN_SIZES[run.config["data"]]
    return count_contexts(model, (1, protocol["channels"], size, size)).quantities()


def ordering(models: pd.DataFrame, better: str, worse: str) -> str:
    """What our runs say of a printed ordering, as one sentence; `models` is a table of `trained`.

    Two models are told apart where their means differ by more than twice the standard error of
    the difference.
    """
    rows = models.set_index("model")
    high, low = rows.loc[better], rows.loc[worse]
    gap = high.accuracy - low.accuracy
    error = np.hypot(high.sd / np.sqrt(high.seeds), low.sd / np.sqrt(low.seeds))
    numbers = (
        f"{high.accuracy:.1f} % against {low.accuracy:.1f} %, {high.seeds} seeds, "
        f"standard error of the difference {error:.1f}"
    )
    if gap > 2 * error:
        said = "scores above"
        held = "as in Table 4.2"
    elif gap < -2 * error:
        said = "scores below"
        held = "so this protocol does not show Table 4.2's ordering"
    else:
        said = "cannot be told apart from"
        held = "so this protocol neither shows nor refutes Table 4.2's ordering"
    fewer = 1 - high.params / low.params
    size = f"{abs(fewer):.0%} {'fewer' if fewer > 0 else 'more'} parameters"
    return f"{better}, with {size}, {said} {worse} ({numbers}), {held}."


def curves(found: Sequence[Run]) -> pd.DataFrame:
    """The metrics of all runs, one row an epoch, with columns `model` and `seed`."""
    tables = [r.metrics.assign(model=label(r), seed=r.config["seed"]) for r in found]
    return pd.concat(tables, ignore_index=True)


def beside_other_sharing() -> pd.DataFrame:
    """Top-1 accuracy on CIFAR-100 against the share of parameters that sharing leaves.

    As figure B.1 does, from numbers that are printed: table 4.2 and table 14 of NPAS. Columns:
    model, shared, percent_of_parameters (of the same architecture unshared), accuracy.
    """
    npas = published.load("npas-table-14")
    others = pd.DataFrame(
        {
            "model": npas.model,
            "shared": npas.shared == "yes",
            "percent_of_parameters": npas.percent_of_parameters.astype(float),
            "accuracy": 100 - npas.error.astype(float),
            "source": "NPAS, table 14",
        }
    )
    printed = published.load("table-4-2").query("source == 'thesis' and dataset == 'CIFAR-100'")
    unshared = {"V2-B0": _printed_size(printed, "V2-B0-original"), "V2-S": _size_of_v2_s()}
    rows = []
    for row in printed.itertuples():
        base = row.model.removesuffix("-shared").removesuffix("-original")
        size = float(Printed.parse(row.params).value)
        shared = row.model.endswith("-shared")
        rows.append(
            [row.model, shared, 100 * size / unshared[base], float(row.score), "thesis, table 4.2"]
        )
    ours = pd.DataFrame(rows, columns=others.columns)
    return pd.concat([others, ours], ignore_index=True)


def _printed_size(printed: pd.DataFrame, model: str) -> float:
    return float(Printed.parse(printed.set_index("model").params[model]).value)


def _size_of_v2_s() -> float:
    with without_weights():
        model = efficientnet_v2("s", num_classes=100)
    return float(sum(p.numel() for p in model.parameters()))
