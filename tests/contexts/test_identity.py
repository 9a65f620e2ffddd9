"""Whose a tensor is: followed under every name and object, or refused where nobody registers it."""

import copy
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reuseprior.contexts import CountingError
from tests.contexts.zoo import Calls, counted, ones


def tied(change):
    """Two layers of 2 by 2, the second's weight put over the first's memory."""
    model = nn.Sequential(*(nn.Linear(2, 2, bias=False) for _ in range(2)))
    change(*(layer.weight for layer in model))
    return model


def data_is(a, b, of=lambda t: t):
    b.data = of(a.data)


def flat(a, b):
    nn.utils.vector_to_parameters(torch.rand(8), (a, b))


def columns(a, b):
    whole = torch.rand(2, 4)
    a.data, b.data = whole[:, :2], whole[:, 2:]


def layer(**holder):
    """A layer, and something that was made of its weight or beside it before."""
    first = nn.Linear(2, 2, bias=False)
    made = {name: make(first.weight) for name, make in holder.items()}
    return partial(Calls, layer=first, **made)


def as_other(make):
    """What a layer makes, as another Python object."""
    return layer()(lambda self, x: make(self.layer(x)) * 1.0)


class Own(torch.Tensor):
    pass


ONCE, TWICE = {"layer.weight": [[1, 1]] * 2}, {"layer.weight": [[2, 2]] * 2}
BOTH = {"0.weight": [[2, 2]] * 2, "1.weight": [[1, 1]] * 2}
FOLLOWED = {  # a weight of its own: two paths from the first of two layers, one from the second
    "tied through data": (tied(data_is), {"0.weight": [[3, 3]] * 2}),
    "tied and turned": (tied(partial(data_is, of=torch.t)), {"0.weight": [[3, 3]] * 2}),
    "one vector for all": (tied(flat), BOTH),
    "columns of one matrix": (tied(columns), BOTH),
    "data in an attribute": (
        layer(own=lambda w: w.data)(lambda self, x: F.linear(x, self.own)), ONCE),
    "its transpose": (layer(own=lambda w: w.t())(lambda self, x: x @ self.own), ONCE),
    "its first row, and all of it": (
        layer(own=lambda w: w.data[0])(lambda self, x: self.layer(x) * self.own),
        {"layer.weight": [[2, 2], [1, 1]]}),
    "a buffer": (layer(own=lambda w: nn.Buffer(w.data))(
        lambda self, x: self.layer(F.linear(x, self.own))), {"layer.weight": [[3, 3]] * 2}),
    "a subclass": (as_other(lambda y: y.as_subclass(Own)), ONCE),
    "a parameter in the forward": (as_other(nn.Parameter), ONCE),
    "a buffer in the forward": (as_other(nn.Buffer), ONCE),
    "a copy of the layer": (layer()(lambda self, x: copy.deepcopy(self.layer)(x)), ONCE),
    "an object": (layer(own=lambda w: SimpleNamespace(w=w))(
        lambda self, x: F.linear(x, self.own.w)), ONCE),
}  # fmt: skip


@pytest.mark.parametrize("kind", FOLLOWED)
def test_another_object_for_a_tensor_is_that_tensor(kind):
    model, right = FOLLOWED[kind]
    assert counted(model, (1, 2)) == right


OUTSIDE = ones(2)
STRANGERS = {
    "a dict of layers": ({"a": nn.Linear(2, 2)}, lambda own, x: own["a"](x)),
    "a tuple of frozen layers": (
        (nn.Linear(2, 2).requires_grad_(False),), lambda own, x: own[0](x)),
    "an object": (SimpleNamespace(w=ones(2)), lambda own, x: own.w * x),
    "a function's default": ((lambda x, w=OUTSIDE: x * w), lambda own, x: own(x)),
    "of the file": (0, lambda own, x: x * OUTSIDE),
    "no parameter, but it learns": (
        [torch.ones(2, requires_grad=True)], lambda own, x: x + own[0]),
    "in a set": ({OUTSIDE}, lambda own, x: x * next(iter(own))),
    "made in the forward": (0, lambda own, x: nn.Linear(2, 2)(x)),
    "made of a constant": (0, lambda own, x: nn.Parameter(torch.ones(2)) * x),
    "of the meta device": ([nn.Linear(2, 2, device="meta")], lambda own, x: own[0](x)),
    "a loop over layers": ([nn.Conv1d(1, 1, 1)] * 2, lambda own, x: own[1](own[0](x[None]))[0]),
}  # fmt: skip


@pytest.mark.parametrize("kind", STRANGERS)
def test_a_parameter_that_nobody_registers_is_refused(kind):
    own, use = STRANGERS[kind]
    block = Calls(lambda self, x: use(self.own[0], x), own=[own])
    model = nn.Sequential(nn.Linear(2, 2), block, nn.Linear(2, 2))
    said = r"a parameter of shape \(.*\) \(in 1\) that it does not register.* nn\.ModuleList"
    with pytest.raises(CountingError, match=said):
        counted(model, (1, 2))


def test_what_was_computed_of_parameters_before_is_refused():
    with pytest.raises(CountingError, match=r"tensor of shape \(2, 2\) .* compute it in the forw"):
        counted(layer(own=lambda w: w * 2)(lambda self, x: self.layer(x) @ self.own), (1, 2))


def overlapping(a, b):
    whole = torch.rand(6)
    a.data, b.data = whole[:4].view(2, 2), whole[2:].view(2, 2)


def test_what_only_partly_lies_in_another_is_refused():
    with pytest.raises(CountingError, match=r"Parameter 1\.weight has a part of the memory"):
        counted(tied(overlapping), (1, 2))
