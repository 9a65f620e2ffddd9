"""Every printed number of Bidart's chapter 3, and what became of it.

The author's notebooks print parameters and accuracies that the thesis does not. No source here has
them, and our widths and blocks were chosen so that the parameters come out: `beside` shows them,
and the ledger leaves them out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import cache

import pandas as pd
from torch import nn

from reuseprior import sharing
from reuseprior.chapters.bidart.channels import clustering, experiments
from reuseprior.chapters.bidart.channels.experiments import channels
from reuseprior.chapters.bidart.channels.statements import STATEMENTS, formulas
from reuseprior.models import build, cifar_resnet18, cifar_xception, vs_xception, without_weights
from reuseprior.report import published
from reuseprior.report.ledger import (
    Cell,
    Entry,
    Reading,
    judged,
    public,
    quoted,
    setting,
    stated,
)
from reuseprior.report.published import Printed
from reuseprior.report.runs import Claim, Evidence, claimed, measured, settings
from reuseprior.results import Run
from reuseprior.training import Protocol, contenders
from reuseprior.training.contenders import SMALL, WIDE, Contender

TEXT = "bidart/chapter-3-text"
B0 = "torchvision:efficientnet_b0"
OURS = "reuseprior train {} --sharing {} --data {} --protocol stores --set width={:g}"
FOLDER = " --output data/results/channels/{}-seed0"  # where all of the comparison lies
SCALE = "at width {:g}, 20,000 images of 16 px, 5 epochs, by accuracy on {}'s test images"


# The tables of the thesis ------------------------------------------------------------------------


def table_3() -> Iterator[Entry]:
    """Table 3.3: parameters of three convolutions."""
    holds = formulas()
    for _, row in published.load("bidart/chapter-3-table-3").iterrows():
        note = f"{row.convolution}; on layers of three depths and four kernels, s | d"
        yield stated(row, "value", printed=holds[row.convolution], note=note)


def table_6() -> Iterator[Entry]:
    """Table 3.6: EfficientNet-B0 on ImageNet, by what is left of its separable convolutions."""
    rows = [row for _, row in published.load("bidart/chapter-3-table-6").iterrows()]
    yield from judged(
        Cell(row, "remaining", [Reading(_left(row))], note=_of_all(row), derived=True)
        for row in rows
    )
    for row in rows:
        for column in ("top1", "top5"):
            if row.implementation == "original":
                quantity = f"EfficientNet-B0, ImageNet-1K top-{column[-1]}, %"
                yield quoted(row, column, public(quantity))
            else:
                yield measured(row, column, _on_imagenet(row, column), _needs(row))


def _left(row: pd.Series) -> float:
    """Per cent of EfficientNet-B0's depthwise filters, which table 3.3 calls separable."""
    return 100 * filters(B0, f"channels:{row.factor}") / filters(B0, "none")


def _of_all(row: pd.Series) -> str:
    if row.factor == "1":
        return ""
    saved = 1 - learnable(B0, f"channels:{row.factor}") / learnable(B0, "none")
    return f"filters of depthwise convolutions; of all parameters {saved:.2%} are saved"


def _needs(row: pd.Series) -> str:
    shared = "none" if row.factor == "1" else f"channels:{row.factor}"
    return (
        f"trainings of EfficientNet-B0 on ImageNet-1K: `reuseprior train {B0} --sharing {shared} "
        f"--data imagenet --protocol bidart` with `--set` for section 3.6.3's settings, weeks on a "
        "GPU; its augmentation and schedule are not printed"
    )


def _on_imagenet(row: pd.Series, column: str) -> Evidence:
    batch = _setting("ImageNet: batch size")
    protocol = {
        "epochs": int(_setting("ImageNet: epochs")),
        "batch_size": int(batch),
        "learning_rate": _setting("ImageNet: learning rate") * 256 / batch,
        "optimizer": "rmsprop",
    }
    shared = "none" if row.factor == "1" else f"channels:{row.factor}"
    config = {"model": B0, "sharing": shared, "data": "imagenet", "protocol": protocol}
    key = {"top1": "test_accuracy", "top5": "test_top5_accuracy"}[column]
    if column == "top5":
        config["task"] = "top-5 classification"  # which is no task yet
    return Evidence("train-bidart*", config, lambda runs: 100 * runs[0].summary[key])


# The text ----------------------------------------------------------------------------------------


def _setting(claim: str) -> float:
    """A setting as the text prints it."""
    return clustering.printed(claim)


def _carried() -> Mapping[str, float]:
    """The settings of section 3.6.1 that the protocol `bidart` carries."""
    p = Protocol.load("bidart")
    return {
        "CIFAR: epochs": p.epochs,
        "CIFAR: batch size": p.batch_size,
        "CIFAR: the rate falls by a factor of": round(1 / p.step_factor, 6),
        "CIFAR: epochs between falls": p.step_epochs,
        "CIFAR: initial learning rate": p.learning_rate * p.batch_size / 256,
        "CIFAR: weight decay": p.weight_decay,
        "CIFAR: momentum": p.momentum,
    }


def text(where: str) -> Iterator[Entry]:
    """The statements, settings, quotations, claims and computed numbers of one section."""
    carried, rows = _carried(), published.load(TEXT)
    rows = rows[rows["where"].str.fullmatch(where)]
    yield from judged(_cell(row) for _, row in rows.iterrows() if row.id in COMPUTED)
    for _, row in rows.iterrows():
        if row.id in STATEMENTS:
            found = STATEMENTS[row.id]()
            yield stated(row, "value", printed=found.printed, mended=found.mended,
                         note=found.note, convention=found.convention)  # fmt: skip
        elif row.id in CLAIMS:
            claim, needs = CLAIMS[row.id]()
            yield claimed(row, "value", claim, needs)
        elif row.claim in carried:
            yield setting(row, "value", _used(float(row["value"]) == carried[row.claim]))
        elif row.claim.startswith("ImageNet: "):
            yield setting(row, "value", "of a training; runs that bear on table 3.6 must have it")
        elif row.claim.startswith("figure 3.8: "):
            yield setting(row, "value", "of the clustering experiment")
        elif row.id not in COMPUTED:
            yield quoted(row, "value", public(row.claim))


def _used(carried: bool) -> str:
    return "of a training; the protocol `bidart` " + (
        "carries it" if carried else "has another value"
    )


def _cell(row: pd.Series) -> Cell:
    by_definition = row.id.startswith("bidart-3-level")
    return Cell(
        row, "value", COMPUTED[row.id](), note=_share_of_network(row), derived=by_definition
    )


def _share_of_network(row: pd.Series) -> str:
    """What a part of the convolutions is of all parameters of the network."""
    if row.id.startswith("bidart-3-level"):
        return "of depthwise kernels, by definition"
    model, factor = PARTS_OF.get(row.id, ("", 0))
    if not model:
        return ""
    ways = ["channels:{}", "channels:{},layers=shared.*"][: 2 if model == CIFAR else 1]
    found = []
    for text in (way.format(factor) for way in ways):
        depthwise, convolutions, network = (
            1 - count(model, text) / count(model, "none") for count in (filters, weights, learnable)
        )
        found.append(
            f"{text} saves {depthwise:.2%} of depthwise kernels, {convolutions:.2%} of all "
            f"convolutions, {network:.2%} of {model}"
        )
    return "; the author's notebook, ".join(found)


def _part(model: str, factor: int, convolutions: Callable[[str, str], int]) -> float:
    """Per cent of a model's convolution parameters that are left when filters repeat."""
    return 100 * convolutions(model, f"channels:{factor}") / convolutions(model, "none")


def _kernels_alone(model: str, factor: int, *, saved: bool = False) -> list[Reading]:
    """All convolutions, as the words are; the depthwise filters alone, as table 3.3 has them."""
    found = [_part(model, factor, count) for count in (weights, filters)]
    if saved:
        found = [100 - part for part in found]
    return [
        Reading(found[0]),
        Reading(found[1], "of depthwise filters alone, without the pointwise between them"),
    ]


CIFAR = "xception-cifar"
PARTS_OF = {
    "bidart-3-half-cifar": (CIFAR, 2), "bidart-3-quarter-cifar": (CIFAR, 4),
    "bidart-3-half-imagenet": (B0, 2),
}  # fmt: skip
"""The network and the factor of rows on parts of the convolutions."""

COMPUTED: dict[str, Callable[[], list[Reading]]] = {
    "bidart-3-half-cifar": lambda: _kernels_alone(CIFAR, 2),
    "bidart-3-quarter-cifar": lambda: _kernels_alone(CIFAR, 4, saved=True),
    "bidart-3-half-imagenet": lambda: _kernels_alone(B0, 2, saved=True),
    "bidart-3-b0": lambda: [Reading(learnable(B0, "none"))],
    **{
        f"bidart-3-level-{s}": lambda s=s: [Reading(_part(CIFAR, s, filters))] for s in (1, 2, 4, 8)
    },
}


@cache
def _built(model: str, text: str) -> nn.Module:
    return sharing.apply(build(model), text)


def learnable(model: str, text: str) -> int:
    """Parameters of a model of the catalogue that shares as a text says."""
    return sum(p.numel() for p in _built(model, text).parameters())


def weights(model: str, text: str) -> int:
    """Parameters of its convolutions."""
    return _of_convolutions(model, text, lambda layer: True)


def filters(model: str, text: str) -> int:
    """Parameters of its depthwise convolutions."""
    return _of_convolutions(model, text, lambda layer: layer.groups > 1)


def _of_convolutions(model: str, text: str, wanted: Callable[[nn.Conv2d], bool]) -> int:
    layers = (m for m in _built(model, text).modules() if isinstance(m, nn.Conv2d))
    return sum(p.numel() for layer in layers if wanted(layer) for p in layer.parameters()
               if p.ndim > 1)  # fmt: skip


# Claims ------------------------------------------------------------------------------------------


def _trained(one: Contender, data: str) -> Evidence:
    """Test accuracy of a network of the comparison, in per cent."""
    protocol = settings(asdict(Protocol.load(contenders.PROTOCOL, width=one.width)), {})
    config = {"model": one.model, "sharing": one.sharing, "data": data, "protocol": protocol}
    folder = experiments.EXPERIMENT if data == contenders.DATA else "train-stores*"
    return Evidence(folder, config, lambda runs: 100 * runs[0].summary["test_accuracy"])


def _against(first: Contender, second: Contender, data: str):
    claim = Claim(
        (first.name, _trained(first, data)), (second.name, _trained(second, data)),
        SCALE.format(first.width, data),
    )  # fmt: skip
    place = FOLDER if data == contenders.DATA else ""
    needs = " and ".join(
        f"`{OURS.format(one.model, one.sharing, data, one.width)}{place.format(one.name)}`"
        for one in (first, second)
    )
    return claim, f"{needs}, two seeds or more of each"


def _removal(factor: int):
    return _against(
        channels(WIDE, factor, "full"), Contender(WIDE.model, width=1 / factor), "cifar10"
    )


def _clustered(penalty: str, value: Callable[[Run], float]) -> Evidence:
    data, protocol = clustering.setup("quick")
    config = {
        "penalty": penalty, "of": "kernels", "data": data,
        "tau": 0.0 if penalty == "none" else clustering.TAU,
        "size": int(_setting("figure 3.8: basis weights")),
        "protocol": settings(asdict(protocol), {}),
    }  # fmt: skip
    return Evidence(clustering.EXPERIMENT, config, lambda runs: value(runs[0]))


def _accuracy(run: Run) -> float:
    return 100 * run.summary["test_accuracy"]


def _drop(run: Run) -> float:
    return _accuracy(run) - 100 * run.summary["quantised_test_accuracy"]


def _quantising(value: Callable[[Run], float], what: str):
    data, protocol = clustering.setup("quick")
    claim = Claim(
        ("without the penalty", _clustered("none", value)),
        ("with it", _clustered("kernels", value)),
        f"{clustering.MODEL} at width {protocol.width:g}, {data}, {protocol.epochs} epochs, τ = "
        f"{clustering.TAU:g}, by {what}",
    )
    return claim, "trainings of `works.bidart.channels.clustering`, two seeds or more of each"


def _no_loss():
    """EfficientNet-B0 on ImageNet, as table 3.6 has it."""
    rows = published.load("bidart/chapter-3-table-6").set_index("factor", drop=False)
    shared, plain = (
        (f"channels:{row.factor}", _on_imagenet(row, "top1"))
        for row in (rows.loc["2"], rows[rows.implementation != "original"].loc["1"])
    )
    claim = Claim(shared, plain, "on ImageNet-1K, by top-1 accuracy", alike=True)
    return claim, _needs(rows.loc["2"])


CLAIMS: dict[str, Callable[[], tuple[Claim, str]]] = {
    "bidart-3-increase-10": lambda: _against(channels(SMALL, 2), SMALL, "cifar10"),
    "bidart-3-increase-100": lambda: _against(channels(SMALL, 2), SMALL, "cifar100"),
    "bidart-3-increase-100-quarter": lambda: _against(channels(SMALL, 4), SMALL, "cifar100"),
    "bidart-3-no-loss": _no_loss,
    **{f"bidart-3-removal-{s}": lambda s=s: _removal(s) for s in (2, 4, 8)},
    "bidart-3-harm": lambda: _quantising(_accuracy, "accuracy before quantising, per cent"),
    "bidart-3-less-drop": lambda: _quantising(_drop, "what quantising costs, per cent"),
}


# The author's notebooks --------------------------------------------------------------------------


_SEPARABLE = {
    "removed": "narrowing",
    "depthwise": "channels:{},layers=shared.*",
    "pointwise": "channels:{},pointwise,layers=shared.*.pointwise",
}
_RESNET = {
    "removed": "narrowing",
    "shared": "channels:{},full,norms,layers=layer[234].*.body.*",
    "repeated": "channels:{},full,norms,layers=layer[234].*",
}
NOTEBOOKS = {
    "xception": (cifar_xception, _SEPARABLE),
    "vs-xception": (vs_xception, _SEPARABLE),
    "resnet18": (cifar_resnet18, _RESNET),
}
"""Networks of the notebooks, and how each column of their tables makes them smaller."""


@cache
def size(factory: Callable[..., nn.Module], text: str, factor: int) -> int:
    """Parameters of a notebook's network, narrowed or with filters that repeat."""
    with without_weights():
        if text == "narrowing":
            model = factory(narrowing=factor)
        else:
            model = sharing.apply(factory(), text.format(factor))
    return sum(p.numel() for p in model.parameters())


def beside(name: str) -> pd.DataFrame:
    """A notebook's table: printed and counted parameters, and the printed accuracies."""
    factory, columns = NOTEBOOKS[name]
    rows = {}
    for _, row in published.load(f"bidart/chapter-3-notebook-{name}").iterrows():
        cells = rows[f"×{row.factor}"] = {}
        for column, text in columns.items():
            printed = int(Printed.parse(row[f"{column}_parameters"]).value)
            counted = size(factory, text, int(row.factor))
            cells[f"{column}"] = f"{printed:,} | {counted:,}"
            cells[f"{column}, %"] = row[f"{column}_accuracy"]
    return pd.DataFrame.from_dict(rows, orient="index")


SECTIONS = ("section 3.2", "section 3.3", "section 3.4", "section 3.5.1", "section 3.5.2",
            "equation 3.1", "equation 3.3", "equation 3.4", "equation 3.5", "section 3.6.1",
            "section 3.6.2", "section 3.6.3", "section 3.6.4", "section 3.6.5")  # fmt: skip

PARTS = {
    "bidart, table 3.3": table_3,
    "bidart, table 3.6": table_6,
    **{f"bidart, {place}": lambda place=place: text(f"bidart, {place}") for place in SECTIONS},
}
