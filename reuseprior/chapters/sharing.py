"""Every printed number of chapter 4's shared and trained models, with the value computed for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cache

import pandas as pd
from torch import nn

from reuseprior import sharing
from reuseprior.chapters.counting import (
    IMAGENET,
    NEEDS,
    base_name,
    interpretations,
    multiply_adds,
    quantities,
    score,
)
from reuseprior.chapters.sharing_runs import HOURS, LARGER, RESNETS, command, converged, split_label
from reuseprior.chapters.sharing_runs import equal_cost as equal_cost
from reuseprior.chapters.sharing_runs import foretold as foretold
from reuseprior.chapters.sharing_runs import gain_at_equal as gain_at_equal
from reuseprior.models import catalog
from reuseprior.models.catalog import CIFAR_SIZE
from reuseprior.models.plain import (
    DenseFractalBlock,
    FractalBlock,
    ResidualBlock,
    SummingDenseBlock,
)
from reuseprior.report import ledger, published
from reuseprior.report.cells import Cells
from reuseprior.report.ledger import Contradiction, Interpretation, Statement, public
from reuseprior.report.runs import Claim, RunSelection, options, settings
from reuseprior.sharing.scopes import Policy, all_but_bn, tie
from reuseprior.training import Protocol

PARTS = Cells(__name__, "thesis/chapter-4-sharing")


# Section C.1.1: what a block's sharing compresses -------------------------------------------------


def equal_depth(module: nn.Module) -> str | None:
    """Convolutions of one shape at one depth of a block (see `reuseprior.models.plain`)."""
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


# Table 4.2 ----------------------------------------------------------------------------------------

DATA = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100", "ImageNet-1K": "imagenet"}
CLASSES = {"CIFAR-10": 10, "CIFAR-100": 100, "ImageNet-1K": 1000}
AUGMENTATIONS = {"None": "none", "AutoAug": "autoaugment", "RandAug": "randaugment"}


def parameters(row: pd.Series) -> list[Interpretation | str]:
    """Parameters of a row of table 4.2 by the interpretations of its model.

    The note says what CIFAR-100's V2-B0 may have been copied from: its row for CIFAR-10.
    """
    size = catalog.image_size(base_name(row.model))
    every = interpretations(row.model, size, CLASSES[row.dataset])
    counted = [one.of(lambda q: q.parameters) for one in every]
    if (row.model, row.dataset) != ("V2-B0-original", "CIFAR-100"):
        return counted
    smaller = interpretations(row.model, size, CLASSES["CIFAR-10"])[0].quantities.parameters
    return [*counted, f"CIFAR-10's {smaller:,} rounds to it"]


def flops(row: pd.Series) -> list[Interpretation | int | str]:
    """Operations of a forward pass at the size of the test images."""
    base = base_name(row.model)
    counted = multiply_adds(row.model, catalog.image_size(base), CLASSES[row.dataset])
    said = [f"{s.source}, prints {s.printed}" for s in public(f"{base}, FLOPs")]
    # first what V2-B0's cells of the column are
    return [Interpretation(counted, "a multiply-add is one operation"), 2 * counted, *said]


def score_of(row: pd.Series) -> tuple[RunSelection, str]:
    """The trainings of a row's model with the row's settings."""
    printed = {
        "epochs": int(row.epochs),
        "batch_size": int(row.batch),
        "augmentation": AUGMENTATIONS[row.augmentation],
    }
    shared = row.model.endswith("-shared")
    return score(base_name(row.model), shared, DATA[row.dataset], printed), NEEDS


# Settings ----------------------------------------------------------------------------------------


def as_in_text(row: pd.Series, column: str, setting: str) -> str | Contradiction:
    """What section 4.5.4 says of a setting of table 4.2."""
    rows = published.load("thesis/section-4-5-4").set_index(["dataset", "setting"])["value"]
    said = rows[row.dataset, setting]
    if said == row[column]:
        return "of a training; §4.5.4 says the same"
    return Contradiction(said, f"of a training; §4.5.4 says {said}")


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


def carried(row: pd.Series) -> str:
    """Whether the protocol `thesis` carries a setting of section 4.5.4 as it is."""
    carries = CARRIED.get(row.setting)
    if carries and float(carries(Protocol.load("thesis"))) == float(row["value"]):
        return "of a training; the protocol `thesis` carries it"
    return "of a training; to be given where one is run, as the protocol `thesis` has other"


# Claims ------------------------------------------------------------------------------------------


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


def scores_above(row: pd.Series) -> tuple[Claim, str]:
    """A claim that one model scores above another, by our own trainings."""
    ours, first, second, dataset, unaugmented = WORDS.fullmatch(row.claim).groups()
    if dataset == "ImageNet-1K":
        protocol, changes = "thesis", IMAGENET
    else:
        protocol = RESNETS if first.startswith("ResNet") else HOURS
        changes = {"augmentation": "none"} if unaugmented else {}
    each = {label: changes | _larger(label, protocol) for label in (first, second)}
    plans = {
        label: Protocol.load(protocol, model=split_label(label)[0]).changed(its)
        for label, its in each.items()
    }
    selections = [(label, _trained(label, DATA[dataset], plan)) for label, plan in plans.items()]
    scale = "; ".join([_scale(plans), *filter(None, [LATER.get(row["id"])])])
    claim = Claim(*selections, scale, possible=ours is not None)
    needs = " and ".join(
        f"`{command(label, DATA[dataset], protocol)}{options(its)}`" for label, its in each.items()
    )
    return claim, f"{needs}, --seed 0, 1 and more"


def _larger(label: str, protocol: str) -> dict[str, int]:
    """V2-S's own image size where a protocol of ours has one for all: the thesis's are larger."""
    at_one_size = protocol == HOURS and label.startswith("V2-S")
    return {"image_size": LARGER} if at_one_size else {}


LATER = {"thesis-4-text-original-resnet-20": "this example was chosen after its runs were seen"}
# "our example" stands for what the text says of other models, or of none that it names
WORDS = re.compile(r"(our example: )?(\S+) scores above (\S+) on (\S+)( without augmentation)?")


def _trained(label: str, data: str, plan: Protocol) -> RunSelection:
    """The converged runs of a model of the tables at a plan of ours, and the accuracy of each."""
    model, policy = split_label(label)
    config = {"model": model, "sharing": policy, "data": data}
    config["protocol"] = settings(asdict(plan), {})
    return RunSelection(
        f"train-{plan.name}*", config, lambda runs: 100 * runs[0].summary["test_accuracy"],
        counts=converged, otherwise="not converged",
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
    if any(split_label(label)[1] == "with_bn" for label in plans):
        scale += ", and final ones of trainings that ended: a lower bound on what instability costs"
    return scale


def _size(plan: Protocol) -> str:
    trained = plan.image_size or CIFAR_SIZE
    tested = plan.test_image_size or trained
    return f"{trained} px" + (f" (tested at {tested} px)" if tested != trained else "")


# Section C.1.1, on blocks that are built and tied ------------------------------------------------


@cache
def _compression() -> pd.DataFrame:
    return compression_claims()


def compressed(row: pd.Series, what: str, convention: str = "") -> Statement:
    """Whether a block is compressed as claimed; what is tested is what blocks can say."""
    sizes = _compression().query("block == @row.block")
    least, most = sizes["size"].min(), sizes["size"].max()
    note = f"tested, not proved, on blocks of sizes {least} to {most}: {what}"
    return Statement(bool((sizes.expected == sizes.measured).all()), False, note, convention)


def half_of_deepest_path() -> Statement:
    """Whether the fractal depth n is half of the deepest path."""
    layers = {n: deepest_path(n) for n in _compression()["size"].unique()}
    return Statement(
        all(2 * n == most for n, most in layers.items()),
        all(2 ** (n - 1) == most for n, most in layers.items()),
    )


def trained_beside_computed(entries: Iterable[ledger.Entry]) -> pd.DataFrame:
    """Table 4.2 of the thesis, "printed | computed" and the verdict's mark in every cell."""
    formats = {
        "params": "{:,}".format,
        "flops": lambda x: f"{x / 1e9:.2f}B",
        "score": "{:.1f}".format,
        "batch": "{}".format,
        "epochs": "{}".format,
    }
    table = ledger.side_by_side([e for e in entries if e.source == "thesis"], formats)
    rows = published.load("thesis/table-4-2").set_index("id").loc[table.index]
    table.index = pd.MultiIndex.from_frame(rows[["dataset", "model"]])
    return table
