"""Every printed number of Neural Parameter Allocation Search: what it is and what became of it.

Sizes are counted on networks that are built, with stores that are made. Errors and recalls need
trainings, and stay open; what the text claims about them is tested on our own runs where it can be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from fractions import Fraction
from functools import cache
from pathlib import Path

import pandas as pd
from torch import nn

from reuseprior import data, paths
from reuseprior.contexts import multiply_adds, trace_model
from reuseprior.models import ModelConfig
from reuseprior.report import published
from reuseprior.report.cells import Cells
from reuseprior.report.ledger import Contradiction, Interpretation, Statement, public
from reuseprior.report.published import Printed
from reuseprior.report.runs import Claim, RunSelection, settings
from reuseprior.sharing import Stores, apply, cluster, share_blocks, stores
from reuseprior.sharing.weights import merge, shareable
from reuseprior.training import Protocol, baselines, train
from reuseprior.training.baselines import WIDE, Model, baseline, parameters_of, shared

PARTS = Cells(__name__, "npas/cells")

CLASSES = {"CIFAR-10": 10, "CIFAR-100": 100, "ImageNet": 1000}
NAMES = {"DenseNet-BC": "densenet-bc-190-40", "ResNet-56": "resnet56-cifar"}  # as we call them


def name(model: str) -> str:
    """Our name of a printed network: `SSN-WRN-28-10` and `WRN-28-10, smaller` are wrn-28-10."""
    plain = model.removeprefix("SSN-").removeprefix("S").removesuffix(", smaller")
    return NAMES.get(plain, plain.lower())


@cache
def built(model: str, dataset: str = "CIFAR-100") -> nn.Module:
    """A printed network, without storage; it is not to be changed."""
    return _build(model, dataset)


def _build(model: str, dataset: str) -> nn.Module:
    return ModelConfig(name(model), classes=CLASSES[dataset]).build(lazy=True)


def size(model: nn.Module) -> int:
    """Parameters of a network, shared ones once."""
    return sum(p.numel() for p in model.parameters())


def parameters(model: str, dataset: str = "CIFAR-100") -> int:
    """Parameters of a printed network."""
    return size(built(model, dataset))


def largest(model: str, dataset: str = "CIFAR-100") -> int:
    """Weights of its largest layer."""
    return max(layer.weight.numel() for layer in shareable(built(model, dataset)).values())


@cache
def least(model: str, dataset: str = "CIFAR-100", layers: int = 1, classifier: bool = False) -> int:
    """Parameters of one store of so many times the largest layer, with all that is not shared.

    The store is made, so this is what sharing leaves and not a sum. `classifier` shares it too.
    """
    network = _build(model, dataset)
    sizes = [layer.weight.numel() for layer in shareable(network).values()]
    if not classifier:
        sizes.remove(next(reversed(shareable(network).values())).weight.numel())
    budget = size(network) - sum(sizes) + layers * max(sizes)
    Stores(budget, "mean", templates=layers, classifier=classifier).share(network)
    return size(network)


@cache
def in_blocks(model: str, dataset: str = "CIFAR-100", templates: int = 1) -> int:
    """Parameters of the SWRN of a network with so many templates."""
    network = _build(model, dataset)
    share_blocks(network, templates)
    return size(network)


def manual_stores(model: str, dataset: str = "CIFAR-100") -> int:
    """Stores of the manual mapping: SWRN's, and each other layer as one, the classifier too."""
    network = _build(model, dataset)
    stores = share_blocks(network, 1)
    return len(stores) + len(shareable(built(model, dataset))) - sum(len(s.layers) for s in stores)


@cache
def merged(model: str, dataset: str, sharing: str) -> tuple[float, float]:
    """Per cent of multiply-adds and parameters that a network has after training with stores.

    Both of the plain network's, after `merge`.
    """
    network = merge(apply(_build(model, dataset), sharing))
    plain = built(model, dataset)
    costs = [multiply_adds(trace_model(one, (1, 3, 32, 32))) for one in (network, plain)]
    return 100 * costs[0] / costs[1], 100 * size(network) / size(plain)


EXPERIMENT = "stores"


def stores_by_budget(percent: float, *words: str) -> Model:
    """The wide ResNet made of so many per cent of its parameters."""
    return shared(WIDE, f"stores:{percent:g}%", *words)


def narrower(percent: float, model: str = WIDE.model) -> Model:
    """The baseline that stores no more than so many per cent of the wide ResNet."""
    return baseline(model, int(parameters_of(WIDE) * percent / 100))


def learned(percent: float, number: int, *, seed: int = 0, root: Path | None = None) -> Model:
    """The network with a mapping into so many stores that a short training found (section 3.4).

    One epoch with one store of four templates, of the same budget, that every layer resizes and
    weighs by a layer embedding; then k-means on the embeddings. The run is recorded beside others
    in `stores-mapping`, and the mapping in the name of what it is for.
    """
    first = stores_by_budget(percent, "embedding", "resized")
    folder = (paths.RESULTS if root is None else Path(root)) / f"{EXPERIMENT}-mapping"
    images = data.load(baselines.DATA)
    model = first.config(classes=images.classes, seed=seed).build()
    protocol = Protocol.load(baselines.PROTOCOL, epochs=1)
    about = {"model": first.model, "sharing": first.sharing}
    run = folder / f"{first.name}-seed{seed}"
    train(model, images, protocol, run, seed=seed, about=about, resume=True, progress=False)
    return stores_by_budget(percent, "weighted", "mask", f"map={cluster(model, number, seed=seed)}")


TEN = "with a classifier of ten classes"
HEAD = "table 12 is of CIFAR-100, which has a hundred"
TWICE = "twice the largest layer, with batch norms"
LARGEST = "section 4.3 gives them as many as the largest layer needs"
WITH_REST = "with batch norms and the classifier, which are not shared"
LINEAR = (
    "EmbNet",
    "ADAPT-T2I",
    "SimNet",
)  # their scores are recalls and accuracies: more is better


def number(table: str, row: str, column: str = "value") -> Fraction:
    """A printed cell, by its row's id without the source."""
    return published.number(f"npas/{table}", f"npas-{row}", column)


def printed(table: str, row: str, column: str) -> str:
    """A cell of a table as it is printed, by its row's id without the source."""
    return published.row(f"npas/{table}", f"npas-{row}")[column]


# Sizes --------------------------------------------------------------------------------------------


def left_after_merging(column: str, sharing: str) -> float:
    """Per cent of ResNet-56's multiply-adds or parameters that are left after merging."""
    flops, size = merged("ResNet-56", "CIFAR-10", sharing)
    return flops if column == "percent_of_flops" else size


def size_of(row: pd.Series) -> int:
    """Parameters of table 3's networks."""
    return parameters(row.model)


def size_in_millions(row: pd.Series) -> list[Interpretation]:
    """Parameters of a network of tables 7 and 9."""
    ten = Interpretation(parameters(row.model, "CIFAR-10") / 1e6, f"{TEN}, as in the row above")
    of_row = Interpretation(parameters(row.model, row.dataset) / 1e6)
    return [of_row, ten] if row.dataset == "CIFAR-100" else [of_row]


def manual(row: pd.Series) -> Interpretation:
    """Stores of table 8's manual mapping."""
    convention = "what shares with nothing is a store of its own, the classifier too"
    return Interpretation(manual_stores(row.model, row.dataset), convention)


def used_of_whole(row: pd.Series) -> list[Interpretation | Contradiction]:
    """The per cent of parameters that tables 4 and 7 use: those of the largest layer."""
    whole = parameters(row.model, row.dataset)
    # one number stands for both data sets
    larger = "CIFAR-100" if row.dataset == "CIFAR-10" else row.dataset
    twice = least(row.model, row.dataset, layers=2, classifier=True)
    return [
        Interpretation(100 * largest(row.model, row.dataset) / whole),
        Interpretation(100 * least(row.model, larger) / parameters(row.model, larger), WITH_REST),
        Interpretation(100 * twice / whole, TWICE, LARGEST),
        *([_of_wrn_28_10()] if row.model == "WRN-28-10" else []),
    ]


def _of_wrn_28_10() -> Contradiction:
    again = printed("table-12", "12-c-ssn-wrn-28-10", "percent_of_parameters")
    used = printed("text", "4-used", "value").removeprefix("<")
    most = 100 * float(Printed.parse(used).value) / parameters("WRN-28-10")
    return Contradiction(
        again,
        f"table 12 (c) prints {again} for it, and just under {used} (section 4.3) is less than "
        f"{most:.2f} per cent",
    )


def upsampled(row: pd.Series) -> float:
    """The text's half million as a per cent of WRN-28-10."""
    return (
        100
        * number("text", "4-upsampled")
        / parameters("WRN-28-10", row.get("dataset", "CIFAR-100"))
    )


def nine_millions() -> float:
    """The 9M of a name as a per cent of WRN-76-12."""
    return 100 * 9e6 / parameters("WRN-76-12")


def blocks_of(templates: int, convention: str) -> list[Interpretation]:
    """Per cent of WRN-28-10 that its SWRN has."""
    return _rounded("WRN-28-10", "CIFAR-100", templates, convention)


def swrn(model: str, dataset: str) -> list[Interpretation]:
    """Per cent of a network that the least of its SWRNs has."""
    return _rounded(model, dataset, 1, "of a whole number of millions, as in section 4.2")


def _rounded(model: str, dataset: str, templates: int, convention: str) -> list[Interpretation]:
    exact, whole = in_blocks(model, dataset, templates), parameters(model, dataset)
    rounded = round(exact / 1e6) * 1e6
    return [Interpretation(100 * exact / whole), Interpretation(100 * rounded / whole, convention)]


# Table 12: wide ResNets as they are (a), with one store (b), and with learned stores (c) ----------


def _of_table_12(size: Callable[[str], float]) -> list[Interpretation]:
    return [Interpretation(size("CIFAR-100")), Interpretation(size("CIFAR-10"), TEN, HEAD)]


def _by_its_authors(value: Callable[[Fraction], float]) -> Interpretation:
    (authors,) = public("WRN-28-10, parameters")
    convention = f"of the size that WRN-28-10's own authors print, {authors.printed}"
    return Interpretation(value(Fraction(Printed.parse(authors.printed).value)), convention)


def depth_params(row: pd.Series) -> list[Interpretation]:
    """Parameters, in millions."""
    by_authors = [_by_its_authors(lambda n: n / 10**6)] if row.model.endswith("WRN-28-10") else []
    return _of_table_12(lambda data: parameters(row.model, data) / 1e6) + by_authors


def depth_used(row: pd.Series) -> list[Interpretation]:
    """Parameters that are used, in millions; those of (c) follow from the per cent it prints."""
    if row.part == "a":
        return depth_params(row)
    if row.part == "b":
        return _of_table_12(lambda data: least(row.model, data) / 1e6)
    share = float(row.percent_of_parameters) / 100
    return _of_table_12(lambda data: share * parameters(row.model, data) / 1e6)


def depth_share(row: pd.Series, column: str) -> list[Interpretation | Contradiction]:
    """Per cent used of the network itself, or of WRN-28-10, in (a) and (b)."""
    whole = row.model if column == "percent_of_parameters" else "WRN-28-10"
    used, rest = (least, WITH_REST) if row.part == "b" else (parameters, "")
    exact, ten = (
        100 * used(row.model, data) / parameters(whole, data) for data in ("CIFAR-100", "CIFAR-10")
    )
    interpretations = [Interpretation(exact, rest), Interpretation(ten, TEN, HEAD)]
    if rest:
        interpretations.insert(0, Interpretation(100 * largest(row.model) / parameters(whole)))
    if column == "percent_of_wrn_28_10":
        interpretations.insert(1, _by_its_authors(lambda n: 100 * used(row.model) / float(n)))
    return [*interpretations, _of_wrn_28_10()] if row.model == "SSN-WRN-28-10" else interpretations


def one_budget(row: pd.Series) -> bool:
    """Whether one budget has both per cents of a row of (c)."""
    ends = []
    for column, model in (
        ("percent_of_parameters", row.model),
        ("percent_of_wrn_28_10", "WRN-28-10"),
    ):
        low, high = Printed.parse(row[column]).interval().ends
        sizes = [parameters(model, data) for data in ("CIFAR-10", "CIFAR-100")]
        ends.append((low * min(sizes), high * max(sizes)))
    (a, b), (c, d) = ends
    return max(a, c) <= min(b, d)


# The text -----------------------------------------------------------------------------------------


def carried(row: pd.Series, constant: str) -> str:
    """Whether our stores have a setting as it is printed."""
    same = getattr(stores, constant) == float(row["value"])
    return "our stores have it" if same else "of a training"


def budget() -> list[Interpretation]:
    """Parameters of WRN-50-2 with one store of its largest layer."""
    twice = least("WRN-50-2", "ImageNet", layers=2, classifier=True)
    return [Interpretation(least("WRN-50-2", "ImageNet")), Interpretation(twice, TWICE, LARGEST)]


def _adapt(column: str) -> tuple[Fraction, Fraction]:
    """Of ADAPT-T2I with stores and without, at the same budget, in table 1."""
    with_stores, without = (f"1-f30k-{kind}adapt-t2i-34.7" for kind in ("ssn-", ""))
    return number("table-1", with_stores, column), number("table-1", without, column)


def adapt_gain() -> list[Fraction | Contradiction]:
    """What stores gain for ADAPT-T2I."""
    one, other = _adapt("score")
    gain = f"{float(one - other):.1f}"
    return [one - other, Contradiction(gain, f"table 1 prints recalls {gain} apart")]


def adapt_budget() -> list[Fraction | Contradiction]:
    """Per cent of ADAPT-T2I's parameters."""
    share, _ = _adapt("percent_of_parameters")
    return [share, Contradiction(f"{float(share):g}", f"table 1 prints {float(share):g} for it")]


def fewer_on_imagenet() -> list[Fraction | Interpretation]:
    """Per cent fewer parameters than SWRN's; also from whole millions, as the text prints them."""
    share = number("table-13", "13-ssn-wrn-50-2-22.6", "percent_of_parameters")
    kept = round(share * number("text", "intro-original") / 10**8)
    whole = number("text", "4-swrn-50-2") / 10**6
    convention = f"of whole millions, {kept}M of {float(whole):g}M"
    exact = 100 * (1 - share / number("text", "fig-4-swrn-50-2"))
    return [exact, Interpretation(100 * (1 - kept / whole), convention)]


def masks(against: str) -> list[Fraction | Interpretation | Contradiction]:
    """By how much masks lower CIFAR-100's error in table 6, and with one store in table 9."""
    two, one = (
        number(f"table-{n}", f"{n}-wrn-28-10-cifar-100", against)
        - number(f"table-{n}", f"{n}-wrn-28-10-cifar-100", "mask")
        for n in (6, 9)
    )
    apart = f"{float(two):.2f}"
    return [
        two,
        Interpretation(one, "with one store, as table 9 has it"),
        Contradiction(apart, f"table 6 prints errors that are {apart} apart"),
    ]


def alone(several: int) -> Interpretation:
    """Stores of a single layer, without so many stores of several."""
    stores_of = number("table-8", "8-wrn-28-10-cifar-100", "groups")
    return Interpretation(stores_of - several, "with 3 or 4 stores of several layers (appendix C)")


# Claims -------------------------------------------------------------------------------------------


def _count(table: str, first: Sequence[str], second: Sequence[str], linear: bool | None = None):
    """In how many rows the best of some columns beats the best of others, and of how many."""
    rows = [row for _, row in published.load(f"npas/{table}").iterrows()]
    rows = [row for row in rows if linear is None or (row.model in LINEAR) == linear]

    def best(row: pd.Series, columns: Sequence[str]) -> float:
        return max((1 if row.model in LINEAR else -1) * float(row[column]) for column in columns)

    return sum(best(row, first) > best(row, second) for row in rows), len(rows)


def mostly(table: str, first: Sequence[str], second: Sequence[str]) -> Statement:
    """Whether some columns are better than others in most rows."""
    wins, of = _count(table, first, second)
    return Statement(2 * wins > of, note=f"in {wins} of {of} rows of {table.replace('-', ' ')}")


def masks_of_linear() -> Statement:
    """In table 6, of which section 4.3 speaks; two stores' masks where these are better."""
    one, of = _count("table-9", ["mask"], ["interpolate"], linear=True)
    shown, _ = _count("table-6", ["mask"], ["interpolate"], linear=True)
    note = f"in {shown} of {of} rows of table 6; with one store each, in {one} of {of} (table 9)"
    convention = "" if 2 * one > of else "masks may have two stores, and interpolation one"
    return Statement(2 * shown > of, note=note, convention=convention)


def learned_mapping() -> Statement:
    """Less error than a single store in every row, and than manual ones in no more than half."""
    single, of = _count("table-5", ["learned"], ["single"])
    manual, _ = _count("table-5", ["learned"], ["manual"])
    table = published.load("npas/table-5")
    most = (table.learned.astype(float) - table.manual.astype(float)).max()
    note = (
        f"less error than a single store in {single} of {of} rows of table 5, than manual stores "
        f"in {manual}, and {most:.2f} more at most; its numbers are the better of table 8's two "
        "generators in each row"
    )
    return Statement(single == of, note=note, convention=f"{most:.2f} more error is as good")


def spread_of_templates() -> Statement:
    """Whether the spread falls from the fewest to the most templates, in most rows of table 11."""
    rows = published.load("npas/table-11").groupby(["model", "dataset"], sort=False)
    falls = [float(one["std"].iloc[-1]) < float(one["std"].iloc[0]) for _, one in rows]
    note = f"from 2 to 10 templates in {sum(falls)} of {len(falls)} rows of table 11"
    return Statement(2 * sum(falls) > len(falls), note=note)


CLAIMED_AT = 10  # per cent of the parameters


def better(first: Sequence[str], second: Sequence[str] = ()) -> tuple[Claim, str]:
    """That stores of one kind beat those of another, or a narrower network, at one budget.

    By our runs of the comparison.
    """
    one = stores_by_budget(CLAIMED_AT, *first)
    other = stores_by_budget(CLAIMED_AT, *second) if second else narrower(CLAIMED_AT)
    protocol = Protocol.load(baselines.PROTOCOL)
    scale = (
        f"WRN-16-2 at {CLAIMED_AT} % of its parameters, {protocol.image_size} px, "
        f"{protocol.epochs} epochs of {protocol.train_images:,} images of CIFAR-10, by accuracy on "
        "the test images in per cent"
    )
    named = [(model.name, _selection(model)) for model in (one, other)]
    needs = (
        "the runs of chapter 11's comparison, `reuseprior reproduce 11-shapeshifter --profile full`"
    )
    return Claim(*named, scale), needs


def _selection(one: baselines.Model) -> RunSelection:
    protocol = asdict(Protocol.load(baselines.PROTOCOL, width=one.width))
    config = {"model": one.model, "sharing": one.sharing, "data": baselines.DATA}
    return RunSelection(
        EXPERIMENT, {**config, "protocol": settings(protocol, {})},
        lambda trainings: 100 * trainings[0].summary["test_accuracy"],
    )  # fmt: skip
