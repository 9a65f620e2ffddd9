"""Every printed number of Neural Parameter Allocation Search: what it is and what became of it.

Sizes are counted on networks that are built, with stores that are made. Errors and recalls need
trainings, and stay open; what the text claims about them is tested on our own runs where it can be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from functools import cache, partial
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from torch import nn

from reuseprior import data, paths
from reuseprior.contexts import multiply_adds, record_model
from reuseprior.models import Recipe
from reuseprior.report import published
from reuseprior.report.ledger import (
    Cell,
    Contradiction,
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
from reuseprior.sharing import Stores, apply, cluster, share_blocks, stores
from reuseprior.sharing.weights import merge, shareable
from reuseprior.training import Protocol, contenders, train
from reuseprior.training.contenders import SHALLOW, WIDE, Contender, parameters_of, rival, shared

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
    return Recipe(name(model), classes=CLASSES[dataset]).build(lazy=True)


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
    own = [layer.weight.numel() for layer in shareable(network).values()]
    if not classifier:
        own.remove(next(reversed(shareable(network).values())).weight.numel())
    budget = size(network) - sum(own) + layers * max(own)
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
    costs = [multiply_adds(record_model(one, (1, 3, 32, 32))) for one in (network, plain)]
    return 100 * costs[0] / costs[1], 100 * size(network) / size(plain)


EXPERIMENT = "stores"
BUDGETS = (10, 2, 5, 25, 50)  # per cent of the plain network's parameters, the first matter most


def stores_by_budget(percent: float, *words: str) -> Contender:
    """The wide ResNet made of so many per cent of its parameters."""
    return shared(WIDE, f"stores:{percent:g}%", *words)


def narrower(percent: float, model: str = WIDE.model) -> Contender:
    """The rival that stores no more than so many per cent of the wide ResNet."""
    return rival(model, int(parameters_of(WIDE) * percent / 100))


def compared_with() -> Iterator[Contender]:
    """All of the comparison but learned mappings, those that matter most first.

    At each budget: stores by generator and upsampler, and plain networks, narrower and shallower,
    that store as much. The plain network itself computes as much as every one that shares.
    """
    yield WIDE
    for percent in BUDGETS:
        yield stores_by_budget(percent, "weighted", "mask")
        yield narrower(percent)
        yield narrower(percent, SHALLOW)
    scopes = shared(WIDE, "all_but_bn")
    yield scopes
    yield rival(WIDE.model, parameters_of(scopes))
    for percent in BUDGETS:
        yield stores_by_budget(percent, "embedding", "mask")
        yield stores_by_budget(percent, "round_robin", "mask")
    for percent in (2, 5, 10):  # with more values no layer is larger than its store
        yield stores_by_budget(percent, "weighted", "interpolate")
        yield stores_by_budget(percent, "weighted", "repeat")
    for percent in (10, 50):
        yield stores_by_budget(percent, "weighted", "mask", "random", "stores=4")


def learned(percent: float, number: int, *, seed: int = 0, root: Path | None = None) -> Contender:
    """The network with a mapping into so many stores that a short training found (section 3.4).

    One epoch with one store of four templates, of the same budget, that every layer resizes and
    weighs by a layer embedding; then k-means on the embeddings. The run is recorded beside others
    in `stores-mapping`, and the mapping in the name of what it is for.
    """
    first = stores_by_budget(percent, "embedding", "resized")
    folder = (paths.RESULTS if root is None else Path(root)) / f"{EXPERIMENT}-mapping"
    images = data.load(contenders.DATA)
    model = first.recipe(classes=images.classes, seed=seed).build()
    protocol = Protocol.load(contenders.PROTOCOL, epochs=1)
    about = {"model": first.model, "sharing": first.sharing}
    run = folder / f"{first.name}-seed{seed}"
    train(model, images, protocol, run, seed=seed, about=about, resume=True, progress=False)
    return stores_by_budget(percent, "weighted", "mask", f"map={cluster(model, number, seed=seed)}")


BUILT = ("WRN", "SSN-WRN", "SWRN", "DenseNet", "SSN-DenseNet", "ResNet-56", "SSN")
TEN = "with a classifier of ten classes"
HEAD = "table 12 is of CIFAR-100, which has a hundred"
WHOLE = "WRN-28-10, parameters"
AS_PRINTED = "of the size that WRN-28-10's own authors print, {}"
LARGEST = "section 4.3 gives them as many as the largest layer needs"
WITH_REST = "with batch norms and the classifier, which are not shared"
ROUND = "of 12M, as section 4.2 rounds it"
NEEDS = {
    "CIFAR": "{} trainings on CIFAR with cutout, whose schedule is not printed, on a GPU",
    "ImageNet": "{} trainings on ImageNet, whose schedule is not printed",
    "": "features, data and layer sizes of the vision-language networks, which are not printed",
}  # by how the name of the data begins
FULL = "of the network itself, by definition"
OF_ITSELF = "the same per cent of the same network, printed twice"
MANY = (
    "reduced baseline round_robin mean weighted embedding repeat interpolate mask mask_two_stores "
    "single random manual learned"
).split()  # columns of trained networks


def _rows(table: str) -> list[pd.Series]:
    return [row for _, row in published.load(f"npas/{table}").iterrows()]


def said(identity: str) -> str:
    """What the text prints of something, by its row's id without the source."""
    rows = published.load("npas/text").set_index("id")
    return rows.loc[f"npas-{identity}", "value"]


def printed(table: str, row: str, column: str) -> str:
    """A cell of a table as it is printed, by its row's id without the source."""
    return published.load(f"npas/{table}").set_index("id").loc[f"npas-{row}", column]


def number(text: str) -> float:
    """A printed number, in the unit in which it is printed as it stands: 4M is four million."""
    return float(Printed.parse(text).value)


# Trained numbers ----------------------------------------------------------------------------------


def trained(row: pd.Series, column: str, dataset: str) -> Entry:
    """The entry of a trained number, the mean of as many runs as section 4 says; all are open.

    No run here has the printed protocol: the schedules are not printed.
    """
    runs = said("4-runs-imagenet" if dataset == "ImageNet" else "4-runs")
    needs = next(text for data, text in NEEDS.items() if dataset.startswith(data))
    return measured(row, column, None, needs.format(runs))


def grid(table: str) -> Iterator[Entry]:
    """Tables 4 to 9: networks by rows, ways to make their weights by columns."""
    rows = _rows(table)
    sizes = {e.id: e for e in judged(cell for row in rows for cell in _sizes(row))}
    for row in rows:
        for column in row.index.drop(["id", "source", "model", "dataset", "where"]):
            if column in MANY:
                yield trained(row, column, row.dataset)
            elif (place := f"{row.id}/{column}") in sizes:
                yield sizes[place]
            elif column == "params_M":
                yield quoted(row, column, [], "of a network from elsewhere, as figure 5 draws it")
            else:
                yield setting(row, column, "of a training")


def _sizes(row: pd.Series) -> Iterator[Cell]:
    """What follows from a row's network: parameters, the share that is used, manual stores."""
    if not row.model.startswith(BUILT):
        return
    if "params_M" in row:
        exact = parameters(row.model, row.dataset) / 1e6
        readings = [Reading(exact)]
        if row.dataset == "CIFAR-100":
            ten = parameters(row.model, "CIFAR-10") / 1e6
            readings.append(Reading(ten, f"{TEN}, as in the row above"))
        yield Cell(row, "params_M", readings)
    if "groups" in row:
        convention = "what shares with nothing is a store of its own, the classifier too"
        stores_of = manual_stores(row.model, row.dataset)
        yield Cell(row, "groups", [Reading(stores_of, convention)])
    if "percent_of_parameters" in row:
        yield from _share(row)


def _share(row: pd.Series) -> Iterator[Cell]:
    """The per cent of parameters used: by table 4's rule, or of the text's half million."""
    whole = parameters(row.model, row.dataset)
    column = "percent_of_parameters"
    if row["where"].endswith(("table 4", "table 7")):
        twice = least(row.model, row.dataset, layers=2, classifier=True)
        # one number stands for both data sets
        larger = "CIFAR-100" if row.dataset == "CIFAR-10" else row.dataset
        yield Cell(row, column, [
            Reading(100 * largest(row.model, row.dataset) / whole),
            Reading(100 * least(row.model, larger) / parameters(row.model, larger),
                    WITH_REST),
            Reading(100 * twice / whole, "twice the largest layer, with batch norms", LARGEST),
        ], _of_wrn_28_10() if row.model == "WRN-28-10" else None)  # fmt: skip
    elif row.model == "WRN-28-10":
        yield Cell(row, column, [Reading(100 * number(said("4-upsampled")) / whole)])


def _of_wrn_28_10() -> Contradiction:
    again = published.load("npas/table-12").set_index("id").loc["npas-12-c-ssn-wrn-28-10"]
    used = said("4-used").removeprefix("<")
    most = 100 * number(used) / parameters("WRN-28-10")
    return Contradiction(
        again.percent_of_parameters,
        f"table 12 (c) prints {again.percent_of_parameters} for it, and just under {used} "
        f"(section 4.3) is less than {most:.2f} per cent",
    )


def table_1() -> Iterator[Entry]:
    """Table 1: vision-language networks of three sizes."""
    for row in _rows("table-1"):
        yield setting(row, "percent_of_parameters", "of a training")
        yield trained(row, "score", row.dataset)


def table_2() -> Iterator[Entry]:
    """Table 2: pruned networks, from elsewhere, and networks trained with stores."""
    rows = {row.id.removeprefix("npas-2-"): row for row in _rows("table-2")}
    costs = {e.id: e for e in judged(_costs(rows))}
    for row in rows.values():
        if row.group == "SSN":
            yield trained(row, "error", "CIFAR-10")
        else:
            yield quoted(row, "error", public(f"{row.method} on ResNet-56, CIFAR-10 error, %"))
        for column in ("percent_of_flops", "percent_of_parameters"):
            if f"{row.id}/{column}" in costs:
                yield costs[f"{row.id}/{column}"]
            elif row.method == "SSN-":
                yield setting(row, column, "of a training")
            elif row[column] != "not printed":
                yield quoted(row, column, [])


def _costs(rows: Mapping[str, pd.Series]) -> Iterator[Cell]:
    """Multiply-adds and parameters after merging; the plain network's own are all of them."""
    few = f"stores:{rows['ssn-minus'].percent_of_parameters}%"
    for key, sharing in [("resnet-56", "none"), ("ssn-minus", few), ("ssn-plus", "stores:400%")]:
        flops, parameters = merged("ResNet-56", "CIFAR-10", sharing)
        itself = sharing == "none"
        note = FULL if itself else "after merging"
        yield Cell(rows[key], "percent_of_flops", [Reading(flops)], note=note, derived=itself)
        if key != "ssn-minus":
            share = [Reading(parameters)]
            yield Cell(rows[key], "percent_of_parameters", share, note=note, derived=itself)


def table_3() -> Iterator[Entry]:
    """Table 3: teachers and students; what others reached is quoted."""
    yield from judged(
        Cell(row, "params", [Reading(parameters(row.model))]) for row in _rows("table-3-networks")
    )
    for row in _rows("table-3"):
        if row.method.startswith("SSN"):
            yield trained(row, "error", "CIFAR-100")
        else:
            yield quoted(row, "error", [])


def spreads(table: str, label: str) -> Iterator[Entry]:
    """Tables 10 and 11: errors and their spread, by the number of stores or of templates."""
    for row in _rows(table):
        yield setting(row, label, "of a training")
        dataset = "CIFAR-100" if label == "groups" else row.dataset
        for column in ("error" if label == "groups" else "score", "std"):
            yield trained(row, column, dataset)


# Table 12 -----------------------------------------------------------------------------------------


def table_12() -> Iterator[Entry]:
    """Table 12: wide ResNets of several depths, as they are and with stores of several sizes."""
    rows = _rows("table-12")
    counted = {e.id: e for e in judged(cell for row in rows for cell in _of_table_12(row))}
    for row in rows:
        for column in ("params_M", "used_M", "percent_of_parameters", "percent_of_wrn_28_10"):
            if f"{row.id}/{column}" in counted:
                yield counted[f"{row.id}/{column}"]
            elif column == "percent_of_parameters":
                yield setting(row, column, "sums of largest layers of stores that were learned")
            else:
                yield _one_budget(row)
        yield trained(row, "error", "CIFAR-100")
        yield trained(row, "std", "CIFAR-100")


def _of_table_12(row: pd.Series) -> Iterator[Cell]:
    """All sizes of a row; those of (c) follow from the per cent that it prints."""

    def of(size: Callable[[str], float]) -> list[Reading]:
        return [Reading(size("CIFAR-100")), Reading(size("CIFAR-10"), TEN, HEAD)]

    whole = partial(parameters, row.model)
    first = partial(parameters, "WRN-28-10")
    (authors,) = public(WHOLE)
    its_authors = AS_PRINTED.format(authors.printed)
    own = [Reading(Fraction(number(authors.printed)) / 10**6, its_authors)]
    own = own if row.model.endswith("WRN-28-10") else []
    yield Cell(row, "params_M", of(lambda d: whole(d) / 1e6) + own)
    if row.part == "c":
        share = number(row.percent_of_parameters) / 100
        yield Cell(row, "used_M", of(lambda d: share * whole(d) / 1e6))
        if row.model == "SSN-WRN-28-10":
            same = Reading(number(row.percent_of_parameters))
            yield Cell(row, "percent_of_wrn_28_10", [same], note=OF_ITSELF, derived=True)
        return
    used = whole if row.part == "a" else partial(least, row.model)
    contradiction = _of_wrn_28_10() if row.model == "SSN-WRN-28-10" else None
    rest = WITH_REST if row.part == "b" else ""

    def share_of(size: Callable[[str], int]) -> list[Reading]:
        exact, ten = (100 * used(d) / size(d) for d in ("CIFAR-100", "CIFAR-10"))
        text = [Reading(100 * largest(row.model) / size("CIFAR-100"))] if rest else []
        return [*text, Reading(exact, rest), Reading(ten, TEN, HEAD)]

    plain = row.part == "a"
    yield Cell(row, "used_M", of(lambda d: used(d) / 1e6) + (own if plain else []))
    note = FULL if plain else ""
    yield Cell(row, "percent_of_parameters", share_of(whole), contradiction, note, derived=plain)
    text, *others = share_of(first)
    of_printed = Reading(100 * used("CIFAR-100") / number(authors.printed), its_authors)
    itself = row.model == "WRN-28-10"
    yield Cell(row, "percent_of_wrn_28_10", [text, of_printed, *others], contradiction,
               derived=itself)  # fmt: skip


def _one_budget(row: pd.Series) -> Entry:
    """Whether one budget has both per cents of a row of (c)."""
    ends = []
    for column, model in (
        ("percent_of_parameters", row.model),
        ("percent_of_wrn_28_10", "WRN-28-10"),
    ):
        low, high = Printed.parse(row[column]).window().ends
        sizes = [parameters(model, d) for d in ("CIFAR-10", "CIFAR-100")]
        ends.append((low * min(sizes), high * max(sizes)))
    (a, b), (c, d) = ends
    meet = max(a, c) <= min(b, d)
    return stated(row, "percent_of_wrn_28_10", printed=meet,
                  note="one number of parameters has both per cents of the row")  # fmt: skip


# Tables 13 and 14 ---------------------------------------------------------------------------------


def sizes_and_errors(table: str) -> Iterator[Entry]:
    """Tables 13 and 14: errors against the per cent of parameters that are left."""
    rows = _rows(table)
    dataset = "ImageNet" if table == "table-13" else "CIFAR-100"
    column = "percent_of_parameters"
    counted = {e.id: e for e in judged(cell for row in rows for cell in _of_table_14(row))}
    for row in rows:
        place = f"{row.id}/{column}"
        yield counted[place] if place in counted else setting(row, column, "of a training")
        yield trained(row, "error", dataset)


def _of_table_14(row: pd.Series) -> Iterator[Cell]:
    """Per cents whose budget the text prints: SWRN's, half a million, and the 9M of a name."""
    column, printed = "percent_of_parameters", row.percent_of_parameters
    if row.model == "SWRN-28-10":
        whole, templates = parameters("WRN-28-10"), 1 if printed == "32.8" else 2
        exact = in_blocks("WRN-28-10", templates=templates)
        rounded = round(exact / 1e6) * 1e6
        convention = ROUND if templates == 1 else "of 17M, as 12M is rounded in section 4.2"
        yield Cell(row, column, [Reading(100 * exact / whole),
                                 Reading(100 * rounded / whole, convention)])  # fmt: skip
    elif row.model.endswith("-9M"):
        yield Cell(row, column, [Reading(100 * 9e6 / parameters("WRN-76-12"))])
    elif row.id.endswith("wrn-28-10-1.4") or row.id.endswith("wrn-28-10-smaller-1.4"):
        half = number(said("4-upsampled"))
        yield Cell(row, column, [Reading(100 * half / parameters("WRN-28-10"))])


# The text -----------------------------------------------------------------------------------------


def _cell(table: str, row: str, column: str) -> float:
    return number(printed(table, row, column))


def _less(table: str, row: str, first: str, second: str) -> float:
    return _cell(table, row, first) - _cell(table, row, second)


def _students() -> list[float]:
    """By how much stores lower the error of table 2's network and of table 3's students."""
    found = [_cell("table-2", "2-resnet-56", "error") - _cell("table-2", "2-ssn-plus", "error")]
    for model in ("wrn-28-2", "wrn-16-2"):
        plain, stored = (
            _cell("table-3", f"3-{model}-{m}", "error") for m in ("baseline", "ssn-plus")
        )
        found.append(plain - stored)
    return found


def _swrn(model: str, dataset: str) -> list[Reading]:
    exact, whole = in_blocks(model, dataset), parameters(model, dataset)
    rounded = round(exact / 1e6) * 1e6
    convention = "of a whole number of millions, as in section 4.2"
    return [Reading(100 * exact / whole), Reading(100 * rounded / whole, convention)]


def _masks(against: str) -> list[Reading | Contradiction]:
    """By how much masks lower CIFAR-100's error in table 6, and with one store in table 9."""
    two = _less("table-6", "6-wrn-28-10-cifar-100", against, "mask")
    one = _less("table-9", "9-wrn-28-10-cifar-100", against, "mask")
    return [
        Reading(two),
        Reading(one, "with one store, as table 9 has it"),
        Contradiction(f"{two:.2f}", f"table 6 prints errors that are {two:.2f} apart"),
    ]


def _adapt() -> list[Reading | Contradiction]:
    gain = _cell("table-1", "1-f30k-ssn-adapt-t2i-34.7", "score") - _cell(
        "table-1", "1-f30k-adapt-t2i-34.7", "score"
    )
    return [Reading(gain), Contradiction(f"{gain:.1f}", f"table 1 prints recalls {gain:.1f} apart")]


def _adapt_budget() -> list[Reading | Contradiction]:
    share = _cell("table-1", "1-f30k-ssn-adapt-t2i-34.7", "percent_of_parameters")
    return [Reading(share), Contradiction(f"{share:g}", f"table 1 prints {share:g} for it")]


def _fewer(smaller: float, larger: float) -> float:
    return 100 * (1 - smaller / larger)


def _fewer_in_millions() -> Reading:
    """ImageNet's, from whole millions, as the sentence before prints them."""
    share = _cell("table-13", "13-ssn-wrn-50-2-22.6", "percent_of_parameters") / 100
    kept = round(share * number(said("intro-original")) / 1e6)
    whole = number(said("4-swrn-50-2")) / 1e6
    return Reading(_fewer(kept, whole), f"of whole millions, {kept}M of {whole:g}M")


SINGLE = "with 3 or 4 stores of several layers (appendix C)"

CLAIMS: dict[str, Callable[[], Sequence[Reading | Contradiction]]] = {
    "intro-budget": lambda: [
        Reading(least("WRN-50-2", "ImageNet")),
        Reading(least("WRN-50-2", "ImageNet", layers=2, classifier=True),
                "twice the largest layer, with batch norms", LARGEST),
    ],
    "intro-original": lambda: [Reading(parameters("WRN-50-2", "ImageNet"))],
    "intro-imagenet": lambda: [
        Reading(_less("table-7", "7-wrn-50-2-imagenet", "reduced", "embedding"))
    ],
    "intro-adapt-gain": _adapt,
    "intro-adapt-budget": _adapt_budget,
    "intro-excess-least": lambda: [Reading(min(_students()))],
    "intro-excess-most": lambda: [Reading(max(_students()))],
    "abstract-fewest": lambda: [Reading(_cell("table-9", "9-wrn-28-10-cifar-100",
                                              "percent_of_parameters"))],
    "2-saved": lambda: [Reading(100 * (3 - 1) * 1e6 / 100e6)],
    "fig-4-swrn-28-10": lambda: _swrn("WRN-28-10", "CIFAR-100"),
    "fig-4-swrn-50-2": lambda: _swrn("WRN-50-2", "ImageNet"),
    "4-swrn-28-10": lambda: [Reading(in_blocks("WRN-28-10"))],
    "4-swrn-50-2": lambda: [Reading(in_blocks("WRN-50-2", "ImageNet"))],
    "4-fewer-cifar-100": lambda: [Reading(_fewer(
        _cell("table-14", "14-ssn-wrn-28-10-24.6", "percent_of_parameters"),
        _cell("table-14", "14-swrn-28-10-32.8", "percent_of_parameters")))],
    "4-fewer-imagenet": lambda: [Reading(_fewer(
        _cell("table-13", "13-ssn-wrn-50-2-22.6", "percent_of_parameters"),
        number(said("fig-4-swrn-50-2")))), _fewer_in_millions()],
    "4-gain-f30k": lambda: [Reading(max(
        _cell("table-1", f"1-f30k-ssn-{m}", "score") - _cell("table-1", f"1-f30k-{m}", "score")
        for m in ("embnet-6.9", "embnet-13.9", "adapt-t2i-34.7", "adapt-t2i-70.9")))],
    "4-pruning": lambda: [Reading(_cell("table-2", "2-hrank-smaller", "error")
                                  - _cell("table-2", "2-ssn-minus", "error"))],
    "4-used": lambda: [Reading(least("WRN-28-10"))],
    "4-largest": lambda: [Reading(largest("WRN-28-10"))],
    "4-mask-baseline": lambda: _masks("reduced"),
    "4-mask-interpolate": lambda: _masks("interpolate"),
    "e-76-12": lambda: [Reading(_cell("table-12", "12-a-wrn-28-10", "error")
                                - _cell("table-12", "12-c-ssn-wrn-76-12", "error"))],
    "e-76-12-full": lambda: [Reading(_cell("table-12", "12-c-ssn-wrn-76-12", "error")
                                     - _cell("table-12", "12-a-wrn-76-12", "error"))],
    "a-deconvolution-best": lambda: [
        Reading(_cell("table-14", "14-efficientnet-nd-smaller-75.1", "error"))
    ],
    "c-single-least": lambda: [
        Reading(_cell("table-8", "8-wrn-28-10-cifar-100", "groups") - 4, SINGLE)
    ],
    "c-single-most": lambda: [
        Reading(_cell("table-8", "8-wrn-28-10-cifar-100", "groups") - 3, SINGLE)
    ],
}  # fmt: skip
"""What follows from tables and definitions, by the row of the text."""

BUILT_FOR = {
    "intro-budget", "intro-original", "fig-4-swrn-28-10", "fig-4-swrn-50-2", "4-swrn-28-10",
    "4-swrn-50-2", "4-used", "4-largest",
}  # fmt: skip
"""Those for which a network is built and counted; the others follow from printed numbers."""

CARRIED = {
    "3-embedding": stores.EMBEDDING,
    "3-window": stores.WINDOW,
    "3-parts": stores.PARTS,
}
"""Settings that stores have as they are printed."""

LINEAR = (
    "EmbNet",
    "ADAPT-T2I",
    "SimNet",
)  # their scores are recalls and accuracies: more is better


def _signed(row: pd.Series, first: str, second: str) -> float:
    """By how much a column of a grid is better than another, in the row's own unit."""
    better = number(row[first]) - number(row[second])
    return better if row.model in LINEAR else -better


def _count(table: str, first: Sequence[str], second: Sequence[str], linear: bool | None = None):
    """In how many rows the best of some columns beats the best of others, and of how many."""
    rows = [r for r in _rows(table) if linear is None or (r.model in LINEAR) == linear]
    wins = sum(max(min(_signed(r, a, b) for b in second) for a in first) > 0 for r in rows)
    return wins, len(rows)


def _statements() -> dict[str, Callable[[pd.Series], Entry]]:
    """Claims in words, tested on the printed numbers or on our runs."""

    def most(table: str, first: Sequence[str], second: Sequence[str]):
        def test(row: pd.Series) -> Entry:
            wins, of = _count(table, first, second)
            where = table.replace("-", " ")
            return stated(row, "value", printed=2 * wins > of,
                          note=f"in {wins} of {of} rows of {where}")  # fmt: skip

        return test

    return {
        "4-smaller": partial(_ours, ("weighted", "mask"), "narrower"),
        "4-embedding": most("table-7", ["embedding"], ["weighted"]),
        "b-learned": most("table-7", ["weighted", "embedding"], ["round_robin", "mean"]),
        "4-mask-conv": partial(_ours, ("weighted", "mask"), ("weighted", "interpolate")),
        "4-mask-linear": _masks_of_linear,
        "4-learned": _learned_mapping,
        "d-spread": _spread_of_templates,
    }


def _masks_of_linear(row: pd.Series) -> Entry:
    """In table 6, of which section 4.3 speaks; two stores' masks where these are better."""
    one, of = _count("table-9", ["mask"], ["interpolate"], linear=True)
    shown, _ = _count("table-6", ["mask"], ["interpolate"], linear=True)
    note = f"in {shown} of {of} rows of table 6; with one store each, in {one} of {of} (table 9)"
    convention = "" if 2 * one > of else "masks may have two stores, and interpolation one"
    return stated(row, "value", printed=2 * shown > of, note=note, convention=convention)


def _learned_mapping(row: pd.Series) -> Entry:
    """Less error than a single store in every row, and than manual ones in no more than half."""
    of = len(_rows("table-5"))
    single, manual = (_count("table-5", ["learned"], [other])[0] for other in ("single", "manual"))
    most = max(_less("table-5", r.id.removeprefix("npas-"), "learned", "manual")
               for r in _rows("table-5"))  # fmt: skip
    note = (
        f"less error than a single store in {single} of {of} rows of table 5, than manual stores "
        f"in {manual}, and {most:.2f} more at most; its numbers are the better of table 8's two "
        "generators in each row"
    )
    convention = f"{most:.2f} more error is as good"
    return stated(row, "value", printed=single == of, note=note, convention=convention)


def _spread_of_templates(row: pd.Series) -> Entry:
    """Whether the spread falls from the fewest to the most templates, in most rows of table 11."""
    rows = published.load("npas/table-11").groupby(["model", "dataset"], sort=False)
    falls = [number(one["std"].iloc[-1]) < number(one["std"].iloc[0]) for _, one in rows]
    note = f"from 2 to 10 templates in {sum(falls)} of {len(falls)} rows of table 11"
    return stated(row, "value", printed=2 * sum(falls) > len(falls), note=note)


CLAIMED_AT = 10  # per cent of the parameters


def _ours(first: Sequence[str], second: Sequence[str] | str, row: pd.Series) -> Entry:
    """A claim about two kinds of networks at one budget, by our runs of the comparison."""
    one = stores_by_budget(CLAIMED_AT, *first)
    if second == "narrower":
        other = narrower(CLAIMED_AT)
    else:
        other = stores_by_budget(CLAIMED_AT, *second)
    protocol = Protocol.load(contenders.PROTOCOL)
    scale = (
        f"WRN-16-2 at {CLAIMED_AT} % of its parameters, {protocol.image_size} px, "
        f"{protocol.epochs} epochs of {protocol.train_images:,} images of CIFAR-10, by accuracy on "
        "the test images in per cent"
    )
    named = [(contender.name, _evidence(contender)) for contender in (one, other)]
    needs = (
        "the runs of chapter 11's comparison, `reuseprior reproduce 11-shapeshifter --profile full`"
    )
    return claimed(row, "value", Claim(named[0], named[1], scale), needs)


def _evidence(one: contenders.Contender) -> Evidence:
    protocol = asdict(Protocol.load(contenders.PROTOCOL, width=one.width))
    config = {"model": one.model, "sharing": one.sharing, "data": contenders.DATA}
    return Evidence(
        EXPERIMENT, {**config, "protocol": settings(protocol, {})},
        lambda found: 100 * found[0].summary["test_accuracy"],
    )  # fmt: skip


def text() -> Iterator[Entry]:
    """What text and captions say; prose has no column whose digits might be cut."""
    rows = {row.id.removeprefix("npas-"): row for row in _rows("text")}
    cells = (_claim(rows[key], claim()) for key, claim in CLAIMS.items())
    computed = {e.id: e for e in judged(cells)}
    statements = _statements()
    for key, row in rows.items():
        if row.id in computed:
            yield computed[row.id]
        elif key in statements:
            yield statements[key](row)
        elif key.startswith("4-mapping"):
            yield measured(row, "value", None, "trainings with and without the first, timed alone")
        elif key.startswith("data-") and key != "data-iou":
            yield quoted(row, "value", public(row.claim))
        elif key == "a-deconvolution":
            yield quoted(row, "value", [])
        elif key.startswith("4-adapt"):
            yield quoted(row, "value", [], "of a network from elsewhere")
        else:
            same = key in CARRIED and CARRIED[key] == number(row["value"])
            note = "our stores have it" if same else "of a training" if key in CARRIED else ""
            yield setting(row, "value", note)


def _claim(row: pd.Series, found: Sequence[Reading | Contradiction]) -> Cell:
    readings = [one for one in found if isinstance(one, Reading)]
    contradiction = next((one for one in found if isinstance(one, Contradiction)), None)
    fewest = row.id == "npas-4-fewer-imagenet"
    note = "against the least SWRN of figure 4; the text names none" if fewest else ""
    derived = row.id.removeprefix("npas-") not in BUILT_FOR
    return Cell(row, "value", readings, contradiction, note=note, derived=derived)


TEXT = ("abstract", "section", "figure", "appendix")


def _text_of(place: str) -> Iterator[Entry]:
    return (e for e in text() if e.where.startswith(f"npas, {place}"))


PARTS: Mapping[str, Callable[[], Iterator[Entry]]] = {
    "npas, table 1": table_1,
    "npas, table 2": table_2,
    "npas, table 3": table_3,
    **{f"npas, table {n}": partial(grid, f"table-{n}") for n in range(4, 10)},
    "npas, table 10": partial(spreads, "table-10", "groups"),
    "npas, table 11": partial(spreads, "table-11", "templates"),
    "npas, table 12": table_12,
    "npas, table 13": partial(sizes_and_errors, "table-13"),
    "npas, table 14": partial(sizes_and_errors, "table-14"),
    **{f"npas, {place}": partial(_text_of, place) for place in TEXT},
}


MARKERS = "os^v<>PD*XpHd8"  # one a way, as there are more ways than colours


def draw_table_14(ax: Axes) -> None:
    """CIFAR-100 error of table 14 against the per cent of parameters.

    Lines join one network's sizes; a network that shares and its smaller versions have one colour.
    """
    rows = published.load("npas/table-14")
    colors: dict[str, str] = {}
    for model, one in rows.groupby("model", sort=False):
        shares = one.shared.iloc[0] == "yes"
        family = model.removeprefix("SSN-").removesuffix(", smaller")
        color = colors.setdefault(family, f"C{len(colors)}")
        ax.plot(
            one.percent_of_parameters.astype(float), one.error.astype(float),
            "o-" if shares else "s--", color=color, mfc=None if shares else "white", label=model,
            lw=1,
        )  # fmt: skip
    ticks = [1, 2, 5, 10, 20, 50, 100]
    ax.set(xscale="log", xlabel="parameters, per cent of the network's", ylabel="error, %")
    ax.set_xticks(ticks, map(str, ticks))
    ax.set_xticks([], minor=True)
    ax.legend(fontsize=7, ncols=2)


def draw_compared(ax: Axes, models: pd.DataFrame, column: str = "accuracy") -> None:
    """A column of `contenders.compared` against stored parameters, a line a way of sharing.

    Bars are standard deviations over seeds.
    """
    for at, (way, rows) in enumerate(models.groupby("way", sort=False)):
        shares = way not in ("plain", "narrower", "shallower")
        style = f"{MARKERS[at]}-" if shares else f"{MARKERS[at]}--"
        spread = rows.sd if column == "accuracy" else None
        ax.errorbar(
            rows.parameters, rows[column], spread, fmt=style, color=f"C{at % 10}", label=way, lw=1,
            capsize=2,
        )  # fmt: skip
    ax.set(xscale="log", xlabel="stored parameters", xlim=(1e4, 1e6))
