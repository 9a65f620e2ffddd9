"""One place builds the model of a run, from what its configuration says."""

import json
from dataclasses import asdict
from functools import partial

import pytest
import torch
from torch import nn

from reuseprior import paths
from reuseprior.models import ModelConfig, ModelError
from reuseprior.sharing import SharingError
from reuseprior.training import Protocol

QUICK = vars(Protocol.load("quick"))


def test_the_seed_decides_the_initial_weights_and_the_callers_generator_does_not():
    torch.manual_seed(7)
    state = torch.get_rng_state()
    of = partial(ModelConfig.of, "V2-B0", QUICK, classes=10)
    one, same, other = (of(seed=seed).build() for seed in (1, 1, 2))
    assert torch.equal(one.stem.weight, same.stem.weight)
    assert not torch.equal(one.stem.weight, other.stem.weight)
    assert torch.equal(torch.get_rng_state(), state)


def test_layers_are_shared_and_lazy_ones_hold_nothing():
    config = ModelConfig("resnet20-cifar", "all_but_bn", classes=7, options={"width": 0.5})
    model, lazy = config.build(), config.build(lazy=True)
    shapes = [[p.shape for p in built.parameters()] for built in (model, lazy)]
    assert shapes[0] == shapes[1] and shapes[0][-1] == (7,)
    assert all(p.is_meta for p in lazy.parameters())
    assert model.blocks[0].conv1.weight is model.blocks[1].conv2.weight


def test_a_model_of_ones_own_takes_its_options_and_no_classes_it_did_not_ask_for():
    sizes = {"in_features": 3, "out_features": 2}
    config = ModelConfig("linear", options=sizes, factory=nn.Linear)
    assert config.build().weight.shape == (2, 3)
    plain = ModelConfig.of("torch.nn:Flatten", vars(Protocol()), classes=10)
    assert plain.options == {} and isinstance(plain.build(), nn.Flatten)


def test_what_would_do_nothing_is_refused():
    ignored = r"^bn_momentum = 0\.1, width = 0\.25 in protocol 'quick' w"
    with pytest.raises(ModelError, match=ignored):
        ModelConfig.of("torchvision:resnet18", QUICK)
    with pytest.raises(ModelError, match=r"options \{'width': 2\} are given and torchvision:resn"):
        ModelConfig("torchvision:resnet18", options={"width": 2}).build()
    with pytest.raises(SharingError, match="unknown sharing 'all'"):
        ModelConfig.of("V2-B0", QUICK, sharing="all").build()


@pytest.mark.parametrize("path", sorted(paths.RESULTS.glob("train-*/*/config.json")), ids=str)
def test_recorded_runs_say_their_models(path):
    run = json.loads(path.read_text())
    config = ModelConfig.recorded(run)
    known = asdict(Protocol()) | run["protocol"]
    again = ModelConfig.of(
        run["model"], known, sharing=run["sharing"], classes=run["classes"], seed=run["seed"]
    )
    assert config == again and config.about() == {key: run[key] for key in ("model", "sharing")}
    assert sum(p.numel() for p in config.build(lazy=True).parameters()) == run["parameters"]
