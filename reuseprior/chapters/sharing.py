"""Every printed number of chapter 4's shared and trained models, with the value computed for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial

import pandas as pd
from torch import nn

from reuseprior import sharing
from reuseprior.chapters.counting import (
    IMAGENET,
    NEEDS,
    base_name,
    multiply_adds,
    quantities,
    readings,
    said,
    score,
)
from reuseprior.chapters.sharing_runs import HOURS, LARGER, RESNETS, command, recipe_of, settled
from reuseprior.chapters.sharing_runs import equal_cost as equal_cost
from reuseprior.chapters.sharing_runs import foretold as foretold
from reuseprior.chapters.sharing_runs import gain_at_equal as gain_at_equal
from reuseprior.models import catalog
from reuseprior.models.blocks import (
    DenseFractalBlock,
    FractalBlock,
    ResidualBlock,
    SummingDenseBlock,
)
from reuseprior.models.catalog import CIFAR_SIZE
from reuseprior.report import published
from reuseprior.report.ledger import (
    Cell,
    Entry,
    Reading,
    contradicted,
    judged,
    public,
    quoted,
    setting,
    side_by_side,
    stated,
)
from reuseprior.report.runs import Claim, Evidence, claimed, measured, options, settings
from reuseprior.sharing.scopes import Policy, all_but_bn, tie
from reuseprior.training import Protocol


def equal_depth(module: nn.Module) -> str | None:
    """Convolutions of one shape at one depth of a block (see `reuseprior.models.blocks`)."""
    scope = all_but_bn(module)
    return f"{scope} depth {module.depth}" if scope else None


@dataclass(frozen=True)
class Compression:
    """A kind of block, what is shared in it, and the compression that follows."""

    block: str
    shared: str
    order: str  # of the compression, in words of the thesis where it states one
    build: Callable[..., nn.Module]  # (channels, size, *, batch_norm)
    policy: Policy
    expected: Callable[[int], float]  # compression of the convolutions, by size


def _dense_fractal(n: int) -> float:
    # a layer at depth k sees k times the block's channels, and there are 2^(n-k) such layers
    return sum(2 ** (n - k) * k for k in range(1, n + 1)) / sum(range(1, n + 1))


_FRACTAL = Compression("FractalNet", "all", "O(2^n)", FractalBlock, all_but_bn, lambda n: 2**n - 1)
_RESIDUAL = Compression("ResNet", "all", "O(d)", ResidualBlock, all_but_bn, lambda d: d)
_SUMMING = Compression(
    "DenseNet with sums", "a source's", "is ResNet", SummingDenseBlock, equal_depth,
    lambda d: (d + 1) / 2,
)  # fmt: skip
_DENSE_FRACTAL = Compression(
    "FractalNet, other rule", "equal depth", "is DenseNet", DenseFractalBlock, equal_depth,
    _dense_fractal,
)  # fmt: skip
CLAIMS = (_FRACTAL, _RESIDUAL, _SUMMING, _DENSE_FRACTAL)


def compression_ratio(model: nn.Module, policy: Policy) -> float:
    """Parameters before over parameters after tying the model, in place.

    >>> compression_ratio(FractalBlock(4, 3), all_but_bn)
    7.0
    """
    before = sum(p.numel() for p in model.parameters())
    tie(model, policy)
    return before / sum(p.numel() for p in model.parameters())


def compression_claims(sizes: Iterable[int] = range(1, 9), *, channels: int = 4):
    """The claims of §C.1.1 against blocks built and tied: a data frame, a row a block and size.

    Columns: block, shared, claim, size (n or d), expected and measured (compression of the
    convolutions), with batch norm (the same where each layer keeps its own scale and shift, which
    holds it below 1 + 9/2 · channels in FractalNet and ResNet).
    """
    import pandas as pd

    rows = []
    for claim in CLAIMS:
        for size in sizes:
            plain, normed = (
                compression_ratio(claim.build(channels, size, batch_norm=batch_norm), claim.policy)
                for batch_norm in (False, True)
            )
            expected = float(claim.expected(size))
            rows.append((claim.block, claim.shared, claim.order, size, expected, plain, normed))
    columns = ["block", "shared", "claim", "size", "expected", "measured", "with batch norm"]
    return pd.DataFrame(rows, columns=columns)


def deepest_path(n: int) -> int:
    """Layers on the longest path through a FractalNet block of fractal depth n, as it is built."""
    return max(getattr(module, "depth", 0) for module in FractalBlock(1, n).modules())


DATA = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100", "ImageNet-1K": "imagenet"}
CLASSES = {"CIFAR-10": 10, "CIFAR-100": 100, "ImageNet-1K": 1000}
AUGMENTATIONS = {"None": "none", "AutoAug": "autoaugment", "RandAug": "randaugment"}


def data_sets(table: str) -> Iterator[Entry]:
    """Table 4.1: sizes and classes of public data sets."""
    columns = {"train": "training images", "validation": "test images", "classes": "classes"}
    for _, row in published.load(table).iterrows():
        for column, quantity in columns.items():
            held_out = "" if row.dataset == "ImageNet-1K" else "the test images"
            note = held_out if column == "validation" else ""
            yield quoted(row, column, public(f"{row.dataset}, {_named(row, quantity)}"), note)


def _named(row: pd.Series, quantity: str) -> str:
    """ImageNet's test images have no public labels: its validation images serve."""
    return quantity.replace("test", "validation") if row.dataset == "ImageNet-1K" else quantity


def trained_models(table: str) -> Iterator[Entry]:
    """Table 4.2: parameters and FLOPs are counted, scores need runs of the full models."""
    rows = [row for _, row in published.load(table).iterrows()]
    yield from judged(cell for row in rows for cell in _counted(row))
    for row in rows:
        yield measured(row, "score", _training(row), NEEDS)
        for column, name in (("batch", "batch_size"), ("epochs", "epochs")):
            in_text = _settings()[row.dataset, name]
            note = f"of a training; §4.5.4 says {'the same' if in_text == row[column] else in_text}"
            agrees = in_text == row[column]
            yield (
                setting(row, column, note) if agrees else contradicted(row, column, "setting", note)
            )


def table_4_2() -> Iterator[Entry]:
    """The thesis's table, and the order that it puts V2-B0 and V2-B0-shared in."""
    yield from trained_models("thesis/table-4-2")
    yield from claims("thesis, table 4.2")


def _counted(row: pd.Series) -> Iterator[Cell]:
    found = readings(row.model, catalog.image_size(base_name(row.model)), CLASSES[row.dataset])
    yield Cell(row, "params", [one.of(lambda q: q.parameters) for one in found], note=_above(row))
    convention = "a multiply-add is one operation"
    said = [f"{s.source}, prints {s.printed}" for s in public(f"{base_name(row.model)}, FLOPs")]
    yield Cell(row, "flops", [  # first what V2-B0's cells of the column are
        Reading(_multiply_adds(row), convention), Reading(2 * _multiply_adds(row))
    ], note="; ".join(said))  # fmt: skip


def _above(row: pd.Series) -> str:
    """What CIFAR-100's V2-B0 may have been copied from: the same model's row for CIFAR-10."""
    if (row.model, row.dataset) != ("V2-B0-original", "CIFAR-100"):
        return ""
    size = catalog.image_size("V2-B0")
    smaller = readings(row.model, size, CLASSES["CIFAR-10"])[0].quantities.parameters
    return f"CIFAR-10's {smaller:,} rounds to it"


def _multiply_adds(row: pd.Series) -> int:
    """Multiply-adds of a forward pass at the size of the test images."""
    size = catalog.image_size(base_name(row.model))
    return multiply_adds(row.model, size, CLASSES[row.dataset])


def _training(row: pd.Series) -> Evidence:
    """The trainings of a row's model with the row's settings."""
    printed = {
        "epochs": int(row.epochs),
        "batch_size": int(row.batch),
        "augmentation": AUGMENTATIONS[row.augmentation],
    }
    shared = row.model.endswith("-shared")
    return score(base_name(row.model), shared, DATA[row.dataset], printed)


# Settings ----------------------------------------------------------------------------------------


def _settings() -> dict[tuple[str, str], str]:
    rows = published.load("thesis/section-4-5-4")
    return {(row.dataset, row.setting): row["value"] for _, row in rows.iterrows()}


CARRIED = {
    "epochs": lambda p: p.epochs,
    "batch_size": lambda p: p.batch_size,
    "warmup_epochs": lambda p: p.warmup_epochs,
    "mixup_alpha": lambda p: p.mixup_alpha,
    "cutmix_alpha": lambda p: p.cutmix_alpha,
    "learning_rate": lambda p: p.learning_rate,
    "bn_momentum": lambda p: round(1 - p.bn_momentum, 6),  # TensorFlow's is one less torch's
}
"""The settings of section 4.5.4 that the protocol `thesis` carries."""


def printed_settings(table: str) -> Iterator[Entry]:
    """Section 4.5.4: which printed settings the protocol `thesis` carries as they are."""
    protocol = Protocol.load("thesis")
    for _, row in published.load(table).iterrows():
        carried = CARRIED.get(row.setting)
        if carried is not None and float(carried(protocol)) == float(row["value"]):
            note = "of a training; the protocol `thesis` carries it"
        else:
            note = "of a training; to be given where one is run, as the protocol `thesis` has other"
        yield setting(row, "value", note)


def section_4_5_4() -> Iterator[Entry]:
    """The thesis's settings, and what it says of trainings under others."""
    yield from printed_settings("thesis/section-4-5-4")
    yield from claims("thesis, section 4.5.4")


# Claims ------------------------------------------------------------------------------------------


def claims(where: str) -> Iterator[Entry]:
    """What a section claims of the models of table 4.2, in numbers and in words."""
    for row in said(where):
        if row.claim == "more parameters, per cent":
            note = "ImageNet-1K is least"
            yield from judged([Cell(row, "value", [Reading(fewest_more_parameters())], note=note)])
        else:
            yield _trained_claim(row)


def fewest_more_parameters() -> float:
    """By how many per cent V2-B0 exceeds V2-S-shared, at least over the three data sets."""
    ratios = []
    for classes in CLASSES.values():
        larger = quantities("V2-B0", 224, "learnable", classes=classes).parameters
        smaller = quantities(
            "V2-S-shared", 384, "learnable", sharing.all_but_bn, classes=classes
        ).parameters
        ratios.append(100 * (larger / smaller - 1))
    return min(ratios)


def _trained_claim(row: pd.Series) -> Entry:
    """The entry of a claim that one model scores above another, by our own trainings."""
    ours, first, second, dataset, unaugmented = WORDS.fullmatch(row.claim).groups()
    if dataset == "ImageNet-1K":
        protocol, changes = "thesis", IMAGENET
    else:
        protocol = RESNETS if first.startswith("ResNet") else HOURS
        changes = {"augmentation": "none"} if unaugmented else {}
    each = {label: changes | _larger(label, protocol) for label in (first, second)}
    plans = {
        label: Protocol.load(protocol, model=recipe_of(label)[0]).changed(its)
        for label, its in each.items()
    }
    evidences = [(label, _trained(label, DATA[dataset], plan)) for label, plan in plans.items()]
    scale = "; ".join([_scale(plans), *filter(None, [LATER.get(row["id"])])])
    claim = Claim(*evidences, scale, possible=ours is not None)
    needs = " and ".join(
        f"`{command(label, DATA[dataset], protocol)}{options(its)}`" for label, its in each.items()
    )
    return claimed(row, "value", claim, f"{needs}, --seed 0, 1 and more")


def _larger(label: str, protocol: str) -> dict[str, int]:
    """V2-S's own image size where a protocol of ours has one for all: the thesis's are larger."""
    own = protocol == HOURS and label.startswith("V2-S")
    return {"image_size": LARGER} if own else {}


LATER = {"thesis-4-text-original-resnet-20": "this example was chosen after its runs were seen"}
# "our example" stands for what the text says of other models, or of none that it names
WORDS = re.compile(r"(our example: )?(\S+) scores above (\S+) on (\S+)( without augmentation)?")


def _trained(label: str, data: str, plan: Protocol) -> Evidence:
    """The settled runs of a model of the tables at a plan of ours, and the accuracy of each."""
    model, policy = recipe_of(label)
    config = {"model": model, "sharing": policy, "data": data}
    config["protocol"] = settings(asdict(plan), {})
    return Evidence(
        f"train-{plan.name}*", config, lambda found: 100 * found[0].summary["test_accuracy"],
        counts=settled, otherwise="not settled",
    )  # fmt: skip


def _scale(plans: dict[str, Protocol]) -> str:
    """At what size two models were trained, how long, and which of their runs count."""
    sizes = {label: _size(plan) for label, plan in plans.items()}
    each = [f"{label} at {size}" for label, size in sizes.items()]
    at = f"at {min(sizes.values())}" if len(set(sizes.values())) == 1 else " and ".join(each)
    plan = next(iter(plans.values()))
    course = "images held out" if plan.validation else "test images"
    scale = (
        f"{at}, {plan.epochs} epochs, by accuracy in per cent on the test images, of models whose "
        "last tenth of epochs gained no more than the standard error of one accuracy on the "
        f"{course}"
    )
    if any(recipe_of(label)[1] == "with_bn" for label in plans):
        scale += ", and final ones of trainings that ended: a lower bound on what instability costs"
    return scale


def _size(plan: Protocol) -> str:
    trained = plan.image_size or CIFAR_SIZE
    tested = plan.test_image_size or trained
    return f"{trained} px" + (f" (tested at {tested} px)" if tested != trained else "")


def compression() -> Iterator[Entry]:
    """The claims of section C.1.1, on blocks that are built and tied."""
    found = compression_claims()
    rows = published.load("thesis/section-c-1-1").set_index("block", drop=False)
    for block, sizes in found.groupby("block", sort=False):
        holds = bool((sizes.expected == sizes.measured).all())
        note, convention = _COMPRESSION[block]
        yield stated(
            rows.loc[block], "value", printed=holds, convention=convention,
            note=f"tested, not proved, on blocks of sizes {sizes['size'].min()} to "
            f"{sizes['size'].max()}: {note}",
        )  # fmt: skip
    layers = {n: deepest_path(n) for n in found["size"].unique()}
    yield stated(
        rows.loc["deepest path"], "value",
        printed=all(2 * n == most for n, most in layers.items()),
        mended=all(2 ** (n - 1) == most for n, most in layers.items()),
        note="the deepest path has 2^(n-1) layers, so n is half of it at n = 4 alone",
    )  # fmt: skip


# What sympy cannot say and blocks can: what is tested of each claim, and what the text leaves open.
_COMPRESSION = {
    "FractalNet": (
        "2^n - 1 for fractal depth n, on convolutions; separate batch norms hold it below "
        "1 + 9/2 of the channels",
        "",
    ),
    "ResNet": ("d exactly, on convolutions; batch norms hold it lower", ""),
    "DenseNet with sums": (
        "where each source's layer is reused by all its readers, the compression is ResNet's",
        "",
    ),
    "FractalNet, other rule": (
        "the compression is DenseNet's",
        "the rule is g(n+1) = concat(g(n), f(g(n)))",
    ),
}  # note, convention

PLACES = ("abstract", "section 1.3", "section 7")  # where the paper says how many more

PARTS = {
    "thesis, table 4.1": partial(data_sets, "thesis/table-4-1"),
    "paper, table 1": partial(data_sets, "paper/table-1"),
    "thesis, table 4.2": table_4_2,
    "paper, table 2": partial(trained_models, "paper/table-2"),
    "thesis, section 4.5.4": section_4_5_4,
    "paper, section 5.4": partial(printed_settings, "paper/section-5-4"),
    **{f"paper, {place}": partial(claims, f"paper, {place}") for place in PLACES},
    "our example": partial(claims, "our example"),
    "thesis, section 4.5.3": partial(claims, "thesis, section 4.5.3"),
    "thesis, section 4.1.4": partial(claims, "thesis, section 4.1.4"),
    "thesis, section 4.5.6": partial(claims, "thesis, section 4.5.6"),
    "thesis, section C.1.1": compression,
}


def trained_beside_computed(entries: Iterable[Entry]) -> pd.DataFrame:
    """Table 4.2 of the thesis, "printed | computed" and the verdict's mark in every cell."""
    formats = {
        "params": "{:,}".format,
        "flops": lambda x: f"{x / 1e9:.2f}B",
        "score": "{:.1f}".format,
        "batch": "{}".format,
        "epochs": "{}".format,
    }
    table = side_by_side([e for e in entries if e.source == "thesis"], formats)
    rows = published.load("thesis/table-4-2").set_index("id").loc[table.index]
    table.index = pd.MultiIndex.from_frame(rows[["dataset", "model"]])
    return table
