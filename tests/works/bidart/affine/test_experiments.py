"""The chapter's experiments: what is built, recorded, resumed and compared."""

from dataclasses import replace

import pytest

from reuseprior.models.affine_vae import Poses
from reuseprior.works.bidart.affine import experiments
from reuseprior.works.bidart.affine.experiments import ARMS, CASES, SCALES, Experiment, run
from reuseprior.works.bidart.affine.reuse import beside


@pytest.fixture
def tiny(monkeypatch):
    """Two epochs on a few digits."""
    changes = {"epochs": 2, "batch_size": 32, "train_images": 64, "test_images": 20}
    scale = replace(SCALES["quick"], changes={2: changes}, width=0.25, tested=20)
    monkeypatch.setitem(SCALES, "tiny", scale)


def test_arms_have_the_numbers_that_the_text_compares():
    numbers = {
        (case, arm): Experiment(case, arm, "full").numbers
        for case in CASES for arm in ("avae", "vae")
    }  # fmt: skip
    assert numbers["mnist-rotation", "avae"] == 6 and numbers["mnist-rotation", "vae"] == 7
    assert numbers["mnist-rotation-translation", "vae"] == 9
    assert numbers["sofa-rotation", "avae"] == 16 and numbers["chair-rotation", "vae"] == 19
    assert numbers["chair-rotation-translation", "vae"] == 22


@pytest.mark.parametrize("scale", SCALES)
def test_matched_arms_spend_as_many_passes(scale):
    case = "digits-rotation" if scale == "quick" else "mnist-rotation"
    avae, matched = (Experiment(case, arm, scale).protocol.epochs for arm in ("avae", "matched"))
    each = experiments.LEARNING + experiments.search_passes(case, scale)
    assert matched * experiments.LEARNING == pytest.approx(avae * each, rel=0.05)


@pytest.mark.parametrize("case", CASES)
def test_every_experiment_can_be_built(case):
    one = Experiment(case, "avae", "quick" if "digits" in case else "cpu")
    model = one.build(0)
    assert (model.vae.side, model.likelihood) == (one.task.side, one.task.likelihood)
    assert one.task.poses == CASES[case].poses and one.protocol.channels == 1


def test_runs_are_recorded_and_compared(tiny, tmp_path):
    for arm in ("avae", "vae"):
        run(Experiment("digits-rotation", arm, "tiny"), seed=0, root=tmp_path, progress=False)
    found = experiments.trained("tiny", tmp_path)
    assert list(found.arm) == ["avae", "vae"] and list(found.numbers) == [6, 7]
    assert list(found.passes) == [3 + 6 + 2 * 2 + 2, 3]
    avae, vae = found.mse
    better = experiments.improvements(found).loc["digits-rotation"]
    assert better.improvement == pytest.approx(100 * (1 - avae / vae)) and better.seeds == 1
    turned = experiments.angles("tiny", "digits-rotation", tmp_path)
    assert len(turned) == 2 * len(experiments.ANGLES)
    assert turned.loss.notna().all() and turned.turns.between(0, 1).all()
    again = experiments.angles("tiny", "digits-rotation", tmp_path)
    run(Experiment("digits-rotation", "avae", "tiny"), seed=0, root=tmp_path, progress=False)
    assert experiments.angles("tiny", "digits-rotation", tmp_path).equals(again)


def test_nothing_recorded(tmp_path):
    assert experiments.trained("cpu", tmp_path).empty
    assert experiments.improvements(experiments.trained("cpu", tmp_path)).empty


def test_other_arms_are_upright_or_larger():
    upright, wide = (Experiment("mnist-rotation", arm, "cpu") for arm in ("upright", "wide"))
    assert upright.task.poses is None and upright.build(0).search is None
    assert wide.width == 2 and wide.numbers == 7
    assert all(arm.says for arm in ARMS.values())


@pytest.mark.slow
def test_reuse_over_poses():
    found = beside(6, Poses(2).numbers, 40)
    assert found.parameters["AVAE"] == found.parameters["VAE"] == 119_565
    assert found.parameters["VAE, with numbers for the pose"] - found.parameters["AVAE"] == 4802
    more = found.spread["AVAE"] - found.spread["VAE"]
    assert more == pytest.approx(6.977, abs=1e-3)  # log2 of 126 rotations
    assert found.entropy["AVAE"] == found.entropy["VAE"]
