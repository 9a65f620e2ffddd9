"""Inputs and outputs as people have them: objects, graphs, packed sequences, and none dense."""

import weakref
from collections import OrderedDict, UserDict, deque
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from reuseprior.contexts import CountingError, count_contexts
from tests.contexts.zoo import Calls, counted, ones


@dataclass
class Batch:
    x: torch.Tensor
    edges: torch.Tensor | None = None
    sizes: list = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Frozen:
    x: torch.Tensor


class Slotted:
    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x


class Graph:
    """Keeps its tensors in a store that knows it, as graph libraries do."""

    def __init__(self, **tensors):
        self._store, self.own = tensors, weakref.ref(self)
        self._itself = self

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return self._store[name]


class Child(Batch):
    @property
    def doubled(self):
        return 2 * self.x


def x():
    return torch.ones(1, 3)


OBJECTS = {
    "dataclass": (Batch(x()), lambda given: given.x),
    "dataclass beside a number": ([Batch(x()), 2], lambda given, n: given.x * n),
    "in a list of it": ([Batch(x(), sizes=[x()])], lambda given: given.x * given.sizes[0]),
    "frozen": (Frozen(x()), lambda given: given.x),
    "slots": ([Slotted(x())], lambda given: given.x),
    "property": (Child(x()), lambda given: given.doubled),
    "namespace": (SimpleNamespace(x=x()), lambda given: given.x),
    "graph": (
        [Graph(x=x(), edges=torch.tensor([[0], [0]]))],
        lambda given: given.x[given.edges[0]],
    ),
    "user dict": ([UserDict(x=x())], lambda given: given.data["x"]),
    "ordered dict": ([OrderedDict(x=x())], lambda given: given["x"]),
    "deque": ([deque([x()], maxlen=1)], lambda given: given[-1]),
    "object in a dict": ({"given": {"a": Batch(x())}}, lambda given: given["a"].x),
    "written to": ([Batch(x())], lambda given: setattr(given, "x", given.x * 2) or given.x),
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_tensors_in_objects_are_inputs(kind):
    inputs, use = OBJECTS[kind]
    model = Calls(lambda self, *args, **kwargs: use(*args, **kwargs) * self.w, w=ones(3))
    counts = count_contexts(model, inputs, exact=True)
    assert counts.input_nodes == (6 if "list" in kind else 3) and counts.quantities()
    assert counts.parameters == 3
    given = next(iter(inputs.values())) if isinstance(inputs, dict) else inputs
    given = given[0] if isinstance(given, list) else given
    assert "meta" not in repr(vars(given) if isinstance(given, Batch) else given)


def packed(self, x):
    return pack_padded_sequence(x * self.w, torch.tensor([2, 1]), batch_first=True)


OUTPUTS = {
    "packed": (packed, 9),
    "sizes beside numbers": (lambda self, x: (x * self.w, torch.tensor([2, 1])), 12),
    "positions": (lambda self, x: (x * self.w).max(-1), 4),
    "a mask": (lambda self, x: {"y": x * self.w, "mask": x > 0}, 12),
    "integers alone": (lambda self, x: (x * self.w).long(), 12),
    "dataclass": (lambda self, x: Batch(x * self.w, torch.tensor([0])), 12),
    "object": (lambda self, x: SimpleNamespace(x=x * self.w, n=2), 12),
    "slots": (lambda self, x: Slotted(x * self.w), 12),
    "graph": (lambda self, x: Graph(x=x * self.w, edges=torch.zeros(2, 4).long()), 12),
    "user dict": (lambda self, x: UserDict(x=x * self.w), 12),
    "cache beside numbers": (lambda self, x: (x * self.w, SimpleNamespace(keys=x * self.w)), 12),
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_features_alone_are_output_nodes(kind):
    forward, right = OUTPUTS[kind]
    assert count_contexts(
        Calls(forward, w=ones(3)), [torch.ones(2, 2, 3)], signal=0
    ).output_nodes in (right, right // 2)  # of a batch, one sample


@pytest.mark.parametrize("name", ["input_ids", "ids", "token_type_ids"])
def test_ids(name):
    model = Calls(lambda self, **given: self.table(*given.values()), table=nn.Embedding(4, 2))
    assert counted(model, {name: (1, 3)}) == {"table.weight": [[3, 3]] * 4}


@pytest.mark.parametrize(
    "name", ["centroids", "bids", "grids", "x_pyramids", "unmask", "mask_scores"]
)
def test_names_that_merely_end_so_are_of_numbers(name):
    model = Calls(lambda self, **given: next(iter(given.values())) * self.w, w=ones(3))
    counts = count_contexts(model, {name: (1, 3)})
    assert counts.input_nodes == 3


def jagged():
    return torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(1, 3)], layout=torch.jagged)


NOT_DENSE = {
    "jagged": jagged,
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(1, 3)]),
    "COO": lambda: torch.eye(3).to_sparse(),
    "CSR": lambda: torch.eye(3).to_sparse_csr(),
    "CSC": lambda: torch.eye(3).to_sparse_csc(),
    "BSR": lambda: torch.eye(4).to_sparse_bsr((2, 2)),
    "in an object": lambda: Batch(torch.eye(3).to_sparse()),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("wrapped", [lambda x: x, lambda x: [x], lambda x: {"x": x}])
@pytest.mark.parametrize("kind", NOT_DENSE)
def test_what_is_not_dense_is_refused_by_its_name(kind, wrapped):
    said = r"Input (0|x)(\.x)? is (nested|sparse) \(.*, and a record is of dense tensors"
    with pytest.raises(CountingError, match=said):
        count_contexts(Calls(lambda self, x: x, w=ones(3)), wrapped(NOT_DENSE[kind]()))


def test_packed_sequences_go_in_and_out():
    def forward(self, given):
        return pad_packed_sequence(self.layer(given)[0], batch_first=True)[0]

    model = Calls(forward, layer=nn.LSTM(2, 3, batch_first=True))
    given = pack_padded_sequence(torch.ones(2, 4, 2), torch.tensor([4, 2]), batch_first=True)
    assert count_contexts(model, [given]).input_nodes == 12
