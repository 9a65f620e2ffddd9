"""NN-Mass's tables as DataFrames, and the measure beside P_G on other models."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import pandas as pd

from reuseprior.chapters.nn_mass import theory
from reuseprior.chapters.nn_mass.ledger import architecture, networks, table_1
from reuseprior.contexts import CountingError, record_model
from reuseprior.measures import nn_mass
from reuseprior.measures.nn_mass import Architecture, LongRangeCNN, NotApplicable
from reuseprior.models import build, image_size, without_weights
from reuseprior.quantities import Quantities
from reuseprior.report import ledger, published


def printed_beside_computed() -> pd.DataFrame:
    """Table 1, `printed | computed` and the verdict, a row a network."""
    formats = {
        "mass": "{:.2f}".format,
        "params": "{:,}".format,
        "flops_G": "{:.3f}".format,
        "test_accuracy": str,
    }
    return ledger.side_by_side(table_1(), formats)


@cache
def counted(one: Architecture, size: int = 32) -> Quantities:
    """The quantities of a network with random long-range links, on images of so many pixels."""
    with without_weights():
        model = LongRangeCNN(one)
    return record_model(model, (1, 3, size, size)).count().quantities()


def table_2() -> pd.DataFrame:
    """Table 2's twenty networks.

    Columns: layers, candidates, printed and density (ρ_avg), mass, parameters, P_G and P_G_spread
    on CIFAR's 32 × 32 pixels.
    """
    rows, printed = [], published.load("nn-mass/appendix-g").set_index("id")["value"]
    for _, row in published.load("nn-mass/table-2").iterrows():
        one, q = architecture(row), counted(architecture(row))
        rows.append(
            {
                "layers": int(row.layers),
                "candidates": " ".join(map(str, one.candidates)),
                "printed": printed[f"{row.id}/density"],
                "density": float(one.density),
                "mass": float(one.mass),
                "parameters": one.parameters(),
                "P_G": q.P_G,
                "P_G_spread": q.P_G_spread,
            }
        )
    return pd.DataFrame(rows)


def bounds_of_table_1(examples: int = 50_000) -> pd.DataFrame:
    """What Theorem 2 says of table 1's networks, by mass, at one σ for all of them.

    Columns: eq. 14's divergence (nats; and times 2σ, where σ drops out), the mended one, and what
    either adds to the training error, in per cent, with a confidence of 95 %.
    """
    built = networks("nn-mass/table-1").values()
    most_links = max(one.widths[-1] + one.candidates[-1] for one in built)
    rows = {}
    for mass in sorted(float(one.mass) for one in built):
        printed = theory.divergence(mass, most_links)
        mended = theory.repaired_divergence(mass, most_links)
        rows[f"m = {mass:.1f}"] = {
            "2σ KL, eq. 14": 2 * most_links * printed,
            "KL, eq. 14": printed,
            "KL, mended": mended,
            "bound, %": 100 * theory.bound(printed, examples),
            "bound mended, %": 100 * theory.bound(mended, examples),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def of_models(names: Iterable[str]) -> pd.DataFrame:
    """NN-Mass of models by name, as in `models.find`, beside P_G on the same record.

    Columns: mass, density, reason (why there are none of both), parameters with a context, P_G and
    P_G_spread; by name, at the size that the model is made for.
    """
    rows = {}
    for name in names:
        size = image_size(name)
        recorded = record_model(build(name), (1, 3, size, size))
        try:
            found, reason = nn_mass.measure(recorded), ""
        except (NotApplicable, CountingError) as error:
            found, reason = None, str(error)
        q = recorded.count().quantities()
        rows[name] = {
            "mass": found.mass if found else float("nan"),
            "density": found.density if found else float("nan"),
            "parameters": q.parameters,
            "P_G": q.P_G,
            "P_G_spread": q.P_G_spread,
            "reason": reason,
        }
    return pd.DataFrame.from_dict(rows, orient="index")
