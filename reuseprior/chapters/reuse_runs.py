"""Networks that others trained and in which sharing differs, counted once, as preregistered.

The scores stand in `data/benchmarks/sharing.csv`, and of sources that other chapters read in
`data/published`; `sharing-groups.csv` says what differs within each group, and its place.
"""

from __future__ import annotations

import hashlib
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from reuseprior import paths, results, sharing
from reuseprior.contexts import multiply_adds, operator_paths, trace_model
from reuseprior.errors import UserError
from reuseprior.measures.measuring import last_position
from reuseprior.models import ModelConfig, catalog, hf, without_weights
from reuseprior.report import published
from reuseprior.report.published import Printed
from reuseprior.results import Recording, Run
from reuseprior.training import baselines

FOLDER = paths.RESULTS / "reuse" / "networks"
COLUMNS = ("network", "stored", "used", "multiply_adds", "layers", "P_G", "P_G_spread", "seconds",
           "reason")  # fmt: skip
TOKENS = 32  # of a language model's input
DIGITS = 12  # of the numbers that are kept


@cache
def preregistered() -> dict[str, Any]:
    """What was fixed before any of these networks was counted, as a dict of its tables."""
    return tomllib.loads(_benchmark("sharing-preregistration.toml").read_text(encoding="utf-8"))


def sha256() -> str:
    """Of that file, as the counts' configuration holds it."""
    return hashlib.sha256(_benchmark("sharing-preregistration.toml").read_bytes()).hexdigest()


@dataclass(frozen=True)
class Network:
    """A trained network: its group, its score as the group says, and how it is built."""

    group: str
    name: str
    score: float
    sharing: str  # as text; networks whose texts are equal do not differ in sharing
    build: Callable[[], nn.Module]
    inputs: str  # encoder, causal or pair (of texts), or image and pixels a side
    printed: float | None = None  # stored parameters, where the source prints them

    @property
    def key(self) -> str:
        """Its name among all networks."""
        return f"{self.group}: {self.name}"


def groups() -> pd.DataFrame:
    """What is compared with each other: a row a group, by name.

    Columns source, differs, score (its kind), better (higher or lower), inputs, licence, place,
    note.
    """
    table = pd.read_csv(_benchmark("sharing-groups.csv"), keep_default_na=False)
    return table.set_index("group")


def _benchmark(name: str) -> Path:
    return paths.checkout() / "data" / "benchmarks" / name


@cache
def networks() -> tuple[Network, ...]:
    """All of them."""
    return (*_typed(), *_of_npas(), *_of_notebooks(), *_of_thesis())


def _typed() -> Iterator[Network]:
    rows = pd.read_csv(_benchmark("sharing.csv"), keep_default_na=False)
    inputs = groups()["inputs"]
    for row in rows.itertuples():
        build = partial(language_model, row.type, row.options, row.sharing)
        printed = float(row.stored.rstrip("M")) * 1e6 if row.stored else None
        yield Network(
            row.group, row.network, row.score, row.sharing, build, inputs[row.group], printed
        )


def language_model(kind: str, options: str, spec: str) -> nn.Module:
    """A model of transformers without weights: `name=value` each, in place of its defaults."""
    changed = dict(option.split("=") for option in options.split())
    with without_weights():
        model = hf.build(hf.configured(kind, {name: _value(v) for name, v in changed.items()}))
    return sharing.apply(model, spec)


def _value(text: str) -> int | bool | str:
    return text == "true" if text in ("true", "false") else int(text) if text.isdigit() else text


NPAS = "WRN-28-10"


def _of_npas() -> Iterator[Network]:
    for row in published.load("npas/table-14").itertuples():
        kind = row.model.replace(NPAS, "").strip(", ")
        if NPAS not in row.model or kind not in ("smaller", "SSN-", "S"):
            continue
        percent = float(row.percent_of_parameters)
        spec = {"smaller": "none", "SSN-": f"stores:{percent:g}%"}.get(kind)
        spec = spec or f"blocks:{1 if percent < 40 else 2}"  # SWRN's templates
        size = percent / 100 * _size_of(NPAS)
        width = _narrower(NPAS, size) if kind == "smaller" else 1.0
        yield _wide(f"npas-14: {row.model} {percent:g} %", NPAS, row.error, spec, size, width)
    for row in published.load("npas/table-12").itertuples():
        if row.part != "c":
            plain = row.model.removeprefix("SSN-")
            percent = float(row.percent_of_parameters)
            spec = "none" if row.part == "a" else f"stores:{percent:g}%"
            size = percent / 100 * _size_of(plain)
            yield _wide(f"npas-12: {row.model}", plain, row.error, spec, size)


def _wide(key: str, model: str, error: str, spec: str, size: float, width: float = 1.0) -> Network:
    """A wide ResNet of NPAS with a hundred classes."""
    config = ModelConfig(model.lower(), spec, 100, {"width": width})
    group, name = key.split(": ", 1)
    return Network(group, name, float(error), spec, partial(config.build, lazy=True), "image 32",
                   size)  # fmt: skip


@cache
def _size_of(model: str) -> int:
    network = ModelConfig(model.lower(), classes=100).build(lazy=True)
    return sum(p.numel() for p in network.parameters())


@cache
def _narrower(model: str, size: float) -> float:
    return baselines.baseline(model.lower(), int(size)).width


def _of_notebooks() -> Iterator[Network]:
    for network, (_, columns) in baselines.NOTEBOOKS.items():
        for row in published.load(f"bidart/chapter-3-notebook-{network}").to_dict("records"):
            factor = int(row["factor"])
            for column, text in list(columns.items())[: 1 if factor == 1 else None]:
                spec = "none" if text == "narrowing" else text.format(factor)
                yield Network(
                    f"bidart-{network}", f"{column} {factor}" if factor > 1 else "as it is",
                    float(row[f"{column}_accuracy"]), spec,
                    partial(baselines.notebook, network, column, factor), "image 32",
                    float(Printed.parse(row[f"{column}_parameters"]).value),
                )  # fmt: skip


def _of_thesis() -> Iterator[Network]:
    for row in published.load("thesis/table-4-2").itertuples():
        model, _, kind = row.model.rpartition("-")
        spec = "same_shape" if kind == "shared" else "none"
        classes = {"CIFAR-10": 10, "CIFAR-100": 100, "ImageNet-1K": 1000}[row.dataset]
        build = partial(ModelConfig(model, spec, classes).build, lazy=True)
        printed = float(row.params.removesuffix(" M")) * 1e6
        yield Network(
            f"thesis {row.dataset}", row.model, float(row.score), spec, build,
            f"image {catalog.image_size(model)}", printed,
        )  # fmt: skip


# Counts -------------------------------------------------------------------------------------------


def count(network: Network) -> dict:
    """A row of COLUMNS: stored parameters with a context, each once, and weights by their uses."""
    begin = time.perf_counter()
    row: dict = {"network": network.key}
    try:
        model = network.build()
        inputs, output = _inputs(model, network.inputs)
        traced = trace_model(model, inputs, output=output)
        quantities = traced.count().quantities()
    except UserError as error:
        return row | {"reason": str(error)}
    values = {
        "stored": quantities.parameters,
        "used": quantities.weight_nodes,
        "multiply_adds": multiply_adds(traced),
        "layers": operator_paths(traced).layers,
        "P_G": quantities.P_G,
        "P_G_spread": quantities.P_G_spread,
        "seconds": time.perf_counter() - begin,
    }
    short = {k: float(f"{v:.{DIGITS}g}") if isinstance(v, float) else v for k, v in values.items()}
    return row | short


def _inputs(model: nn.Module, inputs: str) -> tuple[Any, Any]:
    """What a model is traced on, and the output that counts."""
    kind, _, size = inputs.partition(" ")
    if kind == "image":
        return (1, 3, int(size), int(size)), None
    width = model.get_input_embeddings().weight.shape[1]
    embedded = {"inputs_embeds": (1, TOKENS, width)}
    if kind == "pair":
        return embedded | {"decoder_inputs_embeds": (1, TOKENS, width)}, last_position
    embedded["attention_mask"] = (1, TOKENS)
    return embedded, "logits" if kind == "encoder" else last_position


def record(folder: Path = FOLDER, *, until: int | None = None) -> Run:
    """Count all networks and record the counts; goes on where it was stopped.

    `until` is how many to count in the end, all if not given.
    """
    config = {"columns": list(COLUMNS), "preregistration": sha256()}
    recording = Recording.start(folder, config, resume=True)
    done = {row["network"] for row in recording.rows}
    for network in networks()[:until]:
        if network.key not in done:
            row = count(network)
            recording.extend([{column: row.get(column) for column in COLUMNS}])
    provenance = results.provenance(seed=0, device="cpu", data_checksum=None)
    recording.finish({"networks": len(recording.rows), **provenance})
    return Run.read(folder)
