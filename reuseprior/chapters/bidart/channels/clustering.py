"""Weights drawn to a basis, then quantised: what it costs in accuracy (sections 3.5 and 3.6.5)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch
from torch import Tensor, nn

from reuseprior import data as data_sets
from reuseprior import results
from reuseprior.models import Recipe
from reuseprior.report import published
from reuseprior.results import SUMMARY, Run
from reuseprior.sharing import Clustered, quantise
from reuseprior.sharing.bases import distances
from reuseprior.training import Classification, Penalised, Protocol, finished, train
from reuseprior.training.protocol import ProtocolError
from reuseprior.training.trainer import Loop

EXPERIMENT = "clustering"
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
    recipe = Recipe.of(MODEL, vars(protocol), classes=images.classes, seed=seed)
    with torch.random.fork_rng():
        model = recipe.build()
        torch.manual_seed(seed)
        layers = "shared.*.depthwise" if kind == "kernels" else "shared.*"
        clustered = Clustered(
            model, kind, size, tau=0.0 if penalty == "none" else tau, p=p, layers=layers
        )
    about = recipe.about() | {"penalty": penalty, "of": kind, "tau": clustered.tau, "size": size}
    with TemporaryDirectory() as nowhere:
        name = f"{recipe.name}-{penalty}-{kind}-{data}-seed{seed}"
        folder = (root or Path(nowhere)) / EXPERIMENT / name
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


def table(found: list[Clustering]) -> pd.DataFrame:
    """One row a training: accuracy before and after quantising, in per cent."""
    return pd.DataFrame(
        [[one.penalty, one.seed, one.accuracy, one.quantised] for one in found],
        columns=["penalty", "seed", "accuracy", "quantised"],
    )
