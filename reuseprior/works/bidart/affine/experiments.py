"""Autoencoders with and without a search for poses, trained, turned and compared.

```python
run(Experiment("mnist-rotation", "avae", "cpu"), seed=0)  # goes on where it was interrupted
```

A scale's trainings lie in `data/results/affine-vae-SCALE`, and what they make of their test inputs
at one rotation after the other in `data/results/affine-vae-angles-SCALE`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import pi
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from reuseprior import data, paths, results
from reuseprior.data import DataSet
from reuseprior.measures.statistics import mean_interval
from reuseprior.models.affine_vae import (
    VAE,
    AffineVAE,
    Halving,
    Objective,
    Poses,
    Restarts,
    divergence,
    misfit,
    room,
)  # fmt: skip
from reuseprior.results import Recording, Run
from reuseprior.training import Protocol, train
from reuseprior.training.batches import parts
from reuseprior.training.reconstruction import Reconstruction

KINDS = ("affine-vae", "affine-vae-angles")  # trainings, and what they make of turned inputs
ANGLES = tuple(range(0, 360, 20))  # degrees; in space about the first axis
LEARNING = 3  # passes in which an example is learnt from: one forward, two back


@dataclass(frozen=True)
class Case:
    """A row of table 4.1 or 4.2: the data, how they are turned, and the size of a shape."""

    data: str
    poses: Poses
    latent: int
    canvas: int
    likelihood: str = "gaussian"


@dataclass(frozen=True)
class Arm:
    """A model that a case compares."""

    says: str
    search: bool = False
    pose_numbers: bool = False  # as many latent numbers more as a pose has
    turned: bool = True  # whether it learns from turned inputs
    width: float = 1.0
    matched: bool = False  # trained longer, for as many passes as the AVAE takes with its search
    comparison: str = ""  # with another arm: "table" for tables 4.1 and 4.2, "turned" for 4.2.2


@dataclass(frozen=True)
class Scale:
    """How much of a case is run; `changes` are those of the protocol, by the data's dimensions."""

    search: Restarts | Halving
    changes: Mapping[int, Mapping[str, object]] = field(default_factory=dict)
    width: float = 1.0
    pooled: Mapping[int, int] = field(default_factory=dict)  # cells a side that become one
    tested: int = 1000  # test inputs that are turned to every angle


CASES = {
    f"{name}-{turned}": case(translation)
    for turned, translation in (("rotation", False), ("rotation-translation", True))
    for name, case in {
        # ours, for who has no other data: too few pixels for a Gaussian of variance 1
        "digits": lambda t: Case("digits", Poses(2, t), 6, room(8, Poses(2)), "bernoulli"),
        "mnist": lambda t: Case("mnist", Poses(2, t), 6, 40),
        "sofa": lambda t: Case("modelnet10-sofa", Poses(3, t), 16, 48, "bernoulli"),
        "chair": lambda t: Case("modelnet10-chair", Poses(3, t), 16, 48, "bernoulli"),
    }.items()
}

ARMS = {
    "avae": Arm("AVAE", search=True, comparison="table"),
    "vae": Arm("VAE, as many numbers as AVAE and pose", pose_numbers=True, comparison="table"),
    "plain": Arm("VAE, as many numbers as AVAE", comparison="turned"),
    "upright": Arm("VAE, upright inputs", turned=False, comparison="turned"),
    "matched": Arm("VAE, as many numbers and passes", pose_numbers=True, matched=True),
    "wide": Arm("VAE, as many numbers, twice as wide", pose_numbers=True, width=2.0),
}

CPU = {"epochs": 10, "batch_size": 64, "learning_rate": 4e-3}  # 1e-3 a batch
VOXELS = {"channels_last": False}
SCALES = {
    "quick": Scale(
        Halving(6, ((2, 1),)), {2: {"epochs": 8, "batch_size": 64, "learning_rate": 4e-2}},
        width=0.5, tested=40,
    ),
    "cpu": Scale(
        Halving(8, ((2, 2),)),
        {2: CPU | {"train_images": 10_000, "test_images": 1000},
         3: CPU | VOXELS | {"epochs": 15, "batch_size": 16, "learning_rate": 1.6e-2,
                            "train_images": 200, "test_images": 60}},
        pooled={3: 2}, tested=60,
    ),
    "full": Scale(
        Restarts(), {3: VOXELS | {"epochs": 100, "batch_size": 14, "learning_rate": 9e-3}}
    ),
}  # fmt: skip
"""quick: digits, in a minute; cpu: a part of the data, in hours; full: the thesis's, on a GPU."""


@dataclass(frozen=True)
class Experiment:
    """One model of a case at a scale: what it is built of, and how it is trained."""

    case: str
    arm: str
    scale: str
    latent: int = 0  # numbers of a shape; 0: the case's

    @property
    def task(self) -> Reconstruction:
        case = CASES[self.case]
        pooled = SCALES[self.scale].pooled.get(case.poses.dimensions, 1)
        poses = case.poses if ARMS[self.arm].turned else None
        return Reconstruction(case.canvas // pooled, poses, case.likelihood, pooled)

    @property
    def protocol(self) -> Protocol:
        changes = SCALES[self.scale].changes.get(CASES[self.case].poses.dimensions, {})
        found = Protocol.load("affine-vae").changed(changes)
        if not ARMS[self.arm].matched:
            return found
        more = (LEARNING + search_passes(self.case, self.scale)) / LEARNING
        return replace(found, epochs=round(found.epochs * more))

    @property
    def width(self) -> float:
        return SCALES[self.scale].width * ARMS[self.arm].width

    @property
    def numbers(self) -> int:
        """Latent numbers of the VAE."""
        case = CASES[self.case]
        return (self.latent or case.latent) + ARMS[self.arm].pose_numbers * case.poses.numbers

    def about(self) -> dict[str, object]:
        """What `config.json` says of the model."""
        search = SCALES[self.scale].search if ARMS[self.arm].search else None
        said = search and {"kind": search.name} | asdict(search)
        built = {"search": said, "width": self.width, "numbers": self.numbers}
        return asdict(self) | built | {"comparison": ARMS[self.arm].comparison}

    def build(self, seed: int) -> AffineVAE:
        """The model, with initial weights that the seed decides."""
        case, arm = CASES[self.case], ARMS[self.arm]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            vae = VAE(
                self.numbers, self.task.side, dimensions=case.poses.dimensions, width=self.width
            )
        search = SCALES[self.scale].search if arm.search else None
        return AffineVAE(vae, case.poses, search, likelihood=case.likelihood)

    def folders(self, seed: int, root: Path | None = None) -> tuple[Path, Path]:
        """Where its training and its turned inputs are recorded."""
        latent = f"-latent{self.latent}" if self.latent else ""
        name = f"{self.case}-{self.arm}{latent}-seed{seed}"
        one, other = ((root or paths.RESULTS) / f"{kind}-{self.scale}" / name for kind in KINDS)
        return one, other


def search_passes(case: str, scale: str) -> int:
    """What an AVAE's search spends on an example, counted on a model of nothing."""
    objective = Objective(lambda alpha, rows: alpha.sum(1), 1, CASES[case].poses)
    return SCALES[scale].search(objective, torch.Generator().manual_seed(0)).passes


def run(
    one: Experiment, *, seed: int, root: Path | None = None, place: str | Path | None = None,
    progress: bool = True,
) -> AffineVAE:  # fmt: skip
    """Train a model of a case, turn its test inputs, record both, and return it trained.

    `root` is `data/results` if not given, `place` where data lie, as `data.load` takes it. What was
    interrupted goes on from its checkpoint.
    """
    images, model = data.load(CASES[one.case].data, place), one.build(seed)
    training, angles = one.folders(seed, root)
    train(
        model, images, one.protocol, training, seed=seed, task=one.task, about=one.about(),
        resume=True, progress=progress,
    )  # fmt: skip
    recording = Recording.start(angles, one.about() | {"data": images.name, "seed": seed},
                                resume=True)  # fmt: skip
    recording.truncate(0)
    recording.extend(turn(model, one, images))
    recording.finish(results.provenance(seed=seed, device="cpu", data_checksum=images.checksum))
    return model


# Turned inputs ------------------------------------------------------------------------------------


def tested_inputs(one: Experiment, images: DataSet) -> tuple[Tensor, Tensor]:
    """The test inputs that are turned, as bytes, and their labels."""
    _, tests = parts(images, one.protocol)
    chosen = tests["test"].take(slice(SCALES[one.scale].tested))
    return chosen.images, chosen.labels


def at_angle(one: Experiment, images: Tensor, degrees: float) -> Tensor:
    """Inputs of bytes on the canvas, turned about the middle or about the first axis."""
    poses = CASES[one.case].poses
    alpha = torch.zeros(len(images), poses.numbers)
    alpha[:, 0] = degrees * pi / 180
    return replace(one.task, poses=poses).grids(images, alpha)


@torch.no_grad()
def turn(model: AffineVAE, one: Experiment, images: DataSet) -> list[dict[str, float]]:
    """Mean loss and MSE of test inputs at each of ANGLES, as they stand and searched; a row each.

    `turns` and `half_turns` say how alike the orientations are in which the search leaves inputs
    of class 1, or all voxels: the lengths, from 0 to 1, of the mean of their angles, and of the
    angles doubled, as directions.
    """
    inputs, labels = tested_inputs(one, images)
    ones, rows, left = labels == min(1, images.classes - 1), [], []
    for angle in ANGLES:
        x = at_angle(one, inputs, angle)
        plain, _ = measure(model, x, None)
        searched, pose = measure(model, x, SCALES[one.scale].search)
        rows.append({"angle": angle, **{f"{k}_as_is": v for k, v in plain.items()}, **searched})
        left.append(pose[ones, 0] + angle * pi / 180)
    alike = {
        name: torch.polar(torch.ones(()), times * torch.cat(left)).mean().abs().item()
        for name, times in (("turns", 1), ("half_turns", 2))
    }
    return [row | alike for row in rows]


@torch.no_grad()
def measure(
    model: AffineVAE, x: Tensor, search: Restarts | Halving | None
) -> tuple[dict[str, float], Tensor]:
    """Mean loss in nats, mean MSE and the poses (batch, numbers) under a search."""
    model.eval()
    own, model.search = model.search, search
    passed = model(x)
    model.search = own
    losses = misfit(model.likelihood, x, passed.reconstruction)
    losses = losses + divergence(passed.mean, passed.log_variance)
    mse = ((passed.reconstruction - x) ** 2).mean()
    return {"loss": losses.mean().item(), "mse": mse.item()}, passed.pose


# What was recorded --------------------------------------------------------------------------------


def trained(scale: str, root: Path | None = None) -> pd.DataFrame:
    """The finished trainings of a scale, a row each, for the cases' own latent sizes.

    Columns: case, arm, seed, numbers, parameters, epochs, mse (of the test inputs), psnr
    (−10 log10 of it), loss, passes (of one training example in one epoch, learning and search).
    """
    rows = []
    for found in _finished(KINDS[0], scale, root):
        config, summary = found.config, found.summary
        mse = summary["test_mse"]
        rows.append({
            "case": config["case"], "arm": config["arm"], "seed": config["seed"],
            "numbers": config["numbers"], "parameters": config["parameters"],
            "epochs": config["protocol"]["epochs"], "mse": mse, "psnr": -10 * np.log10(mse),
            "loss": summary["test_loss"], "passes": LEARNING + found.metrics.train_passes.iloc[-1],
        })  # fmt: skip
    columns = ["case", "arm", "seed", "numbers", "parameters", "epochs", "mse", "psnr", "loss",
               "passes"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def angles(scale: str, case: str, root: Path | None = None) -> pd.DataFrame:
    """What the models of a case make of turned inputs, a row an angle, with arm and seed."""
    found = [
        r.metrics.assign(arm=r.config["arm"], seed=r.config["seed"])
        for r in _finished(KINDS[1], scale, root)
        if r.config["case"] == case
    ]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _finished(kind: str, scale: str, root: Path | None) -> list[Run]:
    folder = f"{kind}-{scale}"
    if not ((root or paths.RESULTS) / folder).exists():
        return []
    return [
        found
        for found in results.runs(folder, root)
        if found.summary["state"] == "finished" and not found.config["latent"]
    ]


def improvements(runs: pd.DataFrame, over: str = "vae") -> pd.DataFrame:
    """By how many per cent the AVAE's MSE lies below another arm's, with a 95 % interval.

    A row a case, in which every seed that both arms have counts once: columns `improvement`,
    `low`, `high` (NaN for one seed), `seeds`.
    """
    rows = {}
    for case, of_case in runs.groupby("case", sort=False):
        mse = of_case.pivot(index="seed", columns="arm", values="mse")
        if not {"avae", over} <= set(mse.columns):
            continue
        better = (100 * (1 - mse["avae"] / mse[over])).dropna()
        if len(better):
            rows[case] = [*map(float, mean_interval(better.to_numpy())), len(better)]
    return pd.DataFrame.from_dict(rows, "index", columns=["improvement", "low", "high", "seeds"])
