"""Every printed number of chapter 4's shared and trained models, with the value computed for it."""

from __future__ import annotations

from collections.abc import Iterator

from reuseprior import sharing
from reuseprior.models import catalog
from reuseprior.press import published
from reuseprior.press.ledger import Entry, Reading, entry, judge, judged
from reuseprior.press.runs import Evidence, recorded
from reuseprior.works.thesis.contexts.readings import (
    base_name,
    multiply_adds,
    quantities,
    readings,
)
from reuseprior.works.thesis.scores import score
from reuseprior.works.thesis.sharing.compression import compression_claims
from reuseprior.works.thesis.sharing.experiments import complete

RECORDED = "cpu"  # the protocol of the recorded runs that are read
DATA = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100", "ImageNet-1K": "imagenet"}
AUGMENTATIONS = {"None": "none", "AutoAug": "autoaugment", "RandAug": "randaugment"}


def entries() -> Iterator[Entry]:
    """Tables 4.1 and 4.2, what the text says of their models, and section C.1.1, judged."""
    yield from data_sets()
    yield from trained_models()
    yield from claims()
    yield from compression()


def data_sets() -> Iterator[Entry]:
    """Table 4.1, read from the data sets that our recorded runs were trained on."""
    for _, row in published.load("thesis/table-4-1", "paper/table-1").iterrows():
        name = row.dataset.lower().replace("-", "")
        found: dict[str, Reading] = {}
        for run in complete(RECORDED, name)[:1]:
            images, said = run.config["images"], "the test images serve as validation"
            found["train"] = Reading(images["train"])
            found["validation"] = Reading(images["test"], said)
            found["classes"] = Reading(run.config["classes"])
        for column in ("train", "validation", "classes"):
            readings = [found[column]] if found else []
            yield judged(row, column, readings, "no full set of recorded runs has read it")


def trained_models() -> Iterator[Entry]:
    """Table 4.2: parameters and FLOPs are counted, scores wait for runs of the full models."""
    classes = {"CIFAR-10": 10, "CIFAR-100": 100, "ImageNet-1K": 1000}
    waiting = "top-1 accuracy of a training run"
    if any(run.config["protocol"]["width"] < 1 for run in complete(RECORDED, "cifar10")):
        waiting += "; our recorded runs train narrower models"
    for _, row in published.load("thesis/table-4-2", "paper/table-2").iterrows():
        size = catalog.image_size(base_name(row.model))
        found = readings(row.model, size, classes[row.dataset])
        yield judged(row, "params", [Reading(q.parameters, c) for c, q in found])
        yield recorded(row, "score", _training(row), waiting)
        yield _multiply_adds(row, size, classes[row.dataset])
        yield _setting(row, "batch", 400 if row.dataset == "ImageNet-1K" else 512)
        yield _setting(row, "epochs", 352 if row.dataset == "ImageNet-1K" else 300)


def _training(row) -> Evidence:
    """The trainings of a row's model with the row's settings."""
    printed = {
        "epochs": int(row.epochs),
        "batch_size": int(row.batch),
        "augmentation": AUGMENTATIONS[row.augmentation],
    }
    shared = row.model.endswith("-shared")
    return score(base_name(row.model), shared, DATA[row.dataset], printed)


def _multiply_adds(row, size: int, classes: int) -> Entry:
    """The cost of a forward pass at the size of the test images."""
    value = multiply_adds(row.model, size, classes)
    verdict, _, note = judge(row.flops, [Reading(value, f"multiply-adds at {size} px")])
    if verdict == "erratum":
        note = f"multiply-adds at {size} px; 8.8 is probably a wider V2-S of Tan & Le's paper"
    return entry(row, "flops", value, verdict, note)


def _setting(row, column: str, in_text: int) -> Entry:
    """A setting of a training run, which must be what section 4.5.4 says of the same runs."""
    if int(row[column]) == in_text:
        return entry(row, column, in_text, "reproduced", "a setting; §4.5.4 says the same")
    return entry(row, column, in_text, "erratum", f"§4.5.4 says {in_text} for all these runs")


def claims() -> Iterator[Entry]:
    """What the text of chapter 4 claims in numbers: a bound."""
    for _, row in published.load("thesis/chapter-4-text").iterrows():
        least = round(_fewest_more_parameters(), 1)
        verdict = "reproduced" if least >= float(row["value"]) else "erratum"
        yield entry(row, "value", least, verdict, "the text says at least; ImageNet-1K is least")


def _fewest_more_parameters() -> float:
    """By how many per cent V2-B0 exceeds V2-S-shared, at least over the three data sets."""
    ratios = []
    for classes in (10, 100, 1000):
        larger = quantities("V2-B0", 224, "learnable", classes=classes).parameters
        smaller = quantities(
            "V2-S-shared", 384, "learnable", sharing.all_but_bn, classes=classes
        ).parameters
        ratios.append(100 * (larger / smaller - 1))
    return min(ratios)


# What sympy cannot say and blocks can: section C.1.1 on the blocks of `models.blocks`, tied.
_COMPRESSION = {
    "FractalNet": (
        "thesis-c-1-1-fractalnet",
        "2^n - 1 for fractal depth n, on convolutions; separate batch norms hold it below "
        "1 + 9/2 of the channels",
        "",
    ),
    "ResNet": ("thesis-c-1-1-resnet", "d exactly, on convolutions; batch norms hold it lower", ""),
    "DenseNet with sums": (
        "thesis-c-1-1-densenet",
        "where each source's layer is reused by all its readers: equal bit for bit",
        "",
    ),
    "FractalNet, other rule": (
        "thesis-c-1-1-fractalnet-densenet",
        "the text does not state the rule; it holds for ",
        "g(n+1) = concat(g(n), f(g(n)))",
    ),
}  # id, note, convention


def compression() -> Iterator[Entry]:
    """The four claims of section C.1.1, and what the first says of the longest path."""
    found = compression_claims()
    for block, rows in found.groupby("block", sort=False):
        name, note, convention = _COMPRESSION[block]
        holds = (rows.expected == rows.measured).all()
        verdict = "convention" if convention else "reproduced"
        yield Entry(
            name, "thesis", "thesis, section C.1.1", "as stated", None,
            verdict if holds else "not yet", note + convention,
        )  # fmt: skip
    note = "the deepest path has 2^(n-1) layers, so n is half of it at n = 4 alone"
    yield Entry(
        "thesis-c-1-1-deepest-path", "thesis", "thesis, section C.1.1",
        "n is half the size of the deepest path", None, "erratum", note,
    )  # fmt: skip
