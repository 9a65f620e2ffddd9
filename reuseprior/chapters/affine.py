"""Every printed number of Bidart's chapter 4, with what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
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
from reuseprior.models.affine_vae import REACH, VAE, Found, Objective, Poses, Restarts, misfit
from reuseprior.models.affine_vae.vae import DECODER, ENCODER
from reuseprior.report import published
from reuseprior.report.ledger import Cell, Entry, Reading, judged, public, quoted, setting, stated
from reuseprior.report.published import Window
from reuseprior.report.runs import Claim, Evidence, claimed, measured, runs_for, settings
from reuseprior.results import Run

SCALE = "cpu"  # of the runs that claims are tested on; printed numbers need those of `full`
LEAST = LATENTS[0]  # the latent size that the text gives losses for
ABOUT = 10  # degrees to both sides that "about" is taken to mean
NEAR = 30  # degrees from an orientation that are near it; by chance a sixth of all is

IMAGES, IMAGES_MOVED = Poses(2), Poses(2, translation=True)
VOXELS, VOXELS_MOVED = Poses(3), Poses(3, translation=True)


def _rows(table: str, where: str) -> Iterator[pd.Series]:
    rows = published.load(f"bidart/chapter-4-{table}")
    yield from (row for _, row in rows[rows["where"].str.startswith(where)].iterrows())


def _printed(table: str, name: str) -> int:
    rows = published.load(f"bidart/chapter-4-{table}").set_index("id")
    return int(rows.loc[f"bidart-4-{table}-{name}", "value"])


_number, _text = partial(_printed, "setup"), partial(_printed, "text")


# What follows from definitions, and settings ------------------------------------------------------


def carried() -> dict[str, float]:
    """What the package has for the settings of the text, by their names."""
    search, vae = Restarts(), VAE(1, 8)
    # two values that are 1 apart, and two that are the same: half of 1 over the variance
    one, same = (torch.zeros(1, 1), torch.ones(1, 1)), (torch.zeros(1, 1),) * 2
    found: dict[str, float] = {
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
        found |= {f"{name}-{place}": layer[0] for place, layer in enumerate(plan, 1)}
        layers = getattr(vae, name)
        found[f"normed-{name}"] = sum("BatchNorm" in type(one).__name__ for one in layers)
    return found


def setup(where: str) -> Iterator[Entry]:
    """Settings of the text, and whether the package carries them."""
    code = carried()
    facts = {"image": "MNIST, image size", "classes": "ModelNet10, classes"}
    for row in _rows("setup", where):
        name = row.id.removeprefix("bidart-4-setup-")
        if name in facts:
            yield quoted(row, "value", public(facts[name]))
        elif name in _AT_ANGLES:
            yield setting(row, "value", f"{row.quantity}; the claim is tested there")
        else:
            same = abs(code[name] - float(row["value"])) < 1e-3
            has = "the package has it" if same else f"the package has {code[name]:g}"
            yield setting(row, "value", f"{row.quantity}; {has}")


def text(where: str) -> Iterator[Entry]:
    """Latent sizes that are compared, and what the text says of losses in numbers."""
    mnist, modelnet = _number("shape-mnist"), _number("shape-modelnet")
    computed = {
        "matrix": IMAGES.matrix(IMAGES.draw(1)).shape[2],  # columns of the square matrix
        "rotation-numbers": VOXELS.numbers,
        "translation-numbers": VOXELS_MOVED.numbers - VOXELS_MOVED.angles,
        "pose-numbers": VOXELS_MOVED.numbers,
        "mnist-rotation": mnist + IMAGES.numbers,
        "mnist-rotation-translation": mnist + IMAGES_MOVED.numbers,
        "modelnet-rotation": modelnet + VOXELS.numbers,
        "modelnet-rotation-translation": modelnet + VOXELS_MOVED.numbers,
    }
    cells = []
    for row in _rows("text", where):
        name = row.id.removeprefix("bidart-4-text-")
        if name in computed:
            added = name.endswith(("rotation", "translation"))  # a pose's numbers to a latent size
            cells.append(Cell(row, "value", [Reading(computed[name])], derived=added))
        elif name.endswith("-improvement"):
            yield _improved(row, "value", name.removesuffix("-improvement"))
        else:
            yield _TRAINED[name](row)
    yield from judged(cells)


# What needs training ------------------------------------------------------------------------------


def _evidence(
    case: str, value: Callable[[Sequence[Run]], float], *, kind: int = 0, scale: str = SCALE,
    arm: str = "", latents: Sequence[int] = (0,), runs: int = 1, comparison: str = "",
) -> Evidence:  # fmt: skip
    """Runs of an arm of a case, or of the arms of a comparison, at latent sizes; 0: the case's."""
    config = {"case": case, "scale": scale}
    config |= {"arm": arm} if arm else {}
    config |= {"comparison": comparison} if comparison else {}

    def counts(found: Sequence[Run]) -> list[Run]:
        return [run for run in found if run.config["latent"] in latents and as_planned(run)]

    return Evidence(f"{KINDS[kind]}-{scale}", config, value, runs, counts)


def _needs(case: str, *arms: str, latents: Sequence[int] = (0,), scale: str = "full") -> str:
    few = tuple(latents) == (0,)
    sizes = "" if few else f" at latent {' and '.join(map(str, latents))}"
    return (
        f"affine.experiments.run(Experiment({case!r}, arm, {scale!r}{'' if few else ', latent'}), "
        f"seed=…) for {' and '.join(map(repr, arms))}{sizes}"
    )


def _ratio(top: str, bottom: str, latent: int = 0) -> Callable[[Sequence[Run]], float]:
    """The test MSE of one arm over that of another, of runs of both."""

    def of(runs: Sequence[Run]) -> float:
        mse = {(r.config["arm"], r.config["latent"]): r.summary["test_mse"] for r in runs}
        return mse[top, latent] / mse[bottom, latent]

    return of


def _improvement(runs: Sequence[Run]) -> float:
    """By how many per cent the AVAE decreases the VAE's test MSE."""
    return 100 * (1 - _ratio("avae", "vae")(runs))


def _full(
    row: pd.Series, column: str, evidence: Evidence, needs: str, *, read: str = "", **how
) -> Entry:
    """A printed number and the runs of the full scale; `read` says what the text leaves open."""
    read = read and f"; {read}"
    by = f"the text's search and a protocol near the author's, as the text prints none{read},"
    return measured(row, column, evidence, needs + read, protocol=by, **how)


def _improved(row: pd.Series, column: str, case: str) -> Entry:
    found = _evidence(case, _improvement, scale="full", runs=2, comparison="table")
    return _full(row, column, found, _needs(case, "avae", "vae"))


def _higher(row: pd.Series, case: str, value: Callable[[float], float]) -> Entry:
    """The MSE of a VAE on turned inputs beside that on upright ones, at latent size 4."""
    ratio = _ratio("plain", "upright", LEAST)
    found = _evidence(case, lambda runs: value(ratio(runs)), scale="full", latents=[LEAST], runs=2,
                      comparison="turned")  # fmt: skip
    needs = _needs(case, "plain", "upright", latents=[LEAST])
    return _full(row, "value", found, needs, read=f"loss read as MSE, the data as {case}")


def _worst(runs: Sequence[Run]) -> float:
    """The angle at which an upright VAE's loss is largest, of the half turn that the text means."""
    metrics = runs[0].metrics
    half = metrics[metrics.angle <= 180]
    return float(half.angle[half.loss_as_is.idxmax()])


def _maximum(row: pd.Series) -> Entry:
    """Within what "about" may mean, from angles that lie much closer together than that."""
    printed, case = int(row["value"]), "mnist-rotation"
    worst = _evidence(case, _worst, kind=1, scale="full", arm="upright")
    window = Window(Fraction(printed - ABOUT), Fraction(printed + ABOUT))
    return _full(row, "value", worst, _needs(case, "upright"), window=window)


def _opposite(row: pd.Series) -> Entry:
    """How far apart the mean orientations of the digits 6 and 9 are, in degrees."""

    def of(runs: Sequence[Run]) -> float:
        six, nine = (np.angle(_directions(runs[0], digit).mean(), deg=True) for digit in (6, 9))
        return float((six - nine) % 360)

    case = "mnist-rotation"
    found = _evidence(case, of, kind=2, scale="full", arm="avae")
    return _full(row, "value", found, _needs(case, "avae"))


def _degrades(row: pd.Series) -> Entry:
    """An upright VAE's reconstructions at the printed angle beside those at 0."""
    turned = _number(row.id.partition("-claim-")[2])
    values = [partial(_at_angle, "mse_as_is", angle) for angle in (0, turned)]
    names = ("upright", f"at {turned}°")
    what = "by PSNR of turned test inputs in dB"
    return _two(row, "mnist-rotation", "upright", dict(zip(names, values, strict=True)), what)


def _half_turn(row: pd.Series) -> Entry:
    """An upright VAE's loss at the printed angle beside that at the printed maximum."""
    angles = _number("half-turn"), _text("maximum")
    values = {f"at {angle}°": partial(_at_angle, "loss_as_is", angle) for angle in angles}
    what = "by minus the loss of turned test inputs in nats"
    return _two(row, "mnist-rotation", "upright", values, what)


def _at_angle(name: str, angle: int, runs: Sequence[Run]) -> float:
    """PSNR in dB, or minus a loss in nats, at an angle."""
    value = float(runs[0].metrics.set_index("angle")[name][angle])
    return -10 * log10(value) if name.startswith("mse") else -value


def _halves(row: pd.Series) -> Entry:
    """Of two orientations as far apart as printed, the rarer has half of most digits."""

    def of(runs: Sequence[Run]) -> float:
        found = _directions(runs[0], 1)
        axis = np.sqrt((found**2).mean())  # an axis is the same after half a turn
        ends = axis * np.exp(1j * np.deg2rad([0.0, _number("halves")]))
        return 2 * min(_near(found, end) for end in ends)

    return _most(row, 1, of, "twice the share near the rarer of two orientations")


def _same(row: pd.Series, digit: int) -> Entry:
    def of(runs: Sequence[Run]) -> float:
        found = _directions(runs[0], digit)
        return _near(found, found.mean())

    return _most(row, digit, of, "share near the mean orientation")


def _most(row: pd.Series, digit: int, value: Callable[[Sequence[Run]], float], what: str) -> Entry:
    """Whether a share of a digit's test images is more than half."""
    case = "mnist-rotation"
    found = _evidence(case, value, kind=2, arm="avae")
    counts = {int((r.metrics.digit == digit).sum()) for rs in runs_for(found).values() for r in rs}
    of = f"of {' or '.join(map(str, sorted(counts)))} test digits {digit}" if counts else ""
    scale = f"{_reduced(case)}; by the {what} {of}, near meaning within {NEAR}°"
    return _beside(row, found, (what, "half"), 0.5, scale, _needs(case, "avae", scale=SCALE))


def _directions(run: Run, digit: int) -> np.ndarray:
    """The orientations of a digit, as complex numbers of length 1."""
    degrees = run.metrics.degrees[run.metrics.digit == digit]
    return np.exp(1j * np.deg2rad(degrees.to_numpy()))


def _near(found: np.ndarray, direction: complex) -> float:
    return float((np.abs(np.angle(found / direction, deg=True)) <= NEAR).mean())


_TRAINED: dict[str, Callable[[pd.Series], Entry]] = {
    "maximum": _maximum,
    "mnist-higher": lambda row: _higher(row, "mnist-rotation", lambda ratio: 100 * (ratio - 1)),
    "modelnet-higher": lambda row: _higher(row, "sofa-rotation", lambda ratio: ratio),
    "opposite": _opposite,
}


def tables(table: str) -> Iterator[Entry]:
    """Tables 4.1 and 4.2: by how much the AVAE decreases the VAE's MSE."""
    for row in _rows(table, "bidart"):
        yield _improved(row, "improvement", row.case)


# Claims -------------------------------------------------------------------------------------------


def claims(where: str) -> Iterator[Entry]:
    """What the chapter claims in words."""
    for row in _rows("claims", where):
        name = row.id.partition("-claim-")[2]
        kind, _, kept = name.partition("-")
        if name in CASES:
            yield _arms(row, name, ("avae", "vae"), _psnr, "by PSNR of the test inputs in dB")
        elif kind in _OF_A_CASE:
            yield _OF_A_CASE[kind](row, f"{kept}-rotation")
        elif kind == "larger":
            yield _larger(row, f"{kept}-rotation-translation", "mnist-rotation-translation")
        elif kind == "same":
            yield _same(row, int(kept))
        elif name in _UNRECORDED:
            yield measured(row, "value", None, _UNRECORDED[name])
        elif name in _AT_ANGLES:
            yield _AT_ANGLES[name](row)
        else:
            yield _STATED[name](row)


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


def _psnr(runs: Sequence[Run]) -> float:
    return -10 * log10(runs[0].summary["test_mse"])


def _loss(epoch: int, runs: Sequence[Run]) -> float:
    return -float(runs[0].metrics.train_loss.iloc[epoch])


def _arms(row, case: str, arms: tuple[str, str], value, what: str) -> Entry:
    """That the first of two arms scores above the second."""
    first, second = ((arm, _evidence(case, value, arm=arm)) for arm in arms)
    claim = Claim(first, second, f"{_reduced(case)}; {what}")
    return claimed(row, "value", claim, _needs(case, *arms, scale=SCALE))


def _two(row, case: str, arm: str, values, what: str) -> Entry:
    """That of two numbers of an arm's turned inputs the first lies above the second."""
    first, second = (
        (name, _evidence(case, value, kind=1, arm=arm)) for name, value in values.items()
    )
    scale = f"{_reduced(case)}, {SCALES[SCALE].tested} test inputs; {what}"
    claim = Claim(first, second, scale, paired=True)
    return claimed(row, "value", claim, _needs(case, arm, scale=SCALE))


def _beside(row, evidence: Evidence, names, bar: float, scale: str, needs: str) -> Entry:
    """That a number lies above a bar."""
    other = replace(evidence, value=lambda runs: bar)
    first, second = zip(names, (evidence, other), strict=True)
    return claimed(row, "value", Claim(first, second, scale, paired=True), needs)


def _trained(epoch: int, arms: tuple[str, str], row: pd.Series, case: str) -> Entry:
    """Which arm's training loss is lower after an epoch; the AVAE's is that at the pose found."""
    what = f"by minus the training loss of epoch {'1' if epoch == 0 else 'last'} in nats, α free"
    return _arms(row, case, arms, partial(_loss, epoch), what)


def _complex(row: pd.Series, case: str) -> Entry:
    """At every latent size of the figures, by the size at which it is least so."""

    def of(runs: Sequence[Run]) -> float:
        return min(10 * log10(_ratio("plain", "upright", n)(runs)) for n in LATENTS)

    names = ("least gap", "none")
    what = f"by the least gap in dB over latent sizes {', '.join(map(str, LATENTS))}"
    return _turned(row, case, of, names, 0.0, what, LATENTS)


def _fades(row: pd.Series, case: str) -> Entry:
    """Whether the gap is less at the largest latent size of the figures than at the least."""

    def of(runs: Sequence[Run]) -> float:
        gaps = [10 * log10(_ratio("plain", "upright", n)(runs)) for n in (LEAST, LATENTS[-1])]
        return gaps[0] - gaps[1]

    names = (f"gap at {LEAST} less that at {LATENTS[-1]}", "none")
    return _turned(row, case, of, names, 0.0, "by gaps of MSE in dB", (LEAST, LATENTS[-1]))


def _turned(row, case: str, value, names, bar: float, what: str, latents) -> Entry:
    found = _evidence(case, value, latents=latents, runs=2 * len(latents), comparison="turned")
    needs = _needs(case, "plain", "upright", latents=latents, scale=SCALE)
    return _beside(row, found, names, bar, f"{_reduced(case)}; {what}", needs)


def _converges(row: pd.Series, case: str) -> Entry:
    """That turned and upright inputs have the same MSE at the largest latent size."""
    size = [LATENTS[-1]]
    first, second = (
        (arm, _evidence(case, _psnr, arm=arm, latents=size)) for arm in ("plain", "upright")
    )
    scale = f"{_reduced(case)}; by PSNR in dB at latent size {size[0]}"
    needs = _needs(case, "plain", "upright", latents=size, scale=SCALE)
    return claimed(row, "value", Claim(first, second, scale, alike=True), needs)


def _harder(row: pd.Series, case: str) -> Entry:
    """Rotation raises the MSE of voxels by more than that of images, at latent size 4."""

    def of(runs: Sequence[Run]) -> float:
        return 10 * log10(_ratio("plain", "upright", LEAST)(runs))

    what = f"by the gap of MSE in dB at latent size {LEAST}"
    return _cases(row, (case, "mnist-rotation"), of, "turned", ("plain", "upright"), LEAST, what)


def _larger(row: pd.Series, *cases: str) -> Entry:
    what = "by the per cent by which the AVAE decreases MSE"
    return _cases(row, cases, _improvement, "table", ("avae", "vae"), 0, what)


def _cases(row, cases, value, comparison: str, arms, latent: int, what: str) -> Entry:
    """That a number of two arms is larger in the first case than in the second."""
    first, second = (
        (case, _evidence(case, value, latents=[latent], runs=2, comparison=comparison))
        for case in cases
    )
    scale = f"{'; '.join(f'{case}: {_reduced(case)}' for case in cases)}; {what}"
    needs = " and ".join(_needs(case, *arms, latents=[latent], scale=SCALE) for case in cases)
    return claimed(row, "value", Claim(first, second, scale), needs)


_OF_A_CASE: dict[str, Callable[[pd.Series, str], Entry]] = {
    "complex": _complex,
    "fades": _fades,
    "converges": _converges,
    "harder": _harder,
    "first": partial(_trained, 0, ("vae", "avae")),
    "last": partial(_trained, -1, ("avae", "vae")),
}


_AT_ANGLES: dict[str, Callable[[pd.Series], Entry]] = {
    "half-turn": _half_turn,
    "degrades-1": _degrades,
    "degrades-2": _degrades,
    "halves": _halves,
}

_UNRECORDED = {
    "uniform": "the orientations after the first epoch of an AVAE's training, which no run keeps",
    "shear": "poses that shear, of which the package has none",
    "shear-less": "poses that shear, of which the package has none",
    "generalizes-shear": "an upright VAE's loss over shear, which no run keeps",
}


def _room(row: pd.Series, cases: Sequence[str], canvas: str) -> Entry:
    """Whether all inputs stay on a canvas however they are rotated, by what was measured on them.

    The text says no range of translations, so these are told and not judged.
    """
    told, inside, whole = [], True, _number(canvas)
    for case in cases:
        own = CASES[case].data
        folder = paths.RESULTS / REACHED / own
        if not folder.exists():
            return measured(row, "value", None, f"affine.experiments.record_reach({case!r})")
        run = Run.read(folder)
        if run.config["canvas"] != whole:
            return measured(row, "value", None, f"{own} on a canvas of {whole}")
        for found in run.metrics.itertuples():
            inside &= bool(found.translation) or not found.beyond
            kind = f" and translation by up to {REACH}" if found.translation else ""
            told.append(
                f"{own}, rotation{kind}: in its worst pose {found.beyond:,} of {found.inputs:,} "
                "have a cell whose middle lies beyond it, the farthest "
                f"{found.farthest:.2f} cells from the middle where {whole / 2:g} are, and "
                f"{found.drawn:,} in one random pose each"
            )
    convention = (
        "how far translations go the text does not say (the author's code: a fifth of half a "
        "side), so rotations decide"
    )
    return stated(row, "value", printed=inside, note="; ".join(told), convention=convention)


def _equivalent(row: pd.Series) -> Entry:
    """In latent numbers; not in parameters, nor in what is computed."""
    latent, canvas = _number("shape-mnist"), _number("canvas-mnist")
    avae, vae = (
        sum(p.numel() for p in VAE(n, canvas).parameters())
        for n in (latent, latent + IMAGES.numbers)
    )
    note = (
        f"on MNIST with rotation the VAE has {vae - avae:,} parameters more, and no search, which "
        f"takes the AVAE {search_passes('mnist-rotation', 'full')} passes for an example; and the "
        "VAE pays a divergence for its number more, while α is free"
    )
    equal = latent + IMAGES.numbers == _text("mnist-rotation")
    return stated(row, "value", printed=vae == avae, mended=equal,
                  note=f"equal are the numbers that stand for an input: {note}")  # fmt: skip


def _name(row: pd.Series, elsewhere: str) -> Entry:
    same = row["value"] == elsewhere
    note = f"a slip of the pen: the chapter itself says {elsewhere}"
    return stated(row, "value", printed=same, mended=True, note=note)


_STATED: dict[str, Callable[[pd.Series], Entry]] = {
    "no-distortion-mnist": lambda row: _room(row, ["mnist-rotation"], "canvas-mnist"),
    "no-distortion-modelnet": lambda row: _room(
        row, ["sofa-rotation", "chair-rotation"], "canvas-modelnet"
    ),
    "equivalent": _equivalent,
    "name": lambda row: _name(row, "AVAE"),
    "data": lambda row: _name(row, "ModelNet"),
    "data-again": lambda row: _name(row, "ModelNet"),
}


def section(where: str) -> Iterator[Entry]:
    """What the text of a section or a caption says: settings, numbers, claims."""
    for entries in (setup, text, claims):
        yield from entries(where)


PARTS = {
    "bidart, table 4.1": partial(tables, "table-4-1"),
    "bidart, table 4.2": partial(tables, "table-4-2"),
    **{
        place: partial(section, place)
        for place in (
            "bidart, section 4", "bidart, figure 4", "bidart, section 6.1.2",
            "bidart, section 6.2.2",
        )
    },
}  # fmt: skip


def distinct_rotations(side: int) -> int:
    """Rotations of an image that differ by a pixel on the rim of its inscribed disc.

    >>> distinct_rotations(40)
    126
    """
    return ceil(pi * side)


def beside(latent: int, pose_numbers: int, side: int) -> pd.DataFrame:
    """A VAE, the same as an AVAE over all rotations, and VAEs that have the pose in their latents.

    An AVAE that is seen at K poses is K copies of one VAE whose parameters are tied, an affine map
    and its inverse around each. The maps have no parameters and no position of theirs feeds two
    copies, so every context of a parameter is there K times: log2 K bits more of each parameter's
    log-count, and the same distribution. That interpolating spreads a value over its neighbours,
    which would add contexts of its own, is left out. Columns: parameters, poses, spread (expected
    log2 of the contexts of a parameter, bits) and entropy (bits). The log-variances, which the
    reconstruction from the mean does not use, have no contexts and are counted among the parameters
    alone.
    """
    rotations = distinct_rotations(side)
    rows = {}
    for name, numbers, width, poses in (
        ("VAE", latent, 1, 1),
        ("AVAE", latent, 1, rotations),
        ("VAE, with numbers for the pose", latent + pose_numbers, 1, 1),
        ("VAE, twice as wide", latent + pose_numbers, 2, 1),
    ):
        with without_weights():
            vae = VAE(numbers, side, width=width)
        q = count_contexts(vae, (1, 1, side, side)).quantities()
        parameters = sum(p.numel() for p in vae.parameters())
        rows[name] = [parameters, poses, q.expected_spread + log2(poses), q.entropy]
    return pd.DataFrame.from_dict(
        rows, "index", columns=["parameters", "poses", "spread", "entropy"]
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
