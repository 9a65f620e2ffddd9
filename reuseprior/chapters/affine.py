"""Every printed number of Bidart's chapter 4, with what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from math import ceil, log2, log10, pi
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from reuseprior import paths
from reuseprior.chapters.affine_runs import (
    CASES,
    KINDS,
    LATENTS,
    REACHED,
    SCALES,
    Experiment,
    as_planned,
    search_passes,
)
from reuseprior.contexts import count_contexts
from reuseprior.models import without_weights
from reuseprior.models.affine_vae import (
    DECODER,
    ENCODER,
    REACH,
    VAE,
    Found,
    Objective,
    Restarts,
    Transforms,
    misfit,
)
from reuseprior.report import published
from reuseprior.report.cells import Cells
from reuseprior.report.ledger import Statement
from reuseprior.report.published import Interval
from reuseprior.report.runs import Claim, RunSelection, runs_for, settings
from reuseprior.results import Run

PARTS = Cells(__name__, "bidart/chapter-4")

SCALE = "cpu"  # of the runs that claims are tested on; printed numbers need those of `full`
LEAST = LATENTS[0]  # the latent size that the text gives losses for
ABOUT = 10  # degrees to both sides that "about" is taken to mean
NEAR = 30  # degrees from an orientation that are near it; by chance a sixth of all is

IMAGES, IMAGES_MOVED = Transforms(2), Transforms(2, translation=True)
VOXELS, VOXELS_MOVED = Transforms(3), Transforms(3, translation=True)

Value = Callable[[Sequence[Run]], float]


def _printed(table: str, name: str) -> int:
    value = published.number(f"bidart/chapter-4-{table}", f"{table}-{name}")
    if value.denominator != 1:
        raise ValueError(f"{table}-{name} is {value}: it counts something, so give a whole number")
    return int(value)


_number, _text = partial(_printed, "setup"), partial(_printed, "text")


# What follows from definitions, and settings ------------------------------------------------------


def _package() -> dict[str, float]:
    """What the package has for the settings of the text, by their names."""
    search, vae = Restarts(), VAE(1, 8)
    # two values that are 1 apart, and two that are the same: half of 1 over the variance
    one, same = (torch.zeros(1, 1), torch.ones(1, 1)), (torch.zeros(1, 1),) * 2
    settings: dict[str, float] = {
        "variance": 0.5 / (misfit("gaussian", *one) - misfit("gaussian", *same)).item(),
        "starts": search.starts,
        "kept": search.kept,
        "steps": search.steps,
        "layers": len(ENCODER),
        "least": LEAST,
        "canvas-mnist": CASES["mnist-rotation"].canvas,
        "canvas-modelnet": CASES["sofa-rotation"].canvas,
        "shape-mnist": CASES["mnist-rotation"].latent,
        "shape-modelnet": CASES["sofa-rotation"].latent,
        "turn": IMAGES.spread(torch.ones(1)).rad2deg().item(),
    }
    for name, plan in {"encoder": ENCODER, "decoder": DECODER}.items():
        settings |= {f"{name}-{place}": layer[0] for place, layer in enumerate(plan, 1)}
        layers = getattr(vae, name)
        settings[f"normed-{name}"] = sum("BatchNorm" in type(one).__name__ for one in layers)
    return settings


def carried(row: pd.Series, name: str) -> str:
    """What a setting is of, and whether the package carries it."""
    has = _package()[name]
    same = abs(has - float(row["value"])) < 1e-3
    return f"{row.quantity}; the package has {'it' if same else f'{has:g}'}"


def latent(name: str) -> int:
    """Numbers of a transform, and latent sizes that are compared: of a shape with a transform's."""
    mnist, modelnet = _number("shape-mnist"), _number("shape-modelnet")
    return {
        "matrix": IMAGES.matrix(IMAGES.draw(1)).shape[2],  # columns of the square matrix
        "rotation-numbers": VOXELS.numbers,
        "translation-numbers": VOXELS_MOVED.numbers - VOXELS_MOVED.angles,
        "pose-numbers": VOXELS_MOVED.numbers,
        "mnist-rotation": mnist + IMAGES.numbers,
        "mnist-rotation-translation": mnist + IMAGES_MOVED.numbers,
        "modelnet-rotation": modelnet + VOXELS.numbers,
        "modelnet-rotation-translation": modelnet + VOXELS_MOVED.numbers,
    }[name]


# What needs training ------------------------------------------------------------------------------


def _selection(
    case: str, value: Value, *, kind: int = 0, scale: str = SCALE, arm: str = "",
    latents: Sequence[int] = (0,), runs: int = 1, comparison: str = "",
) -> RunSelection:  # fmt: skip
    """Runs of an arm of a case, or of the arms of a comparison, at latent sizes; 0: the case's."""
    config = {"case": case, "scale": scale}
    config |= {"arm": arm} if arm else {}
    config |= {"comparison": comparison} if comparison else {}

    def counts(runs_of: Sequence[Run]) -> list[Run]:
        return [run for run in runs_of if run.config["latent"] in latents and as_planned(run)]

    return RunSelection(f"{KINDS[kind]}-{scale}", config, value, runs, counts)


def _needs(case: str, *arms: str, latents: Sequence[int] = (0,), scale: str = "full") -> str:
    few = tuple(latents) == (0,)
    sizes = "" if few else f" at latent {' and '.join(map(str, latents))}"
    return (
        f"affine_runs.run(Experiment({case!r}, arm, {scale!r}{'' if few else ', latent'}), "
        f"seed=…) for {' and '.join(map(repr, arms))}{sizes}"
    )


def _ratio(runs: Sequence[Run], top: str, bottom: str, latent: int = 0) -> float:
    """The test MSE of one arm over that of another, of runs of both."""
    mse = {(r.config["arm"], r.config["latent"]): r.summary["test_mse"] for r in runs}
    return mse[top, latent] / mse[bottom, latent]


def _improvement(runs: Sequence[Run]) -> float:
    """By how many per cent the AVAE decreases the VAE's test MSE."""
    return 100 * (1 - _ratio(runs, "avae", "vae"))


def _gap(runs: Sequence[Run], latent: int = LEAST) -> float:
    """By how much rotation raises a VAE's test MSE at a latent size, in dB."""
    return 10 * log10(_ratio(runs, "plain", "upright", latent))


def _full(case: str, arms: Sequence[str], value: Value, read: str = "", **options):
    """A printed number by runs of the full scale; `read` says what the text leaves open.

    `options` say which runs, as `_selection` takes them, and what the number's interval is.
    """
    read = read and f"; {read}"
    how = {"protocol": f"the text's search and a protocol near the author's, as the text prints "
           f"none{read},", "interval": options.pop("interval", None)}  # fmt: skip
    needs = _needs(case, *arms, latents=options.get("latents", (0,)))
    return _selection(case, value, scale="full", **options), needs + read, how


def improved(row: pd.Series, name: str):
    """Tables 4.1 and 4.2, and what the text repeats of them."""
    case = row.get("case") or name.removesuffix("-improvement")
    return _full(case, ("avae", "vae"), _improvement, runs=2, comparison="table")


def higher(case: str):
    """The MSE of a VAE on turned inputs beside that on upright ones, at latent size 4.

    On MNIST by how many per cent it is higher, of voxels how many times as high.
    """

    def value(runs: Sequence[Run]) -> float:
        ratio = _ratio(runs, "plain", "upright", LEAST)
        return 100 * (ratio - 1) if case.startswith("mnist") else ratio

    return _full(
        case, ("plain", "upright"), value, f"loss read as MSE, the data as {case}",
        latents=[LEAST], runs=2, comparison="turned",
    )  # fmt: skip


def maximum(row: pd.Series):
    """The angle at which an upright VAE's loss is largest, of the half turn that the text means.

    It is judged within what "about" may mean, from angles that lie much closer together than that.
    """
    printed = int(row["value"])

    def worst(runs: Sequence[Run]) -> float:
        metrics = runs[0].metrics
        half = metrics[metrics.angle <= 180]
        return float(half.angle[half.loss_as_is.idxmax()])

    interval = Interval(Fraction(printed - ABOUT), Fraction(printed + ABOUT))
    return _full("mnist-rotation", ["upright"], worst, kind=1, arm="upright", interval=interval)


def opposite():
    """How far apart the mean orientations of the digits 6 and 9 are, in degrees."""

    def apart(runs: Sequence[Run]) -> float:
        six, nine = (np.angle(_directions(runs[0], digit).mean(), deg=True) for digit in (6, 9))
        return float((six - nine) % 360)

    return _full("mnist-rotation", ["avae"], apart, kind=2, arm="avae")


def _directions(run: Run, digit: int) -> np.ndarray:
    """The orientations of a digit, as complex numbers of length 1."""
    degrees = run.metrics.degrees[run.metrics.digit == digit]
    return np.exp(1j * np.deg2rad(degrees.to_numpy()))


def _near(directions: np.ndarray, direction: complex) -> float:
    return float((np.abs(np.angle(directions / direction, deg=True)) <= NEAR).mean())


# Claims -------------------------------------------------------------------------------------------


def _reduced(case: str) -> str:
    """All that the scale of claims changes, beside the largest that the package has."""
    ours, full = (Experiment(case, "avae", scale) for scale in (SCALE, "full"))
    one, other = (settings(asdict(e.protocol), {}) for e in (ours, full))
    changed = [
        f"{name.replace('_', ' ')} {value} for {other[name] or 'all'}"
        for name, value in one.items()
        if value != other[name]
    ]
    if ours.task.pooled > 1:
        changed.append(f"{ours.task.pooled} cells a side pooled to one")
    passes = [search_passes(case, scale) for scale in (SCALE, "full")]
    changed.append("a search of {} passes for {}".format(*passes))
    return ", ".join(changed)


def _compared(
    sides: Mapping[str, tuple[str, str, Value]], arms: Sequence[str], what: str, *, kind: int = 0,
    latents: Sequence[int] = (0,), comparison: str = "", **how,
) -> tuple[Claim, str]:  # fmt: skip
    """That the first of two numbers of runs lies above the second, and what it takes to run.

    By the name of each its case, its arm unless it is of all arms of a `comparison`, and how it
    follows; `what` says by which number, `how` what the claim is.
    """
    runs = len(arms) * len(latents) if comparison else 1
    selections = [
        (name, _selection(case, value, kind=kind, arm=arm, latents=latents, runs=runs,
                         comparison=comparison))
        for name, (case, arm, value) in sides.items()
    ]  # fmt: skip
    cases = list(dict.fromkeys(case for case, *_ in sides.values()))
    scale = "; ".join(f"{f'{case}: ' * (len(cases) > 1)}{_reduced(case)}" for case in cases)
    scale += f", {SCALES[SCALE].tested} test inputs" if kind == 1 else ""
    needs = " and ".join(_needs(case, *arms, latents=latents, scale=SCALE) for case in cases)
    return Claim(*selections, f"{scale}; {what}", **how), needs


def _arms(case: str, arms: Sequence[str], value: Value, what: str, **how) -> tuple[Claim, str]:
    """That the first of two arms scores above the second."""
    return _compared({arm: (case, arm, value) for arm in arms}, arms, what, **how)


def _psnr(runs: Sequence[Run]) -> float:
    return -10 * log10(runs[0].summary["test_mse"])


def outperforms(name: str):
    """The AVAE beside the VAE in a case of tables 4.1 and 4.2."""
    return _arms(name, ("avae", "vae"), _psnr, "by PSNR of the test inputs in dB")


def loss_after(epoch: int, case: str, *arms: str):
    """Which arm's training loss is lower after an epoch, the AVAE's under the transform found."""
    what = f"by minus the training loss of epoch {'1' if epoch == 0 else 'last'} in nats, α free"
    return _arms(case, arms, lambda runs: -float(runs[0].metrics.train_loss.iloc[epoch]), what)


def converges(case: str):
    """That turned and upright inputs have the same MSE at the largest latent size."""
    size = LATENTS[-1]
    what = f"by PSNR in dB at latent size {size}"
    return _arms(case, ("plain", "upright"), _psnr, what, latents=[size], alike=True)


def _turned(sides, what: str, latents: Sequence[int], **how) -> tuple[Claim, str]:
    """A claim about turned and upright inputs, of cases by the name of a number."""
    each = {name: (case, "", value) for name, (case, value) in sides.items()}
    return _compared(
        each, ("plain", "upright"), what, latents=latents, comparison="turned", **how
    )  # fmt: skip


def complex_at_any_size(case: str):
    """At every latent size of the figures, by the size at which it is least so."""
    sides = {"least gap": (case, lambda runs: min(_gap(runs, n) for n in LATENTS)),
             "none": (case, lambda runs: 0.0)}  # fmt: skip
    what = f"by the least gap in dB over latent sizes {', '.join(map(str, LATENTS))}"
    return _turned(sides, what, LATENTS, paired=True)


def fades(case: str):
    """Whether the gap is less at the largest latent size of the figures than at the least."""
    most = LATENTS[-1]
    name = f"gap at {LEAST} less that at {most}"
    sides = {name: (case, lambda runs: _gap(runs) - _gap(runs, most)),
             "none": (case, lambda runs: 0.0)}  # fmt: skip
    return _turned(sides, "by gaps of MSE in dB", (LEAST, most), paired=True)


def harder(case: str):
    """Rotation raises the MSE of voxels by more than that of images, at latent size 4."""
    sides = {one: (one, _gap) for one in (case, "mnist-rotation")}
    return _turned(sides, f"by the gap of MSE in dB at latent size {LEAST}", [LEAST])


def larger(case: str):
    """The AVAE decreases the MSE of voxels by more than that of images."""
    sides = {one: (one, "", _improvement) for one in (case, "mnist-rotation-translation")}
    what = "by the per cent by which the AVAE decreases MSE"
    return _compared(sides, ("avae", "vae"), what, comparison="table")


def _upright(values: Mapping[str, tuple[str, int]], what: str) -> tuple[Claim, str]:
    """That of two numbers of an upright VAE's turned inputs the first lies above the second."""

    def at(column: str, angle: int) -> Value:
        def value(runs: Sequence[Run]) -> float:
            measured = float(runs[0].metrics.set_index("angle")[column][angle])
            return -10 * log10(measured) if column.startswith("mse") else -measured

        return value

    sides = {name: ("mnist-rotation", "upright", at(*of)) for name, of in values.items()}
    return _compared(sides, ["upright"], what, kind=1, paired=True)


def degrades(setting: str):
    """An upright VAE's reconstructions at the printed angle beside those at 0."""
    turned = _number(setting)
    values = {"upright": ("mse_as_is", 0), f"at {turned}°": ("mse_as_is", turned)}
    return _upright(values, "by PSNR of turned test inputs in dB")


def half_turn():
    """An upright VAE's loss at the printed angle beside that at the printed maximum."""
    angles = _number("half-turn"), _text("maximum")
    values = {f"at {angle}°": ("loss_as_is", angle) for angle in angles}
    return _upright(values, "by minus the loss of turned test inputs in nats")


def halves():
    """Of two orientations as far apart as printed, the rarer has half of most digits."""

    def share(runs: Sequence[Run]) -> float:
        directions = _directions(runs[0], 1)
        axis = np.sqrt((directions**2).mean())  # an axis is the same after half a turn
        ends = axis * np.exp(1j * np.deg2rad([0.0, _number("halves")]))
        return 2 * min(_near(directions, end) for end in ends)

    return _most(1, share, "twice the share near the rarer of two orientations")


def same(digit: int):
    """Most of a digit's test images lie near their mean orientation."""

    def share(runs: Sequence[Run]) -> float:
        directions = _directions(runs[0], digit)
        return _near(directions, directions.mean())

    return _most(digit, share, "share near the mean orientation")


def _most(digit: int, share: Value, what: str) -> tuple[Claim, str]:
    """Whether a share of a digit's test images is more than half."""
    case = "mnist-rotation"
    by_seed = runs_for(_selection(case, share, kind=2, arm="avae"))
    counts = {int((r.metrics.digit == digit).sum()) for runs in by_seed.values() for r in runs}
    of = f"of {' or '.join(map(str, sorted(counts)))} test digits {digit}" if counts else ""
    sides = {what: (case, "avae", share), "half": (case, "avae", lambda runs: 0.5)}
    by = f"by the {what} {of}, near meaning within {NEAR}°"
    return _compared(sides, ["avae"], by, kind=2, paired=True)


def room_for(canvas: str, *cases: str) -> Statement | str:
    """Whether all inputs stay on a canvas however they are rotated, by what was measured on them.

    The text says no range of translations, so these are told and not judged.
    """
    notes, inside, whole = [], True, _number(canvas)
    for case in cases:
        images = CASES[case].data
        folder = paths.RESULTS / REACHED / images
        if not folder.exists():
            return f"affine_runs.record_reach({case!r})"
        run = Run.read(folder)
        if run.config["canvas"] != whole:
            return f"{images} on a canvas of {whole}"
        for row in run.metrics.itertuples():
            inside &= bool(row.translation) or not row.beyond
            kind = f" and translation by up to {REACH}" if row.translation else ""
            notes.append(
                f"{images}, rotation{kind}: under its worst transform {row.beyond:,} of "
                f"{row.inputs:,} have a cell whose middle lies beyond it, the farthest "
                f"{row.farthest:.2f} cells from the middle where {whole / 2:g} are, and "
                f"{row.drawn:,} under one random transform each"
            )
    convention = (
        "how far translations go the text does not say (the author's code: a fifth of half a "
        "side), so rotations decide"
    )
    return Statement(inside, note="; ".join(notes), convention=convention)


def called(row: pd.Series, elsewhere: str) -> Statement:
    """A name as the chapter itself has it elsewhere."""
    note = f"a slip of the pen: the chapter itself says {elsewhere}"
    return Statement(row["value"] == elsewhere, True, note)


def equivalent() -> Statement:
    """In latent numbers; not in parameters, nor in what is computed."""
    latent, canvas = _number("shape-mnist"), _number("canvas-mnist")
    avae, vae = (
        sum(p.numel() for p in VAE(n, canvas).parameters())
        for n in (latent, latent + IMAGES.numbers)
    )
    equal = latent + IMAGES.numbers == _text("mnist-rotation")
    note = (
        "equal are the numbers that stand for an input: "
        f"on MNIST with rotation the VAE has {vae - avae:,} parameters more, and no search, which "
        f"takes the AVAE {search_passes('mnist-rotation', 'full')} passes for an example; and the "
        "VAE pays a divergence for its number more, while α is free"
    )
    return Statement(vae == avae, equal, note)


def distinct_rotations(side: int) -> int:
    """Rotations of an image that differ by a pixel on the rim of its inscribed disc.

    >>> distinct_rotations(40)
    126
    """
    return ceil(pi * side)


def beside(latent: int, transform_numbers: int, side: int) -> pd.DataFrame:
    """A VAE, the same as an AVAE over all rotations, and VAEs with the transform in their latents.

    An AVAE that is seen under K transforms is K copies of one VAE whose parameters are tied, a map
    and its inverse around each. The maps have no parameters and no position of theirs feeds two
    copies, so every context of a parameter is there K times: log2 K bits more of each parameter's
    log-count, and the same distribution. That interpolating spreads a value over its neighbours,
    which would add contexts of its own, is left out. Columns: parameters, transforms, spread
    (expected log2 of the contexts of a parameter, bits) and entropy (bits). The log-variances,
    which the reconstruction from the mean does not use, have no contexts and are counted among the
    parameters alone.
    """
    rotations = distinct_rotations(side)
    rows = {}
    for name, numbers, width, transforms in (
        ("VAE", latent, 1, 1),
        ("AVAE", latent, 1, rotations),
        ("VAE, with numbers for the transform", latent + transform_numbers, 1, 1),
        ("VAE, twice as wide", latent + transform_numbers, 2, 1),
    ):
        with without_weights():
            vae = VAE(numbers, side, width=width)
        q = count_contexts(vae, (1, 1, side, side)).quantities()
        parameters = sum(p.numel() for p in vae.parameters())
        rows[name] = [parameters, transforms, q.expected_spread + log2(transforms), q.entropy]
    return pd.DataFrame.from_dict(
        rows, "index", columns=["parameters", "transforms", "spread", "entropy"]
    )


@dataclass(frozen=True)
class PublishedRestarts(Restarts):
    """Section 4.1.5's search but for its choice of starts, which takes wrong rows.

    The losses are a table of starts by examples, the starts one list, start after start and
    example after example: start k of example b is row k · batch + b. The code takes row k, which
    is a start of another example, so its "best" eight are about eight random ones. Every example
    draws its own starts, as the code does: among shared ones the slip would mean something else.
    """

    name: ClassVar[str] = "published restarts"

    def __call__(self, objective: Objective, generator: torch.Generator | None = None) -> Found:
        if generator is None:
            return super().__call__(objective)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator.initial_seed())
            return super().__call__(objective)

    def chosen(self, alpha: Tensor, losses: Tensor) -> Tensor:
        starts = losses.topk(min(self.kept, len(alpha)), dim=0, largest=False).indices
        return alpha.flatten(0, 1)[starts]
