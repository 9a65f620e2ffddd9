"""The ledger of Bidart's chapter 4: kinds, verdicts, and what a misprint does to them."""

from collections import Counter

import pytest

from reuseprior import paths, results
from reuseprior.press import published
from reuseprior.works.bidart import affine as work
from reuseprior.works.bidart.affine import experiments
from reuseprior.works.bidart.affine import ledger as entries_of


@pytest.fixture
def no_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    return tmp_path


def entries():
    found = [entry for part in work.PARTS.values() for entry in part()]
    assert len({entry.id for entry in found}) == len(found)
    return {entry.id: entry for entry in found}


def test_every_number_is_judged_once(no_runs):
    found = entries()
    rows = published.load(*(f"bidart/chapter-4-table-4-{n}" for n in (1, 2)))
    expected = {f"{row.id}/improvement" for row in rows.itertuples()}
    for table in ("setup", "text", "claims"):
        expected |= set(published.load(f"bidart/chapter-4-{table}").id)
    assert found.keys() == expected
    assert Counter((e.kind, e.verdict) for e in found.values()) == {
        ("setting", "used"): 19, ("quoted", "confirmed"): 2, ("computed", "reproduced"): 7,
        ("proved", "holds"): 1, ("proved", "corrected"): 4, ("measured", "open"): 22,
    }  # fmt: skip
    assert all("the package has it" in e.note for e in found.values() if e.kind == "setting")


@pytest.fixture
def misprint(monkeypatch):
    """Change a printed value."""
    load = published.load

    def change(identity, text, column="value"):
        def changed(*names):
            rows = load(*names)
            if "id" in rows:
                rows.loc[rows.id == identity, column] = text
            return rows

        monkeypatch.setattr(published, "load", changed)

    return change


def setting_names():
    rows = published.load("bidart/chapter-4-setup").id
    return [name for name in rows if name.split("-setup-")[1] not in ("image", "classes")]


@pytest.mark.parametrize("name", setting_names())
def test_a_setting_that_were_another_is_noticed(no_runs, misprint, name):
    misprint(name, "12")
    assert "the package has it" not in entries()[name].note


def test_latent_sizes_follow_from_the_settings(no_runs, misprint):
    misprint("bidart-4-setup-shape-mnist", "5")
    assert entries()["bidart-4-text-mnist-rotation"].verdict == "not reproduced"


def test_a_canvas_that_were_larger_would_hold_the_voxels(no_runs, misprint):
    misprint("bidart-4-setup-canvas-modelnet", "56")
    assert entries()["bidart-4-claim-no-distortion-modelnet"].verdict == "unsaid"


def record(root, one, seed, mse, *, losses=(3.0, 1.0)):
    """A finished training of an experiment, with such a test MSE."""
    config = one.about() | {"seed": seed, "parameters": 1, "protocol": {"epochs": len(losses)}}
    recording = results.Recording.start(one.folders(seed, root)[0], config, resume=False)
    recording.extend(
        {"epoch": n, "train_loss": x, "train_passes": 0.0} for n, x in enumerate(losses)
    )
    recording.finish({"test_mse": mse, "test_loss": losses[-1]})


def case(arm, scale="full", **rest):
    return experiments.Experiment("mnist-rotation", arm, scale, **rest)


@pytest.mark.parametrize(("mse", "verdict"), [(0.088, "within"), (0.07, "outside")])
def test_improvements_are_judged_by_runs_of_the_full_scale(no_runs, mse, verdict):
    for seed in range(3):
        for arm, value in (("avae", mse), ("vae", 0.1), ("plain", 0.5), ("matched", 0.2)):
            record(no_runs, case(arm), seed, value * (1 + 0.002 * seed * (arm == "avae")))
    found = entries()
    assert found["bidart-4-1-rotation/improvement"].verdict == verdict
    assert found["bidart-4-text-mnist-rotation-improvement"].verdict == verdict
    assert found["bidart-4-1-rotation-translation/improvement"].verdict == "open"
    assert found["bidart-4-text-mnist-higher"].verdict == "open"  # of another latent size


def test_half_a_pair_is_no_evidence(no_runs):
    record(no_runs, case("avae"), 0, 0.1)
    record(no_runs, case("plain"), 0, 0.1)
    assert entries()["bidart-4-1-rotation/improvement"].verdict == "open"


def test_how_much_higher_at_latent_size_4(no_runs):
    for seed in range(3):
        record(no_runs, case("plain", latent=4), seed, 0.115 + seed * 1e-4)
        record(no_runs, case("upright", latent=4), seed, 0.1)
    assert entries()["bidart-4-text-mnist-higher"].verdict == "within"


@pytest.mark.parametrize(
    ("avae", "verdict"),
    [(0.08, "claim holds"), (0.1, "undecided"), (0.12, "claim fails")],
)
def test_claims_are_tested_at_our_scale(no_runs, avae, verdict):
    for seed in range(3):
        record(no_runs, case("avae", entries_of.SCALE), seed, avae + seed * 1e-3)
        record(no_runs, case("vae", entries_of.SCALE), seed, 0.1 + seed * 1e-3)
    assert entries()["bidart-4-claim-mnist-rotation"].verdict == verdict


def test_the_angle_of_the_largest_loss(no_runs):
    for seed in range(3):
        config = case("upright").about() | {"seed": seed}
        recording = results.Recording.start(case("upright").folders(seed)[1], config, resume=False)
        top = 100 + 20 * (seed == 0)
        recording.extend(
            {"angle": a, "loss_as_is": -abs(a - top) + (500 if a > 180 else 0)}
            for a in experiments.ANGLES
        )
        recording.finish({})
    found = entries()["bidart-4-text-maximum"]
    assert found.computed == pytest.approx(320 / 3) and found.verdict == "within"
