"""Small transformers on bytes: what each network is compared with, and a training."""

from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from reuseprior import results
from reuseprior.chapters import reuse, reuse_texts
from reuseprior.errors import UserError
from reuseprior.models import without_weights
from reuseprior.report import campaign
from reuseprior.training import Protocol, train

PLANNED = list(campaign.planned(kind="next-byte"))
NETWORKS = sorted({(one.model, one.sharing) for one in PLANNED})


@cache
def size(model, spec="none"):
    with without_weights():
        return sum(p.numel() for p in reuse_texts.build(model, spec).parameters())


def layers_run(model, spec):
    return 12 if spec.startswith("layers:3-6x2") else int(model.partition("x")[0])


def test_each_network_is_beside_plain_ones_of_equal_cost():
    assert len(NETWORKS) >= 40 and {one.seed for one in PLANNED} == {0, 1, 2}
    plain = [model for model, spec in NETWORKS if spec == "none"]
    shared = [network for network in NETWORKS if network[1] != "none"]
    assert len(shared) >= 20 and max(size(model) for model in plain) < 2.5e6
    for model, spec in shared:
        stored, width = size(model, spec), model.partition("x")[2]
        assert any(0.9 * stored <= size(one) <= stored for one in plain), (model, spec)
        assert f"{layers_run(model, spec)}x{width}" in plain  # the same multiply-adds


def test_no_network_sees_what_it_predicts():
    torch.manual_seed(0)
    model = reuse_texts.build("2x8").eval()
    x = torch.randint(256, (1, 12))
    other = x.clone()
    other[0, 8:] = 7
    assert torch.allclose(model(x)[0, :8], model(other)[0, :8], atol=1e-6)
    assert not torch.allclose(model(x)[0, 8:], model(other)[0, 8:], atol=1e-3)


def test_windows_cover_the_text():
    text = bytes(range(256)) * 20
    windows = reuse_texts.Windows.of("count", text)
    pieces = torch.cat([windows.train, windows.test])
    assert pieces.shape == ((len(text) - 1) // 128, 129)
    assert torch.equal(pieces[1:, 0], pieces[:-1, -1]) and bytes(pieces[0].tolist()) == text[:129]
    with pytest.raises(UserError, match="text 'short' has 300 bytes: give one of 2,561 or more"):
        reuse_texts.Windows.of("short", bytes(300))
    assert len(reuse_texts.documentation().train) > 1000


@pytest.mark.slow
def test_training_learns_and_repeats(tmp_path):
    text = reuse_texts.Windows.of("count", bytes(range(256)) * 20)

    def trained(folder, epochs):
        torch.manual_seed(0)
        model = reuse_texts.build("4x16", "layers:2,cycle")
        protocol = Protocol.load("next-byte", batch_size=4, epochs=epochs, learning_rate=0.32)
        return train(model, text, protocol, folder, seed=0, task=reuse_texts.NextByte(),
                     progress=False)  # fmt: skip

    run = trained(tmp_path / "run", 4)
    bits = run.metrics["test_bits"]
    assert bits.iloc[-1] < bits.iloc[0] - 0.5 and run.config["task"] == "next byte"
    assert run.summary["test_bits"] == pytest.approx(run.summary["test_loss"] / 0.6931472, rel=1e-5)
    again = trained(tmp_path / "again", 4)
    assert again.metrics["test_loss"].tolist() == run.metrics["test_loss"].tolist()


def test_trained_networks_in_pairs(monkeypatch):
    def run(model, spec, seed, bits):
        config = {"model": model, "sharing": spec, "seed": seed, "parameters": size(model, spec)}
        folder = Path("reuse-texts") / f"{model}-{spec}-{seed}"
        return SimpleNamespace(
            folder=folder, name=folder.name, config=config, summary={"test_bits": bits}
        )

    shared = "layers:2,cycle"
    runs = [run("4x16", "none", 0, 3.0), run("4x16", "none", 1, 4.0), run("4x16", shared, 0, 3.75)]
    monkeypatch.setattr(results, "finished_runs", lambda *_: runs)
    table = reuse_texts.trained()
    assert table[["quality", "seeds"]].to_numpy().tolist() == [[-3.5, 2], [-3.75, 1]]
    assert table["stored"].tolist() == [size("4x16"), size("4x16", shared)]
    assert table["multiply_adds"].nunique() == table["used"].nunique() == 1
    assert table["P_G"].is_monotonic_decreasing  # as many uses of fewer parameters
    (row,) = reuse.beside_plain(table, "multiply_adds").to_dict("records")
    assert (row["sharing"], row["gain"]) == (shared, -0.25)
    assert reuse.beside_plain(table, "stored").empty
