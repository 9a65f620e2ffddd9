"""Public accuracies of many models, none trained here; data/README.md says where they are from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from reuseprior import paths
from reuseprior.chapters.beyond import preregistration
from reuseprior.errors import UserError, did_you_mean
from reuseprior.models import flexibert, nas_bench_201

LARGEST = 150e6  # parameters of the classifiers that are compared
DATA_SETS = ("cifar10", "cifar100", "imagenet16_120")  # of NAS-Bench-201
MICRO_TASKS = ("class_object", "class_scene", "jigsaw", "room_layout")  # of TransNAS-Bench-101
MACRO_TASKS = (*MICRO_TASKS, "autoencoder", "normal", "segmentsemantic")


@dataclass(frozen=True)
class Benchmark:
    """Models with accuracies, the higher the better, in columns named `accuracies`."""

    name: str
    accuracies: tuple[str, ...]
    read: Callable[[], pd.DataFrame]
    """A row a model: `model` (a name for `models.build`, which may stand for several rows of equal
    counts), `image_size` (pixels a side), `family`, `alike` (models of which one says much of the
    others: what is drawn together), and the accuracies."""
    shape: tuple[int, ...] | None = None
    """Of the input, where it is no square image; `image_size` is then 0."""

    def examples(self, accuracy: str) -> float:
        """T, how many training examples the models had that `accuracy` is of.

        >>> find("nas-bench-201").examples("imagenet16_120")
        151700
        """
        return preregistration.examples(self.name, accuracy)


def names() -> list[str]:
    """The benchmarks by name.

    >>> names()
    ['torchvision', 'timm', 'nas-bench-201', 'nas-bench-macro', 'transnas-macro',
     'transnas-micro', 'flexibert']
    """
    return list(_BENCHMARKS)


def find(name: str) -> Benchmark:
    """A benchmark by name; `UserError` for one that is not there."""
    if name not in _BENCHMARKS:
        raise UserError(
            f"no benchmark {name!r}{did_you_mean(name, _BENCHMARKS)}: there are "
            f"{', '.join(_BENCHMARKS)}"
        )
    return _BENCHMARKS[name]


def zero_cost_scores() -> pd.DataFrame:
    """Published training-free scores on NAS-Bench-201 (NASLib), a row a data set and cell.

    Columns `dataset`, `cell`, `validation_accuracy` and twelve scores. A sample of 725 cells.
    """
    return _table("nas-bench-201-zero-cost.csv", cell=str)


def _torchvision() -> pd.DataFrame:
    from torchvision import models

    rows = []
    for name in models.list_models(module=models):
        for weights in models.get_model_weights(name):
            published = weights.meta["num_params"]
            if weights.name == "IMAGENET1K_V1" and published <= LARGEST:
                family = models.get_model_builder(name).__module__.rpartition(".")[2]
                top1 = weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
                size = weights.transforms().crop_size[0]
                rows.append((f"torchvision:{name}", size, family, top1, published))
    columns = ["model", "image_size", "family", "top1", "published_parameters"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(alike=table["family"])


def _timm() -> pd.DataFrame:
    table = _table("timm-in1k.csv")
    table = table[table.pop("millions_of_parameters") <= LARGEST / 1e6].reset_index(drop=True)
    return table.assign(model="timm:" + table["model"], alike=table["family"])


def _nas_bench_201() -> pd.DataFrame:
    """The model of a cell is that of its live edges; the family is its number of poolings."""
    table = _table("nas-bench-201.csv", cell=str)
    live = table["cell"].map(nas_bench_201.live)
    return table.assign(
        model="nas-bench-201:" + live,
        image_size=32,
        family=live.str.count("4").astype(str),
        alike=live.map(nas_bench_201.structure),
    )


def _nas_bench_macro() -> pd.DataFrame:
    """The family is the number of layers that are no identity."""
    table = _table("nas-bench-macro.csv", network=str)
    depth = table["network"].str.count("[12]").astype(str)
    model = "nas-bench-macro:" + table["network"]
    return table.assign(model=model, image_size=32, family=depth, alike=table["network"])


def _transnas_macro() -> pd.DataFrame:
    """The family is the number of modules."""
    table = _table("transnas-macro.csv", modules=str)
    return table.assign(
        model="transnas-macro:" + table["modules"],
        image_size=256,
        family=table["modules"].str.len().astype(str),
        alike=table["modules"],
    )


def _transnas_micro() -> pd.DataFrame:
    """The model of a cell is that of its live edges; the family is its number of convolutions."""
    table = _table("transnas-micro.csv", cell=str)
    live = table["cell"].map(nas_bench_201.live)
    return table.assign(
        model="transnas-micro:" + live,
        image_size=256,
        family=live.str.count("[23]").astype(str),
        alike=live,
    )


def _flexibert() -> pd.DataFrame:
    """The family is hidden size and number of layers. Nine encoders are in the file twice."""
    table = _table("flexibert.csv")
    hidden, depth = table["encoder"].str.split("-").str[0], table["encoder"].str.count("-")
    return table.assign(
        model="flexibert:" + table["encoder"],
        image_size=0,
        family=hidden + " features, " + depth.astype(str) + " layers",
        alike=table["encoder"],
    )


def _table(name: str, **types) -> pd.DataFrame:
    return pd.read_csv(paths.checkout() / "data" / "benchmarks" / name, dtype=types)


_BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark("torchvision", ("top1",), _torchvision),
        Benchmark("timm", ("top1",), _timm),
        Benchmark("nas-bench-201", DATA_SETS, _nas_bench_201),
        Benchmark("nas-bench-macro", ("cifar10",), _nas_bench_macro),
        Benchmark("transnas-macro", MACRO_TASKS, _transnas_macro),
        Benchmark("transnas-micro", MICRO_TASKS, _transnas_micro),
        Benchmark("flexibert", ("glue",), _flexibert, flexibert.SHAPE),
    )
}
