"""The chapter's experiments: what is built, recorded, resumed and compared."""

from dataclasses import replace
from math import acos, log, log2, pi, radians, sqrt

import pytest
import torch
from torch import nn

from reuseprior.chapters import affine_runs
from reuseprior.chapters.affine import beside
from reuseprior.chapters.affine_runs import ARMS, CASES, SCALES, Experiment, run
from reuseprior.contexts import count_contexts
from reuseprior.models import without_weights
from reuseprior.models.affine_vae import VAE, Poses
from reuseprior.report import campaign


@pytest.fixture
def tiny(monkeypatch):
    """Two epochs on a few digits, turned to a few angles."""
    changes = {"epochs": 2, "batch_size": 32, "train_images": 64, "test_images": 20}
    scale = replace(SCALES["quick"], changes={2: changes}, width=0.25, tested=20)
    monkeypatch.setitem(SCALES, "tiny", scale)
    monkeypatch.setattr(affine_runs, "ANGLES", tuple(range(0, 360, 30)))
    monkeypatch.setattr(affine_runs, "SEARCHED", 90)


def test_arms_have_the_numbers_that_the_text_compares():
    numbers = {
        ("mnist-rotation", "avae"): 6, ("mnist-rotation", "vae"): 7, ("mnist-rotation", "wide"): 7,
        ("mnist-rotation-translation", "vae"): 9, ("sofa-rotation", "avae"): 16,
        ("chair-rotation", "vae"): 19, ("chair-rotation-translation", "vae"): 22,
    }  # fmt: skip
    assert {key: Experiment(*key, "full").numbers for key in numbers} == numbers
    upright, wide = (Experiment("mnist-rotation", arm, "cpu") for arm in ("upright", "wide"))
    assert upright.task.poses is None and upright.build(0).search is None and wide.width == 2
    assert all(arm.says for arm in ARMS.values())


@pytest.mark.parametrize("scale", SCALES)
def test_matched_arms_spend_as_many_passes(scale):
    case = "digits-rotation" if scale == "quick" else "mnist-rotation"
    avae, matched = (Experiment(case, arm, scale).protocol.epochs for arm in ("avae", "matched"))
    each = affine_runs.LEARNING + affine_runs.search_passes(case, scale)
    assert matched * affine_runs.LEARNING == pytest.approx(avae * each, rel=0.05)


def test_all_that_is_planned_can_be_built():
    """Every arm of every case of the source, and latent sizes that section 4.2.2 compares."""
    for scale, sizes in (("full", {0, 4}), ("cpu", {0, *affine_runs.LATENTS})):
        rows = list(campaign.planned("13-affine-vae", protocol=scale))
        ones = [Experiment(row.data, row.model, scale, **row.changed) for row in rows]
        assert {row.seed for row in rows} == {0, 1, 2} and len(set(ones)) * 3 == len(ones)
        folders = [one.folders(row.seed)[0] for one, row in zip(ones, rows, strict=True)]
        assert folders == [row.folder() for row in rows]
        assert {one.latent for one in ones} == sizes
        assert {(one.case, one.arm) for one in ones} == {
            (case, arm) for case in CASES for arm in ARMS if "digits" not in case
        }
        assert Experiment("sofa-rotation", "plain", scale, 4) in ones
    for case in CASES:
        one = Experiment(case, "avae", "quick" if "digits" in case else "cpu")
        model = one.build(0)
        assert (model.vae.side, model.likelihood) == (one.task.side, one.task.likelihood)
        assert one.task.poses == CASES[case].poses and one.protocol.channels == 1


@pytest.mark.slow
def test_runs_are_recorded_and_compared(tiny, tmp_path):
    nothing = affine_runs.trained("tiny", tmp_path)
    assert nothing.empty and affine_runs.improvements(nothing).empty
    for arm in ("avae", "vae"):
        run(Experiment("digits-rotation", arm, "tiny"), seed=0, root=tmp_path, progress=False)
    found = affine_runs.trained("tiny", tmp_path)
    assert list(found.arm) == ["avae", "vae"] and list(found.numbers) == [6, 7]
    assert list(found.passes) == [3 + 6 + 2 * 2 + 2, 3]
    avae, vae = found.mse
    better = affine_runs.improvements(found).loc["digits-rotation"]
    assert better.improvement == pytest.approx(100 * (1 - avae / vae)) and better.seeds == 1
    one, turns, left = Experiment("digits-rotation", "avae", "tiny"), *affine_runs.KINDS[1:]
    turned = affine_runs.measured(turns, "tiny", "digits-rotation", tmp_path)
    assert len(turned) == 2 * len(affine_runs.ANGLES) and turned.loss_as_is.notna().all()
    searched = turned[turned.loss.notna()]
    assert set(searched.angle) == set(range(0, 360, affine_runs.SEARCHED))
    assert searched[["bound", "bound_as_is"]].notna().to_numpy().all()
    oriented = affine_runs.measured(left, "tiny", "digits-rotation", tmp_path)
    assert set(oriented.digit) == {1, 6, 9} and oriented.degrees.between(0, 360).all()
    assert set(oriented.arm) == {"avae"}
    run(one, seed=0, root=tmp_path, progress=False)
    assert affine_runs.measured(turns, "tiny", "digits-rotation", tmp_path).equals(turned)


@pytest.mark.parametrize("degrees", [4, 16])
def test_a_bound_pays_for_the_angle(monkeypatch, degrees):
    """Of a posterior that is Gaussian the bound is the evidence itself, here in closed form.

    The model's loss is a parabola over the angle, about 1.
    """
    sigma = radians(degrees)

    def through(x, alpha, *, sampled):
        assert sampled
        off = (alpha - 1) / sigma
        return off, torch.zeros_like(off), x  # the divergence of N(off, 1) is off² / 2

    model = Experiment("digits-rotation", "avae", "quick").build(0)
    monkeypatch.setattr(model, "through", through)
    monkeypatch.setattr(affine_runs, "misfit", lambda kind, x, made: torch.zeros(len(x)))
    x, pose = torch.rand(400, 1, 12, 12), torch.ones(400, 1)
    evidence = log(sigma * sqrt(2 * pi) / (2 * pi))
    found = affine_runs.bound(model, x, pose)
    assert found.mean() == pytest.approx(-evidence, abs=0.1)
    off = affine_runs.bound(model, x, pose + 2 * sigma)
    assert off.mean() > found.mean() + 0.5  # a pose beside the best one is a worse bound


def test_a_bound_lies_above_what_many_samples_say():
    """Minus the logarithm of p(x), by importance sampling; and above the loss at the mean of z."""
    torch.manual_seed(0)
    model = Experiment("digits-rotation", "vae", "quick").build(0).eval()
    x = torch.rand(3, 1, 12, 12)
    with torch.no_grad():
        mean, log_variance = model.vae.encode(x)
        q = torch.distributions.Normal(mean, (log_variance / 2).exp())
        p = torch.distributions.Normal(0.0, 1.0)
        weights = []
        for _ in range(500):
            z = q.sample()
            ratio = (p.log_prob(z) - q.log_prob(z)).sum(1)
            weights.append(ratio - affine_runs.misfit("bernoulli", x, model.vae.decode(z)))
    evidence = torch.stack(weights).logsumexp(0) - log(500)
    found = affine_runs.bound(model, x)
    assert (found > -evidence - 0.2).all()
    again = affine_runs.bound(model.train(), x)
    assert torch.equal(found, again) and all(part.training for part in model.modules())


def test_measuring_leaves_a_model_as_it_was():
    model = Experiment("digits-rotation", "avae", "quick").build(0).train()
    own = model.search

    def failing(objective, generator):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        affine_runs.measure(model, torch.rand(2, 1, 12, 12), failing)
    assert model.search is own and all(part.training for part in model.modules())


def test_how_far_grids_reach():
    """A cell in a corner, by hand; and cut where a drawn pose brings it beyond the rim."""
    grid = torch.zeros(1, 4, 4)
    grid[0, 0, 0] = 1  # its middle lies at (-1.5, -1.5)
    away, moved = 1.5 * 2**0.5, (1.5 + 0.2 * 3) * 2**0.5
    assert affine_runs.reach(grid, Poses(2), 6).item() == pytest.approx(away)
    assert affine_runs.reach(grid, Poses(2, True), 6).item() == pytest.approx(moved)
    many = grid.expand(500, 4, 4)
    assert affine_runs.cut(many, Poses(2), 6) == 0  # 2.12 of 3 cells
    share = affine_runs.cut(many, Poses(2), 4) / 500
    # beyond 2 along either axis: where the cosine is more than 2 / 2.12
    assert share == pytest.approx(4 * 2 * acos(2 / away) / (2 * pi), abs=0.06)


@pytest.mark.slow
def test_reuse_over_poses():
    found = beside(6, Poses(2).numbers, 40)
    assert found.parameters["AVAE"] == found.parameters["VAE"] == 119_565
    assert found.parameters["VAE, with numbers for the pose"] - found.parameters["AVAE"] == 4802
    more = found.spread["AVAE"] - found.spread["VAE"]
    assert more == pytest.approx(6.977, abs=1e-3)  # log2 of 126 rotations
    assert found.entropy["AVAE"] == found.entropy["VAE"]


class Turned(nn.Module):
    """One VAE at K quarter turns, each undone, which move pixels whole: all that it makes of x."""

    def __init__(self, vae: VAE, copies: int):
        super().__init__()
        self.vae, self.copies = vae, copies

    def forward(self, x):
        made = [self.vae(x.rot90(k, (2, 3))).rot90(-k, (2, 3)) for k in range(self.copies)]
        return torch.cat(made, 1)


@pytest.mark.parametrize("copies", [2, 3])
def test_tied_copies_counted_once_are_as_many_times_the_contexts(copies):
    """What `beside` takes from a formula, K times the contexts of each parameter, by counting."""
    with without_weights():
        vae = VAE(2, 8, width=0.25)
        counts = [count_contexts(m, (1, 1, 8, 8)) for m in (vae, Turned(vae, copies))]
    one, many = (count.quantities() for count in counts)
    assert many.expected_spread - one.expected_spread == pytest.approx(log2(copies))
    assert many.entropy == pytest.approx(one.entropy)
