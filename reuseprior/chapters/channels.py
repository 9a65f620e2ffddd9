"""Every printed number of Bidart's chapter 3, and what became of it.

The author's notebooks print parameters and accuracies that the thesis does not. No source here has
them, and our widths and blocks were chosen so that the parameters come out: `beside` shows them,
and the ledger leaves them out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache
from itertools import product

import pandas as pd
import torch
from scipy import integrate
from scipy.stats import laplace, norm
from sympy import bell
from torch import Tensor, nn

from reuseprior import sharing
from reuseprior.chapters import channels_runs
from reuseprior.chapters.channels_runs import channels
from reuseprior.models import build
from reuseprior.report import published
from reuseprior.report.cells import Cells
from reuseprior.report.ledger import Interpretation, Statement
from reuseprior.report.published import Printed
from reuseprior.report.runs import Claim, RunSelection, settings
from reuseprior.results import Run
from reuseprior.sharing.bases import (
    distance_to_values,
    log_gaussian_mixture,
    log_laplace_mixture,
)
from reuseprior.training import Protocol, baselines
from reuseprior.training.baselines import SMALL, WIDE, Model

PARTS = Cells(__name__, "bidart/chapter-3")

MOST = 60  # weights whose ways of sharing are counted


def _depthwise(channels: int, factor: int) -> tuple[nn.Conv2d, nn.Conv2d]:
    """A depthwise convolution, and one of equal weights whose filters repeat."""
    torch.manual_seed(0)
    plain = nn.Conv2d(channels, channels, 3, groups=channels, bias=False).double()
    shared = nn.Conv2d(channels, channels, 3, groups=channels, bias=False).double()
    with torch.no_grad():
        plain.weight.copy_(plain.weight[: channels // factor].repeat(factor, 1, 1, 1))
        shared.weight.copy_(plain.weight)
    sharing.Channels(factor, layers=("0",)).share(nn.Sequential(shared))
    return plain, shared


def averaged() -> Statement:
    """Copies that take steps of their mean gradient stay equal; a stored filter takes their sum."""
    plain, shared = _depthwise(8, 4)
    x = torch.randn(2, 8, 6, 6, dtype=torch.float64)
    for layer in (plain, shared):
        layer(x).square().sum().backward()
    copies = plain.weight.grad.unflatten(0, (4, 2))
    gradient = shared.parametrizations.weight[0].bank.grad
    added = float((gradient / copies.mean(0)).mean())
    plain.weight.grad.copy_(copies.mean(0).repeat(4, 1, 1, 1))
    torch.optim.Adam(plain.parameters()).step()
    stepped = plain.weight.detach().unflatten(0, (4, 2))
    return Statement(
        torch.equal(stepped, stepped[:1].expand_as(stepped)),
        note="tested with one step of Adam, which section 3.2 names (3.6.1 prints a momentum); "
        f"filters that repeat ×4 in PyTorch take the sum of the gradients, {added:.3g} times the "
        "mean, which gradient descent sees and Adam does not",
    )


def one_copy() -> Statement:
    """With s = 1 nothing changes."""
    plain, shared = _depthwise(8, 1)
    x = torch.randn(2, 8, 6, 6, dtype=torch.float64)
    return Statement(torch.equal(plain(x), shared(x)))


def configurations() -> Statement:
    """Weights can be parted into sets that share in Bell(N) ways."""
    holds = [bell(n) > 2**n for n in range(1, MOST + 1)]
    return Statement(
        all(holds[4:]), note=f"partitions of N weights, counted up to N = {MOST}",
        convention=f"N is {holds.index(True) + 1} or more",
    )  # fmt: skip


def gaussian_mixture() -> Statement:
    """Equation 3.1 integrates to one."""
    return Statement(
        _is_density(log_gaussian_mixture),
        convention="w is one weight; of the set that the text names, the densities multiply",
    )  # fmt: skip


def laplace_mixture() -> Statement:
    """Equation 3.4 integrates to one."""
    return Statement(_is_density(log_laplace_mixture))


def laplace_density() -> Statement:
    """Equation 3.3 is scipy's Laplace density, and integrates to one."""
    one = torch.ones(1, dtype=torch.float64)
    w = torch.linspace(-3, 3, 101, dtype=torch.float64)
    printed = log_laplace_mixture(w, one, 0.5 * one, 0.7 * one).exp()
    same = torch.allclose(printed, torch.as_tensor(laplace(0.5, 0.7).pdf(w.numpy())))
    return Statement(same and _is_density(log_laplace_mixture, 1))


def _is_density(mixture, components: int = 4) -> bool:
    torch.manual_seed(0)
    proportions = torch.randn(components, dtype=torch.float64).softmax(0)
    means, spreads = torch.randn(2, components, dtype=torch.float64)
    spreads = spreads.exp()

    def density(w: float) -> float:
        return float(mixture(torch.tensor(w).double(), proportions, means, spreads).exp())

    total, _ = integrate.quad(density, -100, 100, points=sorted(means.tolist()), limit=500)
    return abs(total - 1) < 1e-6


def gaussian_is_l2() -> Statement:
    """−log N(w | 0, σ²) is w² / 2σ² and a constant."""
    w = torch.linspace(-3, 3, 101, dtype=torch.float64)
    left = -torch.as_tensor(norm(0, 0.7).logpdf(w.numpy())) - w**2 / (2 * 0.7**2)
    return Statement(
        _constant(left),
        convention="the norm is squared, as in ridge regression",
    )  # fmt: skip


def laplace_is_l1() -> Statement:
    """−log of the Laplace density is |w| / b and a constant."""
    w = torch.linspace(-3, 3, 101, dtype=torch.float64)
    return Statement(_constant(-torch.as_tensor(laplace(0, 0.7).logpdf(w.numpy())) - w.abs() / 0.7))


def _constant(values: Tensor) -> bool:
    return bool(values.max() - values.min() < 1e-9)


def norm_of_a_number() -> Statement:
    """The p-norm of one number is its absolute value; p-th powers, and a norm of all, differ."""
    torch.manual_seed(0)
    weights, basis = torch.randn(20), torch.randn(4)
    gaps = (weights[:, None] - basis).abs().amin(1, keepdim=True)

    def differ(loss: Callable[[int], Tensor]) -> bool:
        return not torch.isclose(loss(1), loss(2))

    each = differ(lambda p: torch.linalg.vector_norm(gaps, p, dim=1).sum())
    powers = differ(lambda p: distance_to_values(weights, basis, p))
    over_all = differ(lambda p: torch.linalg.vector_norm(gaps, p))
    return Statement(
        powers and over_all and not each,
        note="as printed it is of each number alone, which is its absolute value for every p",
        convention="of p-th powers that are added, which is how we read it, or of one norm over "
        "all weights",
    )  # fmt: skip


def first_layer_alone() -> Statement:
    """The notebook's Xception of printed size shares in five blocks, and not in all but one."""
    rows = published.load("bidart/chapter-3-notebook-xception").set_index("factor")
    counts = {
        text: {int(f): _size(f"channels:{f}{text}") for f in rows.index if f != "1"}
        for text in ("", ",layers=shared.*")
    }
    printed = {int(f): int(n) for f, n in rows.depthwise_parameters.items() if f != "1"}
    return Statement(
        counts[""] == printed, counts[",layers=shared.*"] == printed,
        "of the Xception of the author's notebook, whose printed sizes are those of sharing in "
        "blocks 4, 5, 8, 11 and 12 alone; the thesis prints no sizes",
    )  # fmt: skip


def _size(text: str) -> int:
    return sum(p.numel() for p in sharing.apply(build("xception-cifar"), text).parameters())


@cache
def _formulas() -> Mapping[str, bool]:
    """Table 3.3 by its rows, on layers that are built: d and s, h and w of several sizes."""
    holds = {"regular": True, "depthwise separable": True, "weight shared": True}
    for d, s, h, w in product((4, 8, 16), (1, 2, 4), (1, 3), (2, 5)):
        regular = nn.Conv2d(d, d, (h, w), bias=False)
        depthwise = nn.Conv2d(d, d, (h, w), groups=d, bias=False)
        holds["regular"] &= _learnable(regular) == d**2 * h * w
        holds["depthwise separable"] &= _learnable(depthwise) == d * h * w
        sharing.Channels(s, layers=("0",)).share(model := nn.Sequential(depthwise))
        holds["weight shared"] &= _learnable(model) == d // s * h * w
    return holds


def formula(row: pd.Series) -> bool:
    """Whether a row of table 3.3 holds."""
    return _formulas()[row.convolution]


def _learnable(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


# Printed sizes and trainings ----------------------------------------------------------------------


B0 = "torchvision:efficientnet_b0"
OURS = "reuseprior train {} --sharing {} --data {} --protocol stores --set width={:g}"
FOLDER = " --output data/results/channels/{}-seed0"  # where all of the comparison lies
SCALE = "at width {:g}, 20,000 images of 16 px, 5 epochs, by accuracy on {}'s test images"


# Table 3.6 ---------------------------------------------------------------------------------------


def left(row: pd.Series) -> list[float | str]:
    """Per cent of EfficientNet-B0's depthwise filters, which table 3.3 calls separable."""
    shared = f"channels:{row.factor}"
    saved = 1 - learnable(B0, shared) / learnable(B0, "none")
    note = f"filters of depthwise convolutions; of all parameters {saved:.2%} are saved"
    return [kernels_left(B0, int(row.factor)), "" if row.factor == "1" else note]


def on_imagenet(row: pd.Series, column: str) -> tuple[RunSelection, str]:
    """An accuracy of EfficientNet-B0 by trainings on ImageNet-1K as section 3.6.3 has them."""
    batch = channels_runs.printed("ImageNet: batch size")
    protocol = {
        "epochs": int(channels_runs.printed("ImageNet: epochs")),
        "batch_size": int(batch),
        "learning_rate": channels_runs.printed("ImageNet: learning rate") * 256 / batch,
        "optimizer": "rmsprop",
    }
    shared = "none" if row.factor == "1" else f"channels:{row.factor}"
    config = {"model": B0, "sharing": shared, "data": "imagenet", "protocol": protocol}
    key = {"top1": "test_accuracy", "top5": "test_top5_accuracy"}[column]
    if column == "top5":
        config["task"] = "top-5 classification"  # which is no task yet
    needs = (
        f"trainings of EfficientNet-B0 on ImageNet-1K: `reuseprior train {B0} --sharing {shared} "
        f"--data imagenet --protocol bidart` with `--set` for section 3.6.3's settings, weeks on a "
        "GPU; its augmentation and schedule are not printed"
    )
    return RunSelection("train-bidart*", config, lambda runs: 100 * runs[0].summary[key]), needs


# The text ----------------------------------------------------------------------------------------


def carried(row: pd.Series) -> str:
    """Whether the protocol `bidart` carries a setting of section 3.6.1."""
    p = Protocol.load("bidart")
    has = {
        "CIFAR: epochs": p.epochs,
        "CIFAR: batch size": p.batch_size,
        "CIFAR: the rate falls by a factor of": round(1 / p.step_factor, 6),
        "CIFAR: epochs between falls": p.step_epochs,
        "CIFAR: initial learning rate": p.learning_rate * p.batch_size / 256,
        "CIFAR: weight decay": p.weight_decay,
        "CIFAR: momentum": p.momentum,
    }[row.claim]
    same = "carries it" if float(row["value"]) == has else "has another value"
    return f"of a training; the protocol `bidart` {same}"


def kernels_left(model: str, factor: int) -> float:
    """Per cent of a model's depthwise parameters that are left when filters repeat."""
    return 100 * filters(model, f"channels:{factor}") / filters(model, "none")


def kernels_alone(
    model: str, factor: int, saved: bool = False
) -> list[float | Interpretation | str]:
    """Per cent of the convolutions that is left, or saved.

    Of all convolutions, as the words are; of the depthwise filters alone, as table 3.3 has them.
    The note says what that is of the whole network.
    """
    shared = f"channels:{factor}"
    parts = [100 * count(model, shared) / count(model, "none") for count in (weights, filters)]
    of_all, alone = (100 - part if saved else part for part in parts)
    specs = (shared, f"{shared},layers=shared.*") if model == "xception-cifar" else (shared,)
    notes = []
    for text in specs:
        depthwise, convolutions, network = (
            1 - count(model, text) / count(model, "none") for count in (filters, weights, learnable)
        )
        notes.append(
            f"{text} saves {depthwise:.2%} of depthwise kernels, {convolutions:.2%} of all "
            f"convolutions, {network:.2%} of {model}"
        )
    convention = "of depthwise filters alone, without the pointwise between them"
    return [of_all, Interpretation(alone, convention), "; the author's notebook, ".join(notes)]


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


def _trained(one: Model, data: str) -> RunSelection:
    """Test accuracy of a network of the comparison, in per cent."""
    protocol = settings(asdict(Protocol.load(baselines.PROTOCOL, width=one.width)), {})
    config = {"model": one.model, "sharing": one.sharing, "data": data, "protocol": protocol}
    folder = channels_runs.EXPERIMENT if data == baselines.DATA else "train-stores*"
    return RunSelection(folder, config, lambda runs: 100 * runs[0].summary["test_accuracy"])


def _against(first: Model, second: Model, data: str):
    claim = Claim(
        (first.name, _trained(first, data)), (second.name, _trained(second, data)),
        SCALE.format(first.width, data),
    )  # fmt: skip
    place = FOLDER if data == baselines.DATA else ""
    needs = " and ".join(
        f"`{OURS.format(one.model, one.sharing, data, one.width)}{place.format(one.name)}`"
        for one in (first, second)
    )
    return claim, f"{needs}, two seeds or more of each"


def increase(factor: int, data: str):
    """The very small Xception whose filters repeat beside the plain one."""
    return _against(channels(SMALL, factor), SMALL, data)


def removal(factor: int):
    """The wide ResNet whose filters repeat beside one with fewer channels."""
    return _against(channels(WIDE, factor, "full"), Model(WIDE.model, width=1 / factor), "cifar10")


def _clustered(penalty: str, value: Callable[[Run], float]) -> RunSelection:
    data, protocol = channels_runs.setup("quick")
    config = {
        "penalty": penalty, "of": "kernels", "data": data,
        "tau": 0.0 if penalty == "none" else channels_runs.TAU,
        "size": int(channels_runs.printed("figure 3.8: basis weights")),
        "protocol": settings(asdict(protocol), {}),
    }  # fmt: skip
    return RunSelection(channels_runs.CLUSTERING, config, lambda runs: value(runs[0]))


def _accuracy(run: Run) -> float:
    return 100 * run.summary["test_accuracy"]


def _drop(run: Run) -> float:
    return _accuracy(run) - 100 * run.summary["quantised_test_accuracy"]


def _quantising(value: Callable[[Run], float], what: str):
    data, protocol = channels_runs.setup("quick")
    claim = Claim(
        ("without the penalty", _clustered("none", value)),
        ("with it", _clustered("kernels", value)),
        f"{channels_runs.MODEL} at width {protocol.width:g}, {data}, {protocol.epochs} epochs, τ = "
        f"{channels_runs.TAU:g}, by {what}",
    )
    return claim, "trainings of `reuseprior.chapters.channels_runs`, two seeds or more of each"


def harm():
    """The penalty on kernels costs accuracy."""
    return _quantising(_accuracy, "accuracy before quantising, per cent")


def less_drop():
    """The penalty on kernels makes quantising cost less."""
    return _quantising(_drop, "what quantising costs, per cent")


def no_loss():
    """EfficientNet-B0 on ImageNet, as table 3.6 has it."""
    shared, plain = (
        published.row("bidart/chapter-3-table-6", name) for name in ("half", "pytorch")
    )
    (one, needs), (other, _) = (on_imagenet(row, "top1") for row in (shared, plain))
    first, second = ((f"channels:{r.factor}", e) for r, e in ((shared, one), (plain, other)))
    claim = Claim(first, second, "on ImageNet-1K, by top-1 accuracy", alike=True)
    return claim, needs


# The author's notebooks --------------------------------------------------------------------------


@cache
def size(network: str, column: str, factor: int) -> int:
    """Parameters of a notebook's network, narrowed or with filters that repeat."""
    return sum(p.numel() for p in baselines.notebook(network, column, factor).parameters())


def beside(name: str) -> pd.DataFrame:
    """A notebook's table: printed and counted parameters, and the printed accuracies."""
    rows = {}
    for _, row in published.load(f"bidart/chapter-3-notebook-{name}").iterrows():
        cells = rows[f"×{row.factor}"] = {}
        for column in baselines.NOTEBOOKS[name][1]:
            printed = int(Printed.parse(row[f"{column}_parameters"]).value)
            counted = size(name, column, int(row.factor))
            cells[f"{column}"] = f"{printed:,} | {counted:,}"
            cells[f"{column}, %"] = row[f"{column}_accuracy"]
    return pd.DataFrame.from_dict(rows, orient="index")
