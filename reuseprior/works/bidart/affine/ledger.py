"""Every printed number of Bidart's chapter 4, with what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import log10

import pandas as pd
import torch

from reuseprior.models.affine_vae import VAE, Poses, Restarts, room
from reuseprior.models.affine_vae.vae import DECODER, ENCODER
from reuseprior.press import published
from reuseprior.press.ledger import Cell, Entry, Reading, judged, public, quoted, setting, stated
from reuseprior.press.runs import Claim, Evidence, claimed, measured
from reuseprior.results import Run
from reuseprior.works.bidart.affine.experiments import CASES, KINDS

SCALE = "cpu"  # of the runs that claims are tested on; printed numbers need those of `full`
GRID = 32  # cells a side of ModelNet's public voxels, which the text does not say

IMAGES, IMAGES_MOVED = Poses(2), Poses(2, translation=True)
VOXELS, VOXELS_MOVED = Poses(3), Poses(3, translation=True)


def _rows(table: str, where: str) -> Iterator[pd.Series]:
    rows = published.load(f"bidart/chapter-4-{table}")
    yield from (row for _, row in rows[rows["where"].str.startswith(where)].iterrows())


def _number(name: str) -> int:
    rows = published.load("bidart/chapter-4-setup").set_index("id")
    return int(rows.loc[f"bidart-4-setup-{name}", "value"])


# What follows from definitions, and settings ------------------------------------------------------


def carried() -> dict[str, float]:
    """What the package has for the settings of the text, by their names."""
    search, coder = Restarts(), VAE(1, 8).encoder
    found: dict[str, float] = {
        "variance": 1,  # `misfit` knows no other
        "starts": search.starts,
        "kept": search.kept,
        "steps": search.steps,
        "layers": len(ENCODER),
        "normed": sum("BatchNorm" in type(layer).__name__ for layer in coder),
        "canvas-mnist": CASES["mnist-rotation"].canvas,
        "canvas-modelnet": CASES["sofa-rotation"].canvas,
        "shape-mnist": CASES["mnist-rotation"].latent,
        "shape-modelnet": CASES["sofa-rotation"].latent,
        "turn": IMAGES.spread(torch.ones(1)).rad2deg().item(),
    }
    for name, plan in {"encoder": ENCODER, "decoder": DECODER}.items():
        found |= {f"{name}-{place}": layer[0] for place, layer in enumerate(plan, 1)}
    return found


def setup(where: str) -> Iterator[Entry]:
    """Settings of the text, and whether the package carries them."""
    code = carried()
    facts = {"image": "MNIST, image size", "classes": "ModelNet10, classes"}
    for row in _rows("setup", where):
        name = row.id.removeprefix("bidart-4-setup-")
        if name in facts:
            yield quoted(row, "value", public(facts[name]))
        else:
            same = abs(code[name] - float(row["value"])) < 1e-3
            has = "the package has it" if same else f"the package has {code[name]:g}"
            yield setting(row, "value", f"{row.quantity}; {has}")


def text(where: str) -> Iterator[Entry]:
    """Latent sizes that are compared, and what the text says of losses in numbers."""
    mnist, modelnet = _number("shape-mnist"), _number("shape-modelnet")
    computed = {
        "matrix": IMAGES.matrix(IMAGES.draw(1)).shape[1] + 1,  # its last row is 0 0 1
        "rotation-numbers": VOXELS.numbers,
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
            cells.append(Cell(row, "value", [Reading(computed[name])]))
        elif name == "maximum":
            worst = Evidence(f"{KINDS[1]}-full", _config("mnist-rotation", arm="upright"), _worst)
            yield measured(row, "value", worst, _needs("mnist-rotation", "upright"))
        elif name.endswith("-improvement"):
            yield _improvement(row, "value", name.removesuffix("-improvement"))
        else:
            yield _higher(row, name)
    yield from judged(cells)


# What needs training ------------------------------------------------------------------------------


def _needs(case: str, *arms: str, latent: int = 0, scale: str = "full") -> str:
    of = f", latent={latent}" if latent else ""
    return (
        f"affine.experiments.run(Experiment({case!r}, arm, {scale!r}{of}), seed=…) for "
        f"{' and '.join(map(repr, arms))}"
    )


def _config(case: str, *, scale: str = "full", latent: int = 0, **rest) -> dict[str, object]:
    return {"case": case, "scale": scale, "latent": latent, **rest}


def _both(
    case: str, comparison: str, value: Callable[[float, float], float], *, latent: int = 0
) -> Evidence:
    """A number made of the test MSE of two arms that are compared, in the order of their names."""

    def of(runs: Sequence[Run]) -> float:
        first, second = sorted(runs, key=lambda run: run.config["arm"])
        return value(first.summary["test_mse"], second.summary["test_mse"])

    config = _config(case, latent=latent, comparison=comparison)
    return Evidence(f"{KINDS[0]}-full", config, of, runs=2)


def _improvement(row: pd.Series, column: str, case: str) -> Entry:
    found = _both(case, "table", lambda avae, vae: 100 * (1 - avae / vae))
    return measured(row, column, found, _needs(case, "avae", "vae"))


def _higher(row: pd.Series, name: str) -> Entry:
    """The loss of a VAE on turned inputs beside that on upright ones, at latent size 4."""
    if name == "mnist-higher":
        case, value = "mnist-rotation", lambda plain, upright: 100 * (plain / upright - 1)
    else:
        case, value = "sofa-rotation", lambda plain, upright: plain / upright
    needs = _needs(case, "plain", "upright", latent=4)
    return measured(row, "value", _both(case, "turned", value, latent=4), needs)


def _worst(runs: Sequence[Run]) -> float:
    """The angle at which an upright VAE's loss is largest, of the half turn that the text means."""
    metrics = runs[0].metrics
    half = metrics[metrics.angle <= 180]
    return float(half.angle[half.loss_as_is.idxmax()])


def tables(table: str) -> Iterator[Entry]:
    """Tables 4.1 and 4.2: by how much the AVAE's MSE lies below the VAE's."""
    for row in _rows(table, "bidart"):
        yield _improvement(row, "improvement", row.case)


# Claims -------------------------------------------------------------------------------------------


def claims(where: str) -> Iterator[Entry]:
    """What the chapter claims in words."""
    for row in _rows("claims", where):
        name = row.id.partition("-claim-")[2]
        if name in CASES:
            yield _claimed(row, name, ("avae", "vae"), _psnr, "by PSNR of the test inputs in dB")
        elif name.startswith("complex-"):
            case = f"{name.removeprefix('complex-')}-rotation"
            yield _claimed(row, case, ("upright", "plain"), _psnr, "by PSNR in dB, at the latent "
                           f"size {CASES[case].latent} alone")  # fmt: skip
        elif name in ("first", "last"):
            arms = ("vae", "avae") if name == "first" else ("avae", "vae")
            place = 0 if name == "first" else -1
            what = f"by minus the training loss of the {name} epoch in nats"
            yield _claimed(row, "mnist-rotation", arms, partial(_loss, place), what)
        elif name == "halves":
            yield _halves(row)
        else:
            yield _STATED[name](row)


def _psnr(runs: Sequence[Run]) -> float:
    return -10 * log10(runs[0].summary["test_mse"])


def _loss(epoch: int, runs: Sequence[Run]) -> float:
    return -float(runs[0].metrics.train_loss.iloc[epoch])


def _claimed(row, case: str, arms: tuple[str, str], value, what: str) -> Entry:
    first, second = (
        (arm, Evidence(f"{KINDS[0]}-{SCALE}", _config(case, scale=SCALE, arm=arm), value))
        for arm in arms
    )
    scale = f"on a part of the data and with a cheaper search, {what}"
    return claimed(row, "value", Claim(first, second, scale), _needs(case, *arms, scale=SCALE))


def _halves(row: pd.Series) -> Entry:
    """Doubled angles are alike, and angles themselves are not."""
    config = _config("mnist-rotation", scale=SCALE, arm="avae")
    first, second = (
        (name, Evidence(f"{KINDS[1]}-{SCALE}", config, lambda runs, n=name: runs[0].metrics[n][0]))
        for name in ("half_turns", "turns")
    )
    scale = "on a part of the data, by the length of the mean direction of the digit 1"
    needs = _needs("mnist-rotation", "avae", scale=SCALE)
    return claimed(row, "value", Claim(first, second, scale), needs)


def _room(row: pd.Series, side: int, poses: Poses, canvas: str, convention: str = "") -> Entry:
    needed, has = room(side, poses), _number(canvas)
    note = f"a turned grid of {side} reaches over {needed} cells a side, and there are {has}"
    return stated(
        row, "value", printed=needed <= has, mended=True, note=note, convention=convention
    )


def _equivalent(row: pd.Series) -> Entry:
    """In latent numbers; not in parameters, nor in what is computed."""
    latent, canvas = _number("shape-mnist"), _number("canvas-mnist")
    avae, vae = (
        sum(p.numel() for p in VAE(n, canvas).parameters())
        for n in (latent, latent + IMAGES.numbers)
    )
    note = (
        f"on MNIST with rotation the VAE has {vae - avae:,} parameters more, and no search, which "
        "takes the AVAE hundreds of passes for an example"
    )
    return stated(row, "value", printed=vae == avae, mended=True,
                  note=f"equal are the numbers that stand for an input: {note}")  # fmt: skip


def _name(row: pd.Series, elsewhere: str) -> Entry:
    same = row["value"] == elsewhere
    note = f"a slip of the pen: the chapter itself says {elsewhere}"
    return stated(row, "value", printed=same, mended=True, note=note)


_STATED: dict[str, Callable[[pd.Series], Entry]] = {
    "no-distortion-mnist": lambda row: _room(row, _number("image"), IMAGES, "canvas-mnist"),
    "no-distortion-modelnet": lambda row: _room(
        row, GRID, VOXELS, "canvas-modelnet", f"the voxels are grids of {GRID}"
    ),
    "equivalent": _equivalent,
    "name": lambda row: _name(row, "AVAE"),
    "data": lambda row: _name(row, "ModelNet"),
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
        for place in ("bidart, section 4", "bidart, section 6.1.2", "bidart, figure 4")
    },
}
