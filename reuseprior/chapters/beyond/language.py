"""Language models beside their published scores: does P_G rank them?

Two suites, each of one source and one way to test: 17 models that predict the next token, by six
zero-shot tasks, and six encoders, by five fine-tuned ones. The scores are quoted, not verified here
(`data/README.md`); the models are built from their configurations, without weights.
"""

from __future__ import annotations

import time
from dataclasses import astuple
from functools import partial
from pathlib import Path
from statistics import mean

import pandas as pd
from torch import nn

from reuseprior import paths
from reuseprior.chapters.beyond.survey import EXPERIMENT, checked_rows, keep, short
from reuseprior.contexts import multiply_adds, record_model
from reuseprior.measures.measuring import last_position
from reuseprior.measures.statistics import agreement
from reuseprior.models import hf, without_weights

NAME = "language-models"
TOKENS = 32  # of every input
COLUMNS = (
    "model", "suite", "score", "layers", "held", "parameters", "multiply_adds", "P_G",
    "P_G_spread", "seconds",
)  # fmt: skip
"""A row a model. `score` is the mean of the suite's tasks, in per cent; `held` counts all
parameters, `parameters` those with a context; `multiply_adds` is for the whole input."""
SUITES = ("zero-shot", "fine-tuned")


def published() -> pd.DataFrame:
    """The models with their scores, a row each: `score` is the mean over the suite's tasks.

    Of SQuAD, for which two numbers are given, their mean stands for the task, as in the source.
    """
    table = pd.read_csv(paths.checkout() / "data" / "benchmarks" / f"{NAME}.csv")
    table["score"] = [mean(map(_task, scores.split())) for scores in table.pop("scores")]
    return table


def _task(written: str) -> float:
    return mean(map(float, written.split("/")))


def record(folder: Path | None = None) -> Path:
    """Count every model and keep the rows; returns the run's folder."""
    tasks = {row["model"]: row for row in published().to_dict("records")}
    config = {"columns": COLUMNS, "tokens": TOKENS, "models": list(tasks)}
    return keep(folder or paths.RESULTS / EXPERIMENT / NAME, config, tasks, partial(map, _row))


def read(folder: Path | None = None) -> pd.DataFrame:
    """The recorded rows, checked against the summary's checksum (ResultError)."""
    rows = checked_rows(folder or paths.RESULTS / EXPERIMENT / NAME, COLUMNS)
    return rows.astype(dict.fromkeys(COLUMNS[2:], float))


def agreements(by: tuple[str, ...] = ("P_G", "P_G_spread", "held", "multiply_adds")):
    """How each measure's order agrees with the scores', a row a suite and measure.

    τ and ρ with 1.96 bootstrap deviations over the models. What a model was trained on, and how
    long, is in none of the measures.
    """
    found = read()
    rows = []
    for suite in SUITES:
        of_suite = found[found["suite"] == suite]
        for measure in by:
            one = agreement(of_suite[measure], of_suite["score"])
            rows.append((suite, measure, len(of_suite), *astuple(one)))
    names = ["suite", "measure", "models", "tau", "tau_margin", "rho", "rho_margin"]
    return pd.DataFrame(rows, columns=names)


def build(kind: str, options: str) -> nn.Module:
    """A model without weights: a type of transformers and its settings, `name=number` each."""
    numbers = dict(option.split("=") for option in options.split())
    config = hf.configured(kind, {name: int(value) for name, value in numbers.items()})
    with without_weights():
        return hf.build(config)


def _row(one: dict) -> dict:
    start = time.perf_counter()
    network = build(one["type"], one["options"])
    width = network.get_input_embeddings().weight.shape[1]
    inputs = {"inputs_embeds": (1, TOKENS, width)}
    if one["type"] != "mamba":
        inputs["attention_mask"] = (1, TOKENS)
    is_causal = one["suite"] == "zero-shot"
    recorded = record_model(network, inputs, output=last_position if is_causal else "logits")
    quantities = recorded.count().quantities()
    row = {
        "model": one["model"],
        "suite": one["suite"],
        "score": one["score"],
        "layers": network.config.num_hidden_layers,
        "held": sum(p.numel() for p in network.parameters()),
        "parameters": quantities.parameters,
        "multiply_adds": multiply_adds(recorded),
        "P_G": quantities.P_G,
        "P_G_spread": quantities.P_G_spread,
        "seconds": round(time.perf_counter() - start, 3),
    }
    return {column: short(row[column]) for column in COLUMNS}
