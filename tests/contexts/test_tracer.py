"""Tracing: the model is left as it was, and whatever a forward does is followed."""

import copy
import pickle
import random
from collections import OrderedDict, namedtuple
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint

from reuseprior.contexts import CountingError, count_contexts
from tests.contexts.zoo import Calls, counted, entries, ones


def cnn():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.ReLU(inplace=True),
        nn.Flatten(), nn.Linear(144, 2),
    )  # fmt: skip


# The model is left as it was --------------------------------------------------------------------


class Busy(nn.Module):
    """Does to itself what a forward may do."""

    def __init__(self, fails: BaseException | None):
        super().__init__()
        self.body = cnn()
        self.body[1].eval()
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.register_buffer("steps", torch.zeros(()))
        self.seen = None
        self.cache = {"sizes": [], "tables": {}}
        self.fails = fails
        self.hooked = 0
        self.body[0].register_forward_hook(self.count_call)

    def count_call(self, *_):
        self.hooked += 1

    def forward(self, x):
        self.seen = self.made_here = x
        self.cache["sizes"].append(len(x))
        self.cache["tables"][len(x)] = x
        self.body[2].register_forward_hook(self.count_call)
        self.steps += 1
        self.newest = nn.Parameter(torch.ones(2), requires_grad=False)
        self.register_buffer("late", x * 2)
        self.training = not self.training
        x = x + torch.randn(8) * random.random() * np.random.rand()
        assert self.hooked == 0 and not self.body[2].training
        x = self.frozen(self.body(x)) * self.newest
        if self.fails:
            raise self.fails
        return x


@pytest.mark.parametrize("fails", [None, KeyError("on purpose"), KeyboardInterrupt()], ids=repr)
def test_the_model_is_left_as_it_was(fails):
    model = Busy(fails).train()
    state = deepcopy(model.state_dict())
    tensors = {n: id(t) for n, t in model.state_dict(keep_vars=True).items()}
    attributes = {name: dict(m.__dict__) for name, m in model.named_modules()}
    modes = {name: m.training for name, m in model.named_modules()}
    hooks = dict(nn.modules.module._global_forward_hooks)
    torch.manual_seed(3), random.seed(4), np.random.seed(5)
    random_states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    fast_path = torch.backends.mha.get_fastpath_enabled()

    if fails:
        of = KeyboardInterrupt if isinstance(fails, KeyboardInterrupt) else CountingError
        with pytest.raises(of, match=r"failed in its forward .*KeyError: 'on purpose'|^$"):
            count_contexts(model, IMAGE)
    else:
        assert count_contexts(model, IMAGE).parameters > 0

    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    assert {n: id(t) for n, t in model.state_dict(keep_vars=True).items()} == tensors
    assert {name: m.training for name, m in model.named_modules()} == modes
    for name, module in model.named_modules():
        assert module.__dict__.keys() == attributes[name].keys(), name
        assert all(module.__dict__[key] is attributes[name][key] for key in attributes[name])
    assert model.steps == 0 and model.hooked == 0 and model.seen is None
    assert model.cache == {"sizes": [], "tables": {}} and not model.body[2]._forward_hooks
    assert dict(nn.modules.module._global_forward_hooks) == hooks
    assert torch.equal(torch.get_rng_state(), random_states[0])
    assert random.getstate() == random_states[1]
    assert np.random.get_state()[1].tolist() == random_states[2]
    assert torch.is_grad_enabled() and torch.backends.mha.get_fastpath_enabled() == fast_path


# Modes, types, devices and wrappers -------------------------------------------------------------


IMAGE = (1, 3, 8, 8)


@cache
def expected(prefix=""):
    return {prefix + name: counts for name, counts in counted(cnn(), IMAGE).items()}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64], ids=str)
def test_other_types(dtype):
    """The input made from a shape has the type of the model's parameters; no number is read."""
    model = cnn().to(dtype)
    for parameter in model.parameters():
        nn.init.constant_(parameter, float("nan"))
    assert counted(model, IMAGE) == expected()
    assert counted(model, torch.zeros(IMAGE, dtype=dtype)) == expected()
    assert counted(model.to("meta"), IMAGE) == expected()


@contextmanager
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


CONTEXTS = {
    "inference_mode": torch.inference_mode, "no_grad": torch.no_grad,
    "enable_grad": torch.enable_grad, "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "meta device": lambda: torch.device("meta"), "cpu device": lambda: torch.device("cpu"),
    "another default": float64,
}  # fmt: skip


@pytest.mark.parametrize("name", CONTEXTS)
def test_under_other_modes(name):
    model = cnn()
    with CONTEXTS[name]():
        assert counted(model, IMAGE) == expected()


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed(reentrant):
    model = Calls(lambda self, x: checkpoint(self.m, x, use_reentrant=reentrant), m=cnn())
    assert counted(model, IMAGE) == expected("m.")


@pytest.mark.slow
def test_wrapped():
    assert counted(nn.DataParallel(cnn()), IMAGE) == expected("module.")
    assert counted(torch.compile(cnn()), IMAGE) == expected("_orig_mod.")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu():
    model = cnn().cuda()
    assert counted(model, IMAGE) == expected()
    assert counted(model, torch.zeros(IMAGE, device="cuda")) == expected()
    model = Calls(lambda self, x: x + self.w + torch.zeros(3, device="cuda"), w=ones(3)).cuda()
    assert counted(model) == {"w": [1, 1, 1]}


# Parameters: shared, tied, viewed, derived ------------------------------------------------------


def test_shared_parameters_have_all_their_names():
    """A module used twice, or two of one weight: two ways on from the first use, one from there."""
    first, last = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    last.weight = first.weight
    for second, uses in ((first, ["0", "0"]), (last, ["0", "2"])):
        counts = count_contexts(nn.Sequential(first, nn.ReLU(), second), (1, 2), exact=True)
        (only,) = counts.parameter_counts
        assert only.counts.item() == 3 and sorted(only.uses) == uses
        assert (counts.parameters, counts.weight_nodes, only.weight_nodes) == (4, 8, 8)
        assert only.names == ("0.weight", "2.weight")


def test_split_and_transposed_twice():
    def forward(self, x):
        half, other = self.w.t().split(1, 1)
        return x @ half @ other.mT @ half

    counts = count_contexts(Calls(forward, w=ones(2, 3)), (1, 3), exact=True)
    assert entries(counts) == {"w": [[4] * 3, [1] * 3]}
    assert counts.weight_nodes == 9  # one half is used twice


class Reverse(torch.autograd.Function):
    forward = staticmethod(lambda ctx, x: x)
    backward = staticmethod(lambda ctx, gradient: -gradient)


FORWARDS = """
    x * (w * 1).mul_(2).add_(1) => 1, 1, 1
    x[:, torch.randperm(3).argsort().argsort()] * w => 1, 1, 1
    (w[:1] * w[1:2] * x[:, :1], w[2:] * x) => 1, 1, 3
    x[:, :1] * w[:2] * w[:1] * w[:2] => 4, 2, 0
    [y := x * w, y] => 1, 1, 1
    x * nn.functional.softplus(w) => 1, 1, 1
    x * w.data => 1, 1, 1
    x * w.detach() => 1, 1, 1
    x[:, :2] * w[1:] => 0, 1, 1
    torch.clamp(x, min=w) => 1, 1, 1
    x.clamp(w[0], w[1:2]) => 3, 3, 0
    (x, w) => 1, 1, 1
    torch.zeros(2, 3).index_select(0, torch.tensor([0])).copy_(w) => 1, 1, 1
    (x + w) * constant => 1, 1, 1
    x * w + torch.zeros(3) + torch.ones(1, 3) * torch.tensor([1.0]) => 1, 1, 1
    (x + w)[:, torch.arange(2) + 1] => 0, 1, 1
    (x + w)[:, [2, 0]] => 1, 0, 1
    (x + w)[:, [False, True, True]] => 0, 1, 1
    (x + w)[:, torch.tensor([2, 0], device=x.device)] => 1, 0, 1
    (x + w)[:, torch.ones_like(x, dtype=torch.int64)[0, :2].cumsum(0)] => 0, 1, 1
    (x + w)[:, : int((x + w).new_full((), 2).item())] => 1, 1, 0
    (x + w)[:, : int(length.item())] => 1, 1, 0
    (x + w)[:, (constant != 0.5).nonzero()[1:, 0]] => 0, 1, 1
    (x + w).repeat_interleave(torch.tensor([2, 0, 1]), 1) => 2, 0, 1
    (x + w).masked_select(torch.tensor([True, False, True])) => 1, 0, 1
    x * w if torch.equal(constant, constant) else x => 1, 1, 1
    torch.take_along_dim(x + w, length.view(1, 1), 1) => 0, 0, 1
    torch.take_along_dim(w[None], x.new_ones((1, 1)).long(), 1) * x => 0, 3, 0
    torch.vmap(lambda r: r * w)(x) => 1, 1, 1
    Reverse.apply(x * w) => 1, 1, 1
"""


@pytest.mark.parametrize("line", FORWARDS.strip().splitlines())
def test_parameters_in_forward(line):
    code, _, expected = line.strip().partition(" => ")

    def forward(self, x):
        known = {"x": x, "w": self.w, "constant": self.constant, "length": self.length}
        return eval(code, globals() | known)

    model = Calls(forward, w=ones(3), constant=torch.rand(3), length=torch.tensor(2))
    assert counted(model) == {"w": [*eval(expected)]}


def packed(kind, lengths, padded):
    """A recurrent layer on sequences of several lengths, padded again or its last states."""

    def forward(self, x):
        made, last = self.layer(pack_padded_sequence(x, lengths, enforce_sorted=False))
        return pad_packed_sequence(made, total_length=5)[0] if padded else last

    return Calls(forward, layer=kind(2, 3))


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize(("lengths", "padded"), [([4, 2], True), ([1, 4], False)])
def test_packed_sequences(kind, lengths, padded):
    """Each counts as it does by itself, at its own length.

    One layer of two steps and one feature has a way through the second from step 1 on.
    """
    two = {"weight_ih_l0": [[3]], "weight_hh_l0": [[3]]}
    layer = kind(1, 1, bias=False, batch_first=True)
    assert kind is not nn.RNN or counted(layer, (1, 2, 1), output=0) == two
    found = counted(packed(kind, lengths, padded), torch.ones(4, 2, 2))
    alone = [counted(kind(2, 3), (length, 1, 2), output=0 if padded else 1) for length in lengths]
    for name, count in found.items():
        first, second = (np.array(one[name.removeprefix("layer.")], object) for one in alone)
        assert np.array_equal(count, first + second), name


# Outputs ----------------------------------------------------------------------------------------

Pair = namedtuple("Pair", "logits hidden")


@dataclass
class Result:
    logits: torch.Tensor
    hidden: torch.Tensor | None = None


class ModelOutput(OrderedDict):
    """As transformers' outputs: a dict whose keys are attributes too."""

    def __getattr__(self, name):
        return self[name]


NAMES, PLACES = [("logits", "hidden")], [(lambda made: made[0], 1), (0, -1)]
OUTPUTS = [  # made of two tensors; what leads to the one and to the other
    (lambda a, b: {"logits": a, "hidden": b}, NAMES),
    (lambda a, b: {"logits": a, "hidden": [(b,), None, 3]}, NAMES),
    (lambda a, b: ModelOutput(logits=a, hidden=b), NAMES),
    (Pair, NAMES + PLACES), (Result, NAMES),
    (lambda a, b: (a, b), PLACES), (lambda a, b: [a, b], PLACES),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "ways"), OUTPUTS)
def test_parts_of_the_output(kind, ways):
    model = Calls(lambda self, x: kind(x * self.w, x * self.v), w=ones(3), v=ones(3))
    assert counted(model) == {"w": [1, 1, 1], "v": [1, 1, 1]}
    assert count_contexts(model, (1, 3)).output_nodes == 6
    for first, second in ways:
        assert counted(model, output=first) == {"w": [1, 1, 1]}
        assert counted(model, output=second) == {"v": [1, 1, 1]}


def test_what_an_output_function_computes_is_counted():
    """A slice and a layer of the model in it are operators like those of the forward."""
    model = Calls(lambda self, x: (h := x * self.w, self.b(h)), w=ones(3), b=nn.Linear(3, 1))
    found = counted(model, output=lambda made: (made[0][:, :1], made[1]))
    assert found["w"] == [2, 1, 1] and found["b.weight"] == [[1, 1, 1]]
    last = Calls(lambda self, x: Result(x[:, None] * self.w), w=ones(2, 3))
    assert counted(last, output=lambda made: made.logits[:, -1])["w"] == [[0, 0, 0], [1, 1, 1]]
    again = Calls(lambda self, x: (x * self.w, x), w=ones(3), b=nn.Linear(3, 1, bias=False))
    found = counted(again, output=lambda made: again.b(made[0]))
    assert found == {"w": [1, 1, 1], "b.weight": [[1, 1, 1]]}


# What a forward asks of its tensors --------------------------------------------------------------


def hooked(x):
    x.register_hook(lambda gradient: None).remove()
    x.retain_grad()
    return x


def autocast(x):
    with torch.autocast(x.device.type, enabled=False):
        return x * 1


ASKED = [  # a function of the tensor, and of how many of its three parameters the result is made
    (autocast, 3),
    (lambda x: x * (x.device == ones(1).device), 3),
    (lambda x: x[:, torch.tensor([2, 0], device=x.device)], 2),
    (lambda x: x[:, x.new_tensor([2, 0]).long()], 2),
    (lambda x: x[:, torch.zeros_like(x).long().numpy()[0]], 1),
    (lambda x: x[:, torch.arange(3, device=x.device).tolist()], 3),
    (hooked, 3),
]


@pytest.mark.parametrize(("function", "parameters"), ASKED)
def test_what_a_forward_asks_of_its_tensors(function, parameters):
    model = Calls(lambda self, x: function(x + self.p), p=ones(3))
    assert model(torch.ones(1, 3)).requires_grad
    assert count_contexts(model, (1, 3)).parameters == parameters and model.p.grad is None


def test_counts_are_pickled_without_their_record():
    counts = count_contexts(nn.Linear(3, 2), (1, 3))
    again = pickle.loads(pickle.dumps(counts))
    assert again.traced is None and again.quantities() == counts.quantities()
    assert copy.copy(counts).traced is counts.traced
    with pytest.raises(CountingError, match="without the model that was counted"):
        again.draw()
