"""Autoencoders with and without a search for transforms, trained, turned and compared.

```python
run(Experiment("mnist-rotation", "avae", "cpu"), seed=0)  # goes on where it was interrupted
```

A scale's trainings lie in `data/results/affine-vae-SCALE`, what they make of their test inputs at
one rotation after the other in `data/results/affine-vae-angles-SCALE`, and the orientations in
which a search leaves digits in `data/results/affine-vae-orientations-SCALE`. "Loss" is under the
transform found, in which α is free, and in testing at the mean of z; `bound` gives a bound of the
evidence, which pays for both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from math import e, log, pi
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from reuseprior import data, paths, results
from reuseprior.data import DataSet
from reuseprior.measures.statistics import mean_interval
from reuseprior.models.affine_vae import (
    REACH,
    VAE,
    AffineVAE,
    Halving,
    Objective,
    Restarts,
    Transforms,
    divergence,
    evaluating,
    inverse,
    misfit,
    room,
)
from reuseprior.report.runs import settings
from reuseprior.results import Recording, Run
from reuseprior.training import Protocol, train
from reuseprior.training.batches import parts
from reuseprior.training.task import Reconstruction

KINDS = ("affine-vae", "affine-vae-angles", "affine-vae-orientations")
REACHED = "affine-vae-reach"  # how far inputs reach on their canvas
ANGLES = tuple(range(0, 360, 5))  # degrees; in space about the first axis
SEARCHED = 20  # degrees from one angle at which a search is tried to the next
ORIENTED = (1, 6, 9)  # digits of figures 4.12 and 4.13
SPREADS = (1, 2, 4, 8, 16, 32, 64)  # degrees that the posterior of an angle may have
DRAWS = 8  # samples of z for a bound, and nodes of a quadrature over the angle
LATENTS = (4, 8, 16, 32, 64)  # of figures 4.7 and 4.8, by the author's script; the text says 4
SEEDS = (0, 1, 2)  # as few as a number is judged by
LEARNING = 3  # passes in which an example is learnt from: one forward, two back


@dataclass(frozen=True)
class Case:
    """A data set of tables 4.1 and 4.2, how it is transformed, and the size of a shape."""

    data: str
    transforms: Transforms
    latent: int
    canvas: int
    likelihood: str = "gaussian"


@dataclass(frozen=True)
class Arm:
    """A variant of the autoencoder, which a case compares with others."""

    says: str
    search: bool = False
    more_numbers: bool = False  # as many latent numbers more as a transform has
    turned: bool = True  # whether it learns from turned inputs
    width: float = 1.0
    matched: bool = False  # trained longer, for as many passes as the AVAE takes with its search
    comparison: str = ""  # with another arm: "table" for tables 4.1 and 4.2, "turned" for 4.2.2


@dataclass(frozen=True)
class Scale:
    """A budget; `changes` are those of the protocol, by dimensions or case."""

    search: Callable[[Transforms], Restarts | Halving]
    changes: Mapping[int | str, Mapping[str, object]] = field(default_factory=dict)
    width: float = 1.0
    pooled: Mapping[int, int] = field(default_factory=dict)  # cells a side that become one
    tested: int | None = None  # test inputs that are turned to every angle; None: all


def _reduced(transforms: Transforms) -> Halving:
    """A third to a half of `Halving.of`, in passes."""
    if transforms.numbers == 1:
        return Halving(8, ((2, 2),))
    return replace(Halving.of(transforms), starts=16, rungs=((2, 3), (1, 2)))


CASES = {
    f"{name}-{turned}": case(translation)
    for turned, translation in (("rotation", False), ("rotation-translation", True))
    for name, case in {
        # ours, for who has no other data: too few pixels for a Gaussian of variance 1
        "digits": lambda t: Case(
            "digits", Transforms(2, t), 6, room(8, Transforms(2)), "bernoulli"
        ),
        "mnist": lambda t: Case("mnist", Transforms(2, t), 6, 40),
        "sofa": lambda t: Case("modelnet10-sofa", Transforms(3, t), 16, 48, "bernoulli"),
        "chair": lambda t: Case("modelnet10-chair", Transforms(3, t), 16, 48, "bernoulli"),
    }.items()
}

ARMS = {
    "avae": Arm("AVAE", search=True, comparison="table"),
    "vae": Arm("VAE, as many numbers as AVAE and transform", more_numbers=True, comparison="table"),
    "plain": Arm("VAE, as many numbers as AVAE", comparison="turned"),
    "upright": Arm("VAE, upright inputs", turned=False, comparison="turned"),
    "matched": Arm("VAE, as many numbers and passes", more_numbers=True, matched=True),
    "wide": Arm("VAE, as many numbers, twice as wide", more_numbers=True, width=2.0),
}

CPU = {"epochs": 10, "batch_size": 64, "learning_rate": 4e-3}  # 1e-3 a batch
VOXELS = {"channels_last": False}
SCALES = {
    "quick": Scale(
        lambda transforms: Halving(6, ((2, 1),)),
        {2: {"epochs": 8, "batch_size": 64, "learning_rate": 4e-2}}, width=0.5, tested=40,
    ),
    "cpu": Scale(
        _reduced,
        {2: CPU | {"train_images": 10_000, "test_images": 1000},
         3: CPU | VOXELS | {"epochs": 15, "batch_size": 16, "learning_rate": 1.6e-2,
                            "train_images": 200, "test_images": 60}},
        pooled={3: 2}, tested=60,
    ),
    "full": Scale(
        lambda transforms: Restarts(),
        {3: VOXELS | {"epochs": 100, "batch_size": 14, "learning_rate": 9e-3},
         "sofa-rotation": {"epochs": 200}},
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
        pooled = SCALES[self.scale].pooled.get(case.transforms.dimensions, 1)
        transforms = case.transforms if ARMS[self.arm].turned else None
        return Reconstruction(case.canvas // pooled, transforms, case.likelihood, pooled)

    @property
    def protocol(self) -> Protocol:
        changes = SCALES[self.scale].changes
        dimensions = CASES[self.case].transforms.dimensions
        of_case = changes.get(dimensions, {}) | changes.get(self.case, {})
        protocol = Protocol.load("affine-vae").changed(of_case)
        if not ARMS[self.arm].matched:
            return protocol
        more = (LEARNING + search_passes(self.case, self.scale)) / LEARNING
        return replace(protocol, epochs=round(protocol.epochs * more))

    @property
    def search(self) -> Restarts | Halving:
        """The scale's search for the case, in testing whatever the arm has in training."""
        return SCALES[self.scale].search(CASES[self.case].transforms)

    @property
    def width(self) -> float:
        return SCALES[self.scale].width * ARMS[self.arm].width

    @property
    def numbers(self) -> int:
        """Latent numbers of the VAE."""
        case = CASES[self.case]
        return (self.latent or case.latent) + ARMS[self.arm].more_numbers * case.transforms.numbers

    def about(self) -> dict[str, object]:
        """What `config.json` says of the model."""
        search = self.search
        said = {"kind": search.name} | asdict(search) if ARMS[self.arm].search else None
        built = {"search": said, "width": self.width, "numbers": self.numbers}
        return asdict(self) | built | {"comparison": ARMS[self.arm].comparison}

    def plan(self) -> dict[str, object]:
        """All that decides on a run but its seed and its data: model, task and protocol."""
        return self.about() | self.task.about() | {"protocol": asdict(self.protocol)}

    def build(self, seed: int) -> AffineVAE:
        """The model, with initial weights that the seed decides."""
        case, arm = CASES[self.case], ARMS[self.arm]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            kind = {"dimensions": case.transforms.dimensions, "width": self.width}
            vae = VAE(self.numbers, self.task.side, **kind)
        search = self.search if arm.search else None
        return AffineVAE(vae, case.transforms, search, likelihood=case.likelihood)

    def folders(self, seed: int, root: Path | None = None) -> list[Path]:
        """Where its training, its turned inputs and its orientations are recorded."""
        latent = f"-latent{self.latent}" if self.latent else ""
        name = f"{self.case}-{self.arm}{latent}-seed{seed}"
        return [(root or paths.RESULTS) / f"{kind}-{self.scale}" / name for kind in KINDS]


def start(planned, root: Path | None = None, *, progress: bool = True) -> None:
    """Make what the campaign plans: its model is an arm, its data a case, its protocol a scale."""
    one = Experiment(planned.data, planned.model, planned.protocol, **planned.changed)
    run(one, seed=planned.seed, root=root, progress=progress)


def beside(planned, root: Path | None = None) -> list[Path]:
    """What is recorded besides the training: turned inputs, and orientations if there are any."""
    one = Experiment(planned.data, planned.model, planned.protocol, **planned.changed)
    _, angles, orientations = one.folders(planned.seed, root)
    has_some = CASES[one.case].transforms.dimensions == 2 and ARMS[one.arm].search
    return [angles, orientations] if has_some else [angles]


def search_passes(case: str, scale: str) -> int:
    """What an AVAE's search spends on an example, counted on a model of nothing."""
    objective = Objective(lambda alpha, rows: alpha.sum(1), 1, CASES[case].transforms)
    search = SCALES[scale].search(CASES[case].transforms)
    return search(objective, torch.Generator().manual_seed(0)).passes


def run(
    one: Experiment, *, seed: int, root: Path | None = None, place: str | Path | None = None,
    progress: bool = True,
) -> AffineVAE:  # fmt: skip
    """Train a model of a case, turn its test inputs, record both, and return it trained.

    `root` is `data/results` if not given, `place` where data lie, as `data.load` takes it. What was
    interrupted goes on from its checkpoint.
    """
    images, model = data.load(CASES[one.case].data, place), one.build(seed)
    training, *others = one.folders(seed, root)
    train(
        model, images, one.protocol, training, seed=seed, task=one.task, about=one.about(),
        resume=True, progress=progress,
    )  # fmt: skip
    origin = {"seed": seed, "device": str(device_of(model)), "data_checksum": images.checksum}
    for folder, rows in zip(others, (turn, orient), strict=True):
        if measurements := rows(model, one, images):
            config = one.plan() | {"data": images.name, "seed": seed}
            recording = Recording.start(folder, config, resume=True)
            recording.truncate(0)
            recording.extend(measurements)
            recording.finish(results.provenance(**origin))
    return model


def device_of(model: AffineVAE) -> torch.device:
    return next(model.parameters()).device


# Turned inputs ------------------------------------------------------------------------------------


def tested_inputs(one: Experiment, images: DataSet) -> tuple[Tensor, Tensor]:
    """The test inputs that are turned, as bytes, and their labels."""
    _, tests = parts(images, one.protocol)
    chosen = tests["test"].take(slice(SCALES[one.scale].tested))
    return chosen.images, chosen.labels


def at_angle(one: Experiment, images: Tensor, degrees: float) -> Tensor:
    """Inputs of bytes on the canvas, turned about the middle or about the first axis."""
    transforms = CASES[one.case].transforms
    alpha = torch.zeros(len(images), transforms.numbers)
    alpha[:, 0] = degrees * pi / 180
    return replace(one.task, transforms=transforms).grids(images, alpha)


@torch.no_grad()
def turn(model: AffineVAE, one: Experiment, images: DataSet) -> list[dict[str, float]]:
    """Mean loss and MSE of test inputs at each of ANGLES, as they stand (`_as_is`); a row each.

    Every 20 degrees also `bound_as_is`, `loss` and `mse` with the scale's search, and, of images
    that are only rotated, their `bound`; in nats.
    """
    inputs, _ = tested_inputs(one, images)
    rows = []
    for angle in ANGLES:
        x = at_angle(one, inputs, angle).to(device_of(model))
        plain, _ = measure(model, x, None)
        row = {f"{k}_as_is": v for k, v in plain.items()}
        row |= dict.fromkeys(("bound_as_is", "loss", "mse", "bound"))
        if angle % SEARCHED == 0:
            searched, transform = measure(model, x, one.search)
            row |= searched | {"bound_as_is": bound(model, x).mean().item()}
            if model.transforms.numbers == 1:
                row["bound"] = bound(model, x, transform).mean().item()
        rows.append({"angle": angle} | row)
    return rows


@torch.no_grad()
def orient(model: AffineVAE, one: Experiment, images: DataSet) -> list[dict[str, float]]:
    """In which orientation an AVAE's search leaves the test digits 1, 6 and 9; a row each.

    Each digit is transformed at random. `degrees` is that transform's angle and the found one's,
    from 0 to 360: what the encoder sees the digit turned by. Of voxels, whose angles do not add
    up, and of models without a search there is none.
    """
    case = CASES[one.case]
    if case.transforms.dimensions != 2 or model.search is None:
        return []
    _, tests = parts(images, one.protocol)
    labels = tests["test"].labels
    chosen = torch.cat([(labels == digit).nonzero()[:, 0] for digit in ORIENTED])
    transform = case.transforms.draw(len(chosen), torch.Generator().manual_seed(0))
    x = replace(one.task, transforms=case.transforms).grids(tests["test"].images[chosen], transform)
    _, searched = measure(model, x.to(device_of(model)), model.search)
    left = ((searched[:, 0].cpu() + transform[:, 0]).rad2deg() % 360).tolist()
    pairs = zip(labels[chosen].tolist(), left, strict=True)
    return [{"digit": digit, "degrees": degrees} for digit, degrees in pairs]


@torch.no_grad()
def measure(
    model: AffineVAE, x: Tensor, search: Restarts | Halving | None
) -> tuple[dict[str, float], Tensor]:
    """Mean loss in nats, mean MSE and the transforms (batch, numbers) under a search."""
    search_before, model.search = model.search, search
    try:
        with evaluating(model):
            passed = model(x)
    finally:
        model.search = search_before
    losses = misfit(model.likelihood, x, passed.reconstruction)
    losses = losses + divergence(passed.mean, passed.log_variance)
    mse = ((passed.reconstruction - x) ** 2).mean()
    return {"loss": losses.mean().item(), "mse": mse.item()}, passed.transform


@torch.no_grad()
def bound(model: AffineVAE, x: Tensor, transform: Tensor | None = None) -> Tensor:
    """Minus an evidence lower bound of inputs, sampled, in nats, (batch,).

    As they stand, or under angles, `transform` (batch, 1), with their description length: one is
    uniform beforehand, and afterwards Gaussian about the one given, by Gauss–Hermite quadrature.
    Its σ is the one of SPREADS at which the bound is least by other samples of z. On a circle the
    divergence is at most the one on a line, ln(2π / (σ √(2πe))), that is added here.
    """
    nodes, weights = (part.tolist() for part in np.polynomial.hermite_e.hermegauss(DRAWS))

    def sampled(alpha: Tensor | None) -> Tensor:
        mean, log_variance, reconstruction = model.through(x, alpha, sampled=True)
        return misfit(model.likelihood, x, reconstruction) + divergence(mean, log_variance)

    def described(spread: Tensor) -> Tensor:
        near = (sampled(transform + spread * at) for at in nodes)
        losses = [weight * one for weight, one in zip(weights, near, strict=True)]
        cost = log(2 * pi) - log(2 * pi * e) / 2 - spread.log().squeeze(-1)
        return sum(losses) / sum(weights) + cost

    with evaluating(model), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if transform is None:
            return sum(sampled(None) for _ in range(DRAWS)) / DRAWS
        spreads = transform.new_tensor(SPREADS).deg2rad()[:, None]
        least = torch.stack([described(spread) for spread in spreads]).argmin(0)
        return described(spreads[least])


# Room on the canvas -------------------------------------------------------------------------------


def record_reach(case: str, *, root: Path | None = None, place: str | Path | None = None) -> Run:
    """Measure how far the inputs of a case reach on their canvas, and record it.

    A row for rotations and one for rotations with translations: the filled cells' middles of how
    many inputs lie beyond the rim under the worst transform (`beyond`) and under a random one each
    (`drawn`), and how far from the middle the farthest comes, in cells. It lies in
    `data/results/affine-vae-reach`.
    """
    of_case = CASES[case]
    images = data.load(of_case.data, place)
    grids = torch.cat([images.train.images, images.test.images])[:, 0]
    rows = []
    for translation in (False, True):
        transforms = replace(of_case.transforms, translation=translation)
        reached = reach(grids, transforms, of_case.canvas)
        rows.append({
            "translation": int(translation), "inputs": len(reached),
            "beyond": int((reached > of_case.canvas / 2).sum()), "farthest": reached.max().item(),
            "drawn": cut(grids, transforms, of_case.canvas),
        })  # fmt: skip
    folder = (root or paths.RESULTS) / REACHED / of_case.data
    recording = Recording.start(
        folder,
        {"data": of_case.data, "canvas": of_case.canvas, "translations": REACH},
        resume=False,
    )
    recording.extend(rows)
    return recording.finish(results.provenance(seed=0, device="cpu", data_checksum=images.checksum))


def reach(grids: Tensor, transforms: Transforms, canvas: int) -> Tensor:
    """How far from the canvas's middle the farthest filled cell of grids (n, side, …) can come.

    In cells, (n,), of cells' middles, under the worst transform: a rotation leaves the distance as
    it is, after a translation of REACH along every axis, whichever way is the worst.
    """
    moved = transforms.translation * REACH * canvas / 2
    away = (_middles(grids).abs() + moved).norm(dim=-1)
    return torch.stack([(away * (grid > 0)).max() for grid in grids])


def cut(grids: Tensor, transforms: Transforms, canvas: int) -> int:
    """How many grids (n, side, …), transformed at random, have a filled cell beyond the rim."""
    transform = transforms.draw(len(grids), torch.Generator().manual_seed(0))
    middles, rim, count = _middles(grids).flip(-1), canvas / 2, 0  # x is the last axis
    for grid, undo in zip(grids, inverse(transforms.matrix(transform)), strict=True):
        seen = middles[grid > 0] @ undo[:, :-1].T + undo[:, -1] * rim
        count += bool((seen.abs() > rim).any())
    return count


def _middles(grids: Tensor) -> Tensor:
    """Where the middles of cells lie, (side, …, dimensions), in cells from the grid's middle."""
    side = grids.shape[1]
    axis = torch.arange(side) + 0.5 - side / 2
    return torch.stack(torch.meshgrid(*[axis] * (grids.ndim - 1), indexing="ij"), -1)


# What was recorded --------------------------------------------------------------------------------


def as_planned(run: Run) -> bool:
    """Whether a run was made by the search, task and protocol that its experiment has now.

    And of the data that all others were made of: those whose reach is recorded.
    """
    config = run.config
    one = Experiment(*(config[name] for name in ("case", "arm", "scale", "latent")))
    wanted, recorded = json.loads(json.dumps(one.plan())), dict(config)
    for plan in (wanted, recorded):
        plan["protocol"] = settings(vars(Protocol()) | plan["protocol"], {})
    reached = paths.RESULTS / REACHED / CASES[one.case].data / results.SUMMARY
    same = not reached.exists() or (
        results.read_json(reached)["data_checksum"] == run.summary["data_checksum"]
    )
    return same and wanted.items() <= recorded.items()


def trained(scale: str, root: Path | None = None) -> pd.DataFrame:
    """The finished trainings of a scale as planned, a row each, for the cases' own latent sizes.

    Columns: case, arm, seed, numbers, parameters, epochs, mse (of the test inputs), psnr
    (−10 log10 of it), loss, passes (of one training example in one epoch, learning and search).
    """
    finished = _finished(KINDS[0], scale, root)
    names = {"protocol.epochs": "epochs", "test_mse": "mse", "test_loss": "loss"}
    columns = ["case", "arm", "seed", "numbers", "parameters"]
    table = results.table(finished).reindex(columns=[*columns, *names]).rename(columns=names)
    passes = [LEARNING + run.metrics.train_passes.iloc[-1] for run in finished]
    psnr = -10 * np.log10(table.mse.astype(float))
    return table.assign(psnr=psnr, passes=passes).reset_index(drop=True)


def measured(kind: str, scale: str, case: str, root: Path | None = None) -> pd.DataFrame:
    """What was measured on the models of a case, of the second or third of KINDS.

    A row an angle, or an oriented digit, with arm and seed.
    """
    tables = [
        r.metrics.assign(arm=r.config["arm"], seed=r.config["seed"])
        for r in _finished(kind, scale, root)
        if r.config["case"] == case
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _finished(kind: str, scale: str, root: Path | None) -> list[Run]:
    finished = results.finished_runs(f"{kind}-{scale}", root)
    return [run for run in finished if not run.config["latent"] and as_planned(run)]


def improvements(runs: pd.DataFrame, over: str = "vae") -> pd.DataFrame:
    """By how many per cent the AVAE decreases another arm's MSE, with a 95 % interval.

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
