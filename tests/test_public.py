"""Functions that users call refuse what is of another type in a sentence, as the commands do."""

import re

import pytest
from torch import nn

from reuseprior import data, results, sharing, training
from reuseprior import revolver as rv
from reuseprior.contexts import count_contexts
from reuseprior.errors import UserError
from reuseprior.measures.measuring import Conventions, measure
from reuseprior.models import catalog

CALLS = {  # what is given at the place of ?, by a name
    "count_contexts(?)": lambda given: count_contexts(given, (1, 64)),
    "count_contexts(shape)": lambda given: count_contexts(net(), given),
    "catalog.build": catalog.build,
    "measure": lambda given: measure(given, Conventions(image_size=32)),
    "sharing.tie(?)": sharing.tie,
    "sharing.tie(policy)": lambda given: sharing.tie(net(), given),
    "sharing.apply(?)": lambda given: sharing.apply(given, "all_but_bn"),
    "sharing.apply(sharing)": lambda given: sharing.apply(net(), given),
    "data.load": data.load,
    "data.load(root)": lambda given: data.load("digits", given),
    "Protocol.load": training.Protocol.load,
    "train(?)": lambda given: train(model=given),
    "train(data)": lambda given: train(images=given),
    "train(protocol)": lambda given: train(protocol=given),
    "train(folder)": lambda given: train(folder=given),
    "train(seed)": lambda given: train(seed=given),
    "Settings.load": rv.Settings.load,
    "Search.start": lambda given: rv.Search.start(given, data.load("digits")),
    "Search.start(data)": lambda given: rv.Search.start("quick", given),
    "Search.start(folder)": lambda given: rv.Search.start("quick", data.load("digits"), given),
    "Search.start(seed)": lambda given: rv.Search.start("quick", data.load("digits"), seed=given),
    "Run.read": results.Run.read,
    "results.runs": results.runs,
    "Blueprint.from_json": rv.Blueprint.from_json,
}
WRONG = [3, 2.5, True, b"V2-B0", [], {}, object(), nn.Linear, "no such thing"]


def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def train(model=None, images=None, protocol=None, folder="never", seed=0):
    model = net() if model is None else model
    images = data.load("digits") if images is None else images
    protocol = training.Protocol.load("quick") if protocol is None else protocol
    return training.train(model, images, protocol, folder, seed=seed, progress=False)


# what is right, or means what it says
FITS = {("train(seed)", 3), ("Search.start(seed)", 3), ("data.load(root)", "no such thing")}
FITS |= {("train(folder)", "no such thing"), ("Search.start(folder)", "no such thing")}


@pytest.mark.parametrize("given", WRONG, ids=[type(w).__name__ for w in WRONG])
@pytest.mark.parametrize("call", CALLS)
def test_another_type_is_refused_in_one_sentence(tmp_path, monkeypatch, call, given):
    monkeypatch.chdir(tmp_path)
    if isinstance(given, (int, str)) and type(given) is not bool and (call, given) in FITS:
        return
    with pytest.raises(UserError, match=r"\w") as caught:
        CALLS[call](given)
    sentence = str(caught.value)
    assert "\n" not in sentence and re.search(r": \w|; ", sentence), sentence
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", [-1, 2**63, 1.0, "0", True])
def test_a_seed_is_a_whole_number_that_generators_take(seed):
    for call in ("train(seed)", "Search.start(seed)"):
        with pytest.raises(UserError, match=r"the seed is .*: give a whole number from 0 to 2\*\*"):
            CALLS[call](seed)


def test_a_policy_that_is_none_says_what_to_pass():
    sentence = "the policy is 3: pass one of none, all_but_bn, same_shape, with_bn as a text, or"
    with pytest.raises(sharing.SharingError, match=sentence):
        sharing.tie(net(), 3)
