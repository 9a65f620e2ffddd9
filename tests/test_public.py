"""Functions that users call refuse what is of another type in a sentence, as the commands do."""

import re
from importlib import import_module
from itertools import product

import pytest
from torch import nn

from reuseprior import data, results, sharing, training
from reuseprior import revolver as rv
from reuseprior.contexts import count_contexts
from reuseprior.errors import UserError
from reuseprior.measures.measuring import Conventions, measure
from reuseprior.models import catalog

CALLS = {  # by what is given
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
    **{
        f"train({name})": lambda given, name=name: train(**{name: given})
        for name in ("data", "protocol", "folder", "seed")
    },
    "Settings.load": rv.Settings.load,
    "Search.start": lambda given: rv.Search.start(given, DIGITS),
    "Search.start(data)": lambda given: rv.Search.start("quick", given),
    "Search.start(folder)": lambda given: rv.Search.start("quick", DIGITS, given),
    "Search.start(seed)": lambda given: rv.Search.start("quick", DIGITS, seed=given),
    "Run.read": results.Run.read,
    "results.runs": results.runs,
    "Blueprint.from_json": rv.Blueprint.from_json,
}
DIGITS = data.load("digits")
WRONG = [3, 2.5, True, b"V2-B0", [], {}, object(), nn.Linear, "no such thing"]


def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def train(**given):
    right = {"model": net(), "data": DIGITS, "protocol": training.Protocol.load("quick")}
    training.train(**{**right, "folder": "never", "seed": 0, "progress": False, **given})


# what is right, or means what it says
FITS = {"train(seed)": 3, "Search.start(seed)": 3}
FITS |= dict.fromkeys(("train(folder)", "Search.start(folder)", "data.load(root)"), WRONG[-1])


@pytest.mark.parametrize("call", CALLS)
def test_another_type_is_refused_in_one_sentence(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    for given in (one for one in WRONG if one != FITS.get(call)):
        with pytest.raises(UserError, match=r"\w") as caught:
            CALLS[call](given)
        sentence = str(caught.value)
        assert "\n" not in sentence and re.search(r": \w|; ", sentence), (given, sentence)
    assert not list(tmp_path.iterdir())


def test_a_seed_is_a_whole_number_that_generators_take():
    for call, seed in product(("train(seed)", "Search.start(seed)"), (-1, 2**63, 1.0, "0", True)):
        with pytest.raises(UserError, match=r"the seed is .*: give a whole number from 0 to 2\*\*"):
            CALLS[call](seed)


RENAMED = [  # room, old name, new name
    ("", "record_model", "trace_model"),
    ("contexts", "record_model", "trace_model"),
    ("contexts", "RecordedModel", "TracedModel"),
    ("contexts", "traits", "op_metadata"),
    ("models", "Recipe", "ModelConfig"),
    ("revolver", "diff", "changes"),
    ("sharing", "WAYS", "SPECS"),
]


@pytest.mark.parametrize(("room", "old", "new"), RENAMED)
def test_an_old_name_gives_the_new_one_and_says_so(room, old, new):
    module = import_module(f"reuseprior.{room}".rstrip("."))
    with pytest.warns(FutureWarning, match=f"{old} is called {new} now"):
        assert getattr(module, old) is getattr(module, new)
    with pytest.raises(AttributeError, match=f"{module.__name__!r} has no attribute 'nothing'"):
        module.nothing  # noqa: B018
