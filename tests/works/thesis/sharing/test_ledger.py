"""Chapter 4's claims on trained models: which runs judge them, and what they say until then."""

import json
from dataclasses import asdict

import pandas as pd
import pytest

from reuseprior import paths
from reuseprior.press import published
from reuseprior.training import Protocol
from reuseprior.works.thesis.sharing import experiments
from reuseprior.works.thesis.sharing import ledger as entries_of

PLACES = ("4.1.3", "4.5.3", "4.5.4", "4.5.6")


def claims():
    """The claims on trained models, by id."""
    found = [e for place in PLACES for e in entries_of.claims(f"thesis, section {place}")]
    found += entries_of.claims("thesis, table 4.2")
    return {entry.id: entry for entry in found}


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    return tmp_path


def record(root, label, seed, accuracy, *, last=0.0, parameters=1_000_000, **changes):
    """A run at the protocol that judges a model; `last` is what its last epoch gained."""
    model, sharing = experiments.recipe_of(label)
    protocol = experiments.RESNETS if label.startswith("ResNet") else experiments.PROTOCOLS[0]
    plan = Protocol.load(protocol, model=model)
    folder = root / f"train-{protocol}" / f"{label}-{seed}"
    folder.mkdir(parents=True)
    config = {
        "model": model, "sharing": sharing, "data": "cifar10", "seed": seed,
        "images": {"validation": 5000}, "parameters": parameters,
        "protocol": asdict(plan) | changes,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    summary = {"state": "finished", "test_accuracy": accuracy}
    (folder / "summary.json").write_text(json.dumps(summary))
    course = [accuracy - last] * (plan.epochs - 1) + [accuracy]
    pd.DataFrame({"validation_accuracy": course}).to_csv(folder / "metrics.csv", index=False)


def test_without_runs_every_claim_is_open_and_says_the_commands(root):
    found = claims()
    printed = published.load("thesis/chapter-4-text")
    assert set(found) == set(printed[printed["value"] == "in words"].id)
    for entry in found.values():
        assert (entry.kind, entry.verdict) == ("measured", "open")
        assert entry.note.count("`reuseprior train ") == 2
    note = found["thesis-4-text-scaled-back-resnet-56"].note
    assert "resnet56-cifar --sharing all_but_bn --data cifar10 --protocol cifar-resnet`" in note


def test_claims_are_judged_by_settled_runs_of_the_campaign(root):
    for seed, wins in enumerate((0.01, 0.011)):
        record(root, "ResNet-56-shared", seed, 0.91 + wins)
        record(root, "ResNet-20", seed, 0.90 + wins)
        record(root, "V2-S-shared", seed, 0.80 + wins, parameters=3_000_000)
        record(root, "V2-B0", seed, 0.80 + 10 * wins, parameters=6_000_000)
    found = claims()
    resnet = found["thesis-4-text-scaled-back-resnet-56"]
    assert resnet.verdict == "claim holds" and resnet.computed == pytest.approx(1.0)
    assert "36 epochs, by accuracy in per cent on the test images" in resnet.note
    assert found["thesis-4-text-shared-cifar-10"].verdict == "claim fails"
    assert found["thesis-4-text-efficient-cifar-10"].verdict == "claim holds"
    assert found["thesis-4-text-shared-cifar-100"].verdict == "open"


def test_runs_that_still_improved_or_went_otherwise_judge_nothing(root):
    for seed in (0, 1):
        record(root, "ResNet-56-shared", seed, 0.91, last=0.02)
        record(root, "ResNet-20", seed, 0.90)
        record(root, "V2-S-shared", seed, 0.91)
        record(root, "V2-B0", seed, 0.90, epochs=31)
    assert {entry.verdict for entry in claims().values()} == {"open"}
