"""Weights drawn to a basis, then quantised: what it costs in accuracy (sections 3.5 and 3.6.5)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from reuseprior import data as data_sets
from reuseprior import results
from reuseprior.models import ModelConfig
from reuseprior.report import published
from reuseprior.results import SUMMARY, Run
from reuseprior.sharing import Clustered, quantise
from reuseprior.sharing.bases import distances
from reuseprior.training import Classification, Penalised, Protocol, finished, train
from reuseprior.training.baselines import Model, shared
from reuseprior.training.protocol import ProtocolError
from reuseprior.training.trainer import Loop

CLUSTERING = "clustering"
MODEL = "vs-xception"
TAU = 0.1  # the text names none


def printed(claim: str) -> float:
    """A setting of the experiment as section 3.6.5 prints it."""
    rows = published.load("bidart/chapter-3-text").set_index("claim")["value"]
    return float(rows[claim])


def setup(profile: str) -> tuple[str, Protocol]:
    """The data and the protocol: digits as they are, or CIFAR-10 for as long as is printed."""
    if profile == "quick":
        return "digits", Protocol.load("quick", image_size=8, test_image_size=8)
    epochs = int(printed("figure 3.8: epochs"))
    return "cifar10", Protocol.load("bidart", epochs=epochs)


@dataclass(frozen=True)
class Clustering:
    """A network trained with a penalty, `none` for the plain loss, and then quantised."""

    penalty: str
    seed: int
    weights: Mapping[str, Tensor]  # of each clustered layer, as trained
    members: Mapping[str, Tensor]  # of its basis
    accuracy: float  # on the test images, in per cent
    quantised: float

    def gaps(self, layer: str) -> Tensor:
        """Of each weight, or kernel, of a layer its distance from the nearest member."""
        weight, members = (
            self.weights[layer],
            self.members[layer].reshape(len(self.members[layer]), -1),
        )
        points = weight.flatten(0, 1).flatten(1) if len(members.T) > 1 else weight.reshape(-1, 1)
        return distances(points, members).amin(1)


def clustering(
    penalty: str, data: str, protocol: Protocol, *, seed: int = 0, tau: float = TAU,
    kernels: bool = False, root: Path | None = None, progress: bool = True,
) -> Clustering:  # fmt: skip
    """Train a small network with a penalty on its weights, test it, quantise it, test it again.

    The basis of a layer has as many members as figure 3.8 has, and its norm. After training bases
    are fitted to the weights once more by k-means, with a penalty as without one, so that a plain
    training is quantised as well as it can be; `kernels` says what of (with `none`). With a `root`,
    such as `paths.RESULTS`, the run is recorded there and its checkpoint read again, otherwise it
    leaves nothing. A recorded run without its checkpoint is left as it is, and trained anew.
    """
    images = data_sets.load(data)
    size, p = int(printed("figure 3.8: basis weights")), printed("figure 3.8: l_p loss")
    kind = ("kernels" if kernels else "values") if penalty == "none" else penalty
    config = ModelConfig.of(MODEL, vars(protocol), classes=images.classes, seed=seed)
    with torch.random.fork_rng():
        model = config.build()
        torch.manual_seed(seed)
        layers = "shared.*.depthwise" if kind == "kernels" else "shared.*"
        clustered = Clustered(
            model, kind, size, tau=0.0 if penalty == "none" else tau, p=p, layers=layers
        )
    about = config.about() | {"penalty": penalty, "of": kind, "tau": clustered.tau, "size": size}
    with TemporaryDirectory() as nowhere:
        name = f"{config.name}-{penalty}-{kind}-{data}-seed{seed}"
        folder = (root or Path(nowhere)) / CLUSTERING / name
        if finished(folder) and not any(folder.glob("*.safetensors")):
            folder = Path(nowhere) / name
        task = Penalised(images.classes)
        run = train(clustered, images, protocol, folder, seed=seed, task=task,
                    about=about, resume=True, progress=progress)  # fmt: skip
        return _quantised(penalty, seed, clustered, images, protocol, run)


def _quantised(penalty, seed, clustered, images, protocol, run: Run) -> Clustering:
    clustered.fit()
    weights = {
        name: clustered.model.get_submodule(name).weight.detach().clone()
        for name in clustered.names
    }
    members = {
        name: basis.members.detach().clone()
        for name, basis in zip(clustered.names, clustered.bases, strict=True)
    }
    after = 100 * _accuracy(quantise(copy.deepcopy(clustered)), images, protocol)
    summary = results.read_json(run.folder / SUMMARY)
    results.write_json(run.folder / SUMMARY, summary | {"quantised_test_accuracy": after / 100})
    return Clustering(penalty, seed, weights, members, 100 * summary["test_accuracy"], after)


def _accuracy(model: nn.Module, images, protocol: Protocol) -> float:
    loop = Loop(protocol.precision, ProtocolError)
    task = Classification(images.classes)
    batches = task.batches(images.test, protocol, device=loop.device, seed=0, share=loop.share)
    return loop.means(loop.totals(task, model, batches), len(batches))[1]


def table(trainings: list[Clustering]) -> pd.DataFrame:
    """One row a training: accuracy before and after quantising, in per cent."""
    return pd.DataFrame(
        [[one.penalty, one.seed, one.accuracy, one.quantised] for one in trainings],
        columns=["penalty", "seed", "accuracy", "quantised"],
    )


MARKERS = "osv^D<>PX*hpd"


def kernels(ax: Axes, weight: Tensor, title: str, columns: int = 16) -> None:
    """Draw the depthwise kernels (d, 1, 3, 3) of a layer in rows, channel after channel."""
    rows = len(weight) // columns
    tiles = weight.detach().reshape(rows, columns, *weight.shape[2:])
    tiles = tiles.transpose(1, 2)  # rows, height, columns, width
    limit = float(weight.detach().abs().max())
    height, width = weight.shape[2:]
    ax.imshow(tiles.reshape(rows * height, columns * width).numpy(), cmap="RdBu", vmin=-limit,
              vmax=limit)  # fmt: skip
    for edge in range(1, columns):
        ax.axvline(edge * width - 0.5, color="white", linewidth=0.8)
    for edge in range(1, rows):
        ax.axhline(edge * height - 0.5, color="white", linewidth=0.8)
    ax.set_title(title, loc="left")
    ax.set_axis_off()


def at_equal_parameters() -> pd.DataFrame:
    """The notebook's ResNet-18 whose filters repeat, beside channels removed to as many parameters.

    One row a factor, for filters that repeat and with those of skips too: accuracy, in per cent,
    what a line between the narrowed networks gives at as many parameters (in their logarithm), and
    the difference.
    """
    table = published.load("bidart/chapter-3-notebook-resnet18").set_index("factor").astype(
        {column: float for column in ("removed_parameters", "removed_accuracy")}
    )  # fmt: skip
    removed = table.sort_values("removed_parameters")
    rows = []
    for column, label in (("shared", "filters repeat"), ("repeated", "skips repeat too")):
        for factor, row in table.iloc[1:].iterrows():
            size, accuracy = (float(row[f"{column}_{of}"]) for of in ("parameters", "accuracy"))
            other = np.interp(
                np.log(size), np.log(removed.removed_parameters), removed.removed_accuracy
            )
            rows.append([label, f"×{factor}", int(size), accuracy, other, accuracy - other])
    columns = ["kind", "factor", "parameters", "accuracy", "channels removed", "difference"]
    return pd.DataFrame(rows, columns=columns).set_index(["kind", "factor"])


def all_kinds(axes: Sequence[Axes], table: pd.DataFrame) -> None:
    """Draw accuracy against stored parameters, and against P_G, a marker a kind of sharing.

    `table` is one of `baselines.compared` for one model and its baselines; bars are standard
    deviations over seeds.
    """
    for i, (name, rows) in enumerate(table.groupby("kind")):
        style = {"marker": MARKERS[i % len(MARKERS)], "color": f"C{i % 10}", "capsize": 2,
                 "linestyle": "-" if len(rows) > 1 else "none", "linewidth": 0.8}  # fmt: skip
        for ax, column in zip(axes, ("parameters", "P_G"), strict=True):
            ordered = rows.sort_values(column)
            ax.errorbar(ordered[column], ordered.accuracy, yerr=ordered.sd.fillna(0), label=name,
                        **style)  # fmt: skip
    decades = np.log10([table.parameters.min(), table.parameters.max()])
    axes[0].set(xscale="log", xlabel="stored parameters", ylabel="accuracy on CIFAR-10, %",
                xlim=(10 ** np.floor(decades[0]), 10 ** np.ceil(decades[1])))  # fmt: skip
    axes[1].set(xlabel="$P_G$, bits")
    axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="x-small")


EXPERIMENT = "channels"
FACTORS = (4, 2, 8)  # those that matter most first


def channels(plain: Model, factor: int, *kinds: str) -> Model:
    """The network with filters of these kinds of layers repeated."""
    return shared(plain, f"channels:{factor}", *kinds)
