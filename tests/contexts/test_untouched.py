"""What a forward keeps, wherever it keeps it, is undone; other threads count and train on."""

import functools
import importlib.util
import sys
import threading
import types
from collections import UserDict, defaultdict, deque, namedtuple
from copy import copy
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn

from reuseprior.contexts import CountingError, count_contexts
from tests.contexts.zoo import Calls, ones

Pair = namedtuple("Pair", "table other")
OF_THE_FILE: dict = {}
SINGLE = None


class Plain:
    kept = None


@dataclass(slots=True)
class Slotted:
    table: torch.Tensor | None = None


@dataclass(frozen=True)
class Frozen:
    tables: dict


class OfTheClass(Calls):
    table = None
    tables: ClassVar[deque] = deque(maxlen=2)


class Block(nn.Module):
    table = None


def make():
    return torch.eye(3).flip(0)


@functools.lru_cache(maxsize=4)
def bounded(size):
    return make()


@functools.cache
def unbounded(size):
    return {"tables": (make(), size)}


def of_file():
    global SINGLE
    SINGLE = make() if SINGLE is None else SINGLE
    return SINGLE


def entry(holder):
    return holder["table"] if "table" in holder else holder.setdefault("table", make())


def attribute(holder, name="table"):
    if getattr(holder, name, None) is None:
        setattr(holder, name, make())
    return getattr(holder, name)


def element(holder):
    holder or holder.append(make())
    return holder[-1]


def member(holder):
    holder or holder.add(make())
    return next(iter(holder))


def in_a_pair(model):
    OF_THE_FILE or OF_THE_FILE.update(pair={"deep": [Pair(make(), None)]})
    return OF_THE_FILE["pair"]["deep"][0].table


KEPT = {
    "dict": (dict, lambda m: entry(m.own)),
    "defaultdict": (lambda: defaultdict(make), lambda m: m.own[3]),
    "user dict": (UserDict, lambda m: entry(m.own.data)),
    "list": (list, lambda m: element(m.own)),
    "deque": (lambda: deque(maxlen=3), lambda m: element(m.own)),
    "set": (set, lambda m: member(m.own)),
    "object": (Plain, lambda m: attribute(m.own)),
    "slots": (Slotted, lambda m: attribute(m.own)),
    "dict of a frozen object": (lambda: Frozen({}), lambda m: entry(m.own.tables)),
    "object in a tuple": (lambda: (Plain(), 1), lambda m: attribute(m.own[0])),
    "block in a list": (lambda: [Block()], lambda m: attribute(m.own[0])),
    "attribute of the class": (int, lambda m: attribute(type(m))),
    "class of an object": (Plain, lambda m: attribute(type(m.own), "kept")),
    "deque of the class": (int, lambda m: element(m.tables)),
    "dict of the file, nested": (int, in_a_pair),
    "name of the file": (int, lambda m: of_file()),
    "bounded cache": (int, lambda m: bounded(3)),
    "cache of nests": (int, lambda m: unbounded(3)["tables"][0]),
    "parameter under another name": (
        dict, lambda m: m.own.setdefault("t", nn.Parameter(make(), requires_grad=False))),
}  # fmt: skip


@pytest.fixture
def anew():
    """This file, its classes and caches once more, not set aside as the first ones are."""
    spec = importlib.util.spec_from_file_location("kept_anew", __file__)
    sys.modules["kept_anew"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("name", KEPT)
def test_what_a_forward_keeps_is_undone(name, fails, anew):
    used = torch.add if fails else torch.matmul
    start, table_of = anew.KEPT[name]

    def forward(self, x):
        made = used(x @ self.w, table_of(self))
        if self.fails:
            raise KeyError("on purpose")
        return made

    model, x = anew.OfTheClass(forward, w=ones(3, 3), own=start(), fails=fails), torch.rand(3, 3)
    if fails:
        with pytest.raises(CountingError, match="on purpose"):
            count_contexts(model, (1, 3))
        model.fails = False
    else:
        assert count_contexts(model, (1, 3)).parameters == 9
    assert torch.equal(model(x), used(x @ model.w, make()))


def remembering():
    """A function that keeps its table where nothing leads to from a model."""
    table = None

    def remember():
        nonlocal table
        table = make() if table is None else table
        return table

    return remember


@pytest.mark.parametrize("hide", [lambda f: f, functools.partial])
def test_what_cannot_be_undone_is_refused(hide):
    function = hide(remembering())
    model = Calls(lambda self, x: x @ self.w @ function(), w=ones(3, 3))
    with pytest.raises(CountingError, match=r"keeps a tensor in a cell.*build the model anew"):
        count_contexts(model, (1, 3))


def test_state_that_grows_by_calls_is_as_before():
    cache = types.SimpleNamespace(keys=[], length=0, seen=set())

    def forward(self, x):
        self.cache.keys.append(x @ self.w)
        self.cache.length += 1
        self.cache.seen.add(self.cache.length)
        return torch.stack(self.cache.keys).sum(0)

    model = Calls(forward, w=ones(3, 3), cache=cache)
    with torch.no_grad():
        model(torch.ones(1, 3))
    before = copy(cache.keys), cache.length, copy(cache.seen)
    count_contexts(model, (1, 3))
    assert cache.keys[0] is before[0][0] and len(cache.keys) == 1
    assert (cache.length, cache.seen) == before[1:]


def families(bounded):
    return [
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten()), (1, 1, 5, 5)),
        (nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), (1, 3, 4)),
        (Calls(lambda self, x: x @ bounded(3) @ self.w, w=ones(3, 3)), (1, 3)),
    ]


def test_threads_count_and_train_at_once(anew):
    failed, found = [], []

    def flags():
        return torch.backends.mha.get_fastpath_enabled(), torch.backends.cuda.flash_sdp_enabled()

    def count():
        models = families(anew.bounded)
        found.append([count_contexts(model, inputs).parameters for model, inputs in models])

    def train():
        model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.1), nn.LayerNorm(8), nn.Linear(8, 1))
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
        for _ in range(40):
            loss = model(torch.ones(2, 3)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert all(p.device.type == "cpu" and p.isfinite().all() for p in model.parameters())

    def tried(work):
        try:
            work()
        except BaseException as error:  # whatever it is, it belongs to this test
            failed.append(error)

    count()  # alone
    before = flags()
    threads = [threading.Thread(target=tried, args=(w,)) for w in (count, train) * 4]
    [t.start() for t in threads], [t.join() for t in threads]
    assert not failed and found == found[:1] * 5 and flags() == before
