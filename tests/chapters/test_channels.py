"""Chapter 12: what is trained, baselines that store no more, and settings that are used."""

import json

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch

from reuseprior.chapters import channels, channels_runs
from reuseprior.report import campaign
from reuseprior.training import Protocol
from reuseprior.training.baselines import SMALL, WIDE, baseline, listed, parameters_of
from tests.chapters.printed import falsified, table


def test_every_network_that_does_not_fold_has_a_rival_of_its_size():
    found = listed(campaign.planned("12-channel-sharing"))
    assert len({one.name for one in found}) == len(found)
    assert SMALL in found and WIDE in found
    assert {one.kind for one in found} == {
        "plain", "narrower", "channels (depthwise)", "channels (full)", "channels (full, norms)",
        "channels (depthwise, pointwise)",
    }  # fmt: skip
    for one in found:
        if one.sharing != "none" and "norms" not in one.sharing:
            other = baseline(one.model, parameters_of(one))
            assert other in found
            assert 0.94 * parameters_of(one) < parameters_of(other) <= parameters_of(one)


@pytest.mark.slow
def test_clustering_records_what_quantising_costs(tmp_path):
    short = Protocol.load("quick", epochs=1, image_size=8, test_image_size=8, train_images=128)
    options = {"kernels": True, "root": tmp_path, "progress": False, "tau": 100.0}
    found = {
        penalty: channels_runs.clustering(penalty, "digits", short, **options)
        for penalty in ("none", "kernels")
    }
    layer = next(iter(found["none"].weights))
    gaps = {penalty: one.gaps(layer) for penalty, one in found.items()}
    assert gaps["none"].shape == (len(found["none"].weights[layer]),)
    assert gaps["kernels"].mean() < gaps["none"].mean()
    weights, members = (getattr(found["none"], key)[layer] for key in ("weights", "members"))
    nearest = [min((w - m).norm() for m in members) for w in weights.flatten(0, 1)]
    torch.testing.assert_close(gaps["none"], torch.stack(nearest))
    for path in tmp_path.glob("clustering/*/summary.json"):
        assert 0 <= json.loads(path.read_text())["quantised_test_accuracy"] <= 1
    assert channels_runs.table(list(found.values())).penalty.tolist() == ["none", "kernels"]


def test_settings_of_imagenet_choose_the_runs_and_those_of_figure_3_8_the_basis(monkeypatch):
    row = next(r for _, r in table("bidart/chapter-3-table-6").iterrows() if r.factor == "2")
    before = channels.on_imagenet(row, "top1")[0].config["protocol"]

    def print_otherwise(name):
        falsified(monkeypatch, "bidart/chapter-3-text", f"bidart-3-{name}", "value")

    for name, key in (("epochs", "epochs"), ("batch", "batch_size"), ("rate", "learning_rate")):
        print_otherwise(f"imagenet-{name}")
        assert channels.on_imagenet(row, "top1")[0].config["protocol"][key] != before[key]
    print_otherwise("basis")
    assert channels_runs.printed("figure 3.8: basis weights") == 17
    print_otherwise("cluster-epochs")
    assert channels_runs.setup("full")[1].epochs == 76


def test_kernels_stand_in_rows_of_channels_and_every_kind_has_a_name():
    fig, axes = plt.subplots(1, 3)
    weight = torch.arange(32 * 9.0).reshape(32, 1, 3, 3)
    channels_runs.kernels(axes[0], weight, "two rows", columns=16)
    drawn = torch.as_tensor(axes[0].images[0].get_array())
    assert drawn.shape == (6, 48) and torch.equal(drawn[3:, 3:6], weight[17, 0])
    kinds, nan = ["plain", "channels (full)", "channels (full)"], float("nan")
    columns = {"parameters": [700, 200, 100], "P_G": [16.0, 14.0, 13.0],
               "accuracy": [60.0, 55.0, 50.0], "sd": [1.0, nan, 2.0]}  # fmt: skip
    channels_runs.all_kinds(axes[1:], pd.DataFrame({"kind": kinds} | columns))
    names = [text.get_text() for text in axes[2].get_legend().get_texts()]
    assert names == ["channels (full)", "plain"] and axes[1].get_xlim() == (100, 1000)
    plt.close(fig)
