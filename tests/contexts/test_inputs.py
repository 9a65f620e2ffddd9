"""Inputs and outputs as people have them: by name, in nests and objects, as ids and masks."""

import weakref
from collections import UserDict, deque, namedtuple
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from reuseprior.contexts import CountingError, count_contexts
from tests.contexts.zoo import Calls, counted, ones


def nodes(model, inputs, **options):
    return count_contexts(model, inputs, **options).input_nodes


def scaled(self, x, *, y=None, times=1, flag=False):
    made = x * self.w
    if y is not None:
        made = made + y
    return [made] * times if flag else made


@pytest.mark.parametrize(("inputs", "input_nodes"), [
    ({"x": (1, 3), "y": None}, 3),
    ({"x": (1, 3), "y": (1, 1)}, 4),
    ({"x": torch.ones(1, 3), "y": torch.tensor(2.0), "times": 1, "flag": True}, 4),
])  # fmt: skip
def test_by_name(inputs, input_nodes):
    model = Calls(scaled, w=ones(3))
    assert counted(model, inputs) == {"w": [1, 1, 1]}
    assert nodes(model, inputs) == input_nodes


# What carries a signal --------------------------------------------------------------------------


def attentive(self, x, mask=None, timestep=None, unread=None):
    x = x * self.w
    if mask is not None:
        x = x.masked_fill(mask == 0, 0.0)
    return x if timestep is None else x + timestep.float()[:, None].sin() * self.v


def test_masks_and_timesteps_are_no_input_nodes():
    model = Calls(attentive, w=ones(3), v=ones(3))
    mask = torch.tensor([[1, 0, 1]])
    given = {"x": (1, 3), "mask": mask, "timestep": torch.tensor([7])}
    assert nodes(model, given) == 3 == nodes(model, given | {"mask": mask.bool()})
    assert counted(model, given) == {"w": [1, 0, 1], "v": [1, 1, 1]}
    assert nodes(model, given, signal=["x", "timestep"]) == 4
    assert nodes(model, given | {"timestep": torch.tensor([7.0])}) == 4
    assert nodes(model, given | {"timestep": torch.tensor([7.0])}, signal="x") == 3
    assert nodes(model, given | {"unread": (1, 3)}) == 3
    assert nodes(model, [(1, 3), mask], signal=0) == 3
    with pytest.raises(CountingError, match=r"signal='y' names no input tensor; there are \['x'"):
        nodes(model, given, signal=["y"])


@pytest.mark.parametrize("mask", [(1, 3), torch.empty(1, 3, dtype=bool, device="meta")])
def test_masks_without_values_mask_nothing_that_is_known(mask):
    model = Calls(attentive, w=ones(3))
    assert counted(model, {"x": (1, 3), "mask": mask}) == {"w": [1, 1, 1]}


def test_numbers_that_are_no_signal_are_constants():
    model = Calls(lambda self, x, bias: (x * self.w + bias).softmax(-1), w=ones(3))
    bias = torch.tensor([[0.0, float("-inf"), 0.0]])
    assert counted(model, [(1, 3), bias], signal=0) == {"w": [1, 0, 1]}
    assert counted(model, [(1, 3), bias]) == {"w": [1, 1, 1]}


# Token ids --------------------------------------------------------------------------------------


def language(self, input_ids, attention_mask=None):
    x = self.table(input_ids)
    if attention_mask is not None:
        x = x * attention_mask[..., None]
    return x.sum(1)


def test_token_ids_without_values_may_be_any():
    model = Calls(language, table=nn.Embedding(4, 2))
    for ids in ((1, 3), torch.empty(1, 3, dtype=torch.int64, device="meta")):
        assert counted(model, {"input_ids": ids}) == {"table.weight": [[3, 3]] * 4}
    for name in ("ids", "token_type_ids"):
        named = Calls(lambda self, **given: self.table(*given.values()), table=nn.Embedding(4, 2))
        assert counted(named, {name: (1, 3)}) == {"table.weight": [[3, 3]] * 4}
    assert nodes(model, {"input_ids": (1, 3), "attention_mask": (1, 3)}) == 3
    example = {"input_ids": torch.tensor([[1, 1, 3]])}
    assert counted(model, example) == {"table.weight": [[0, 0], [2, 2], [0, 0], [1, 1]]}
    assert nodes(model, example) == 3 and example["input_ids"].tolist() == [[1, 1, 3]]
    shifted = Calls(lambda self, x: self.table(x[:, 1:] + 1), table=nn.Embedding(4, 2))
    assert nodes(shifted, {"x": torch.tensor([[0, 2]])}) == 2


@pytest.mark.parametrize(("read", "first"), [
    (lambda table, ids: table[ids].sum(1), [3, 3]),
    (lambda table, ids: F.embedding_bag(ids, table, mode="sum"), [3, 3]),
    (lambda table, ids: F.embedding_bag(ids, table, mode="max", padding_idx=0), [0, 0]),
])  # fmt: skip
def test_tables_that_are_read_without_an_embedding(read, first):
    table = nn.Parameter(torch.ones(4, 2))
    model = Calls(lambda self, input_ids: read(self.table, input_ids), table=table)
    assert counted(model, {"input_ids": (1, 3)}) == {"table": [first, *[[3, 3]] * 3]}
    assert nodes(model, {"input_ids": (1, 3)}) == 3


# Batches ----------------------------------------------------------------------------------------


def test_a_batch_is_counted_a_sample():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    one = counted(model, (1, 4))
    for inputs in ((5, 4), torch.ones(2, 4), [(3, 4)]):
        assert counted(model, inputs) == one and nodes(model, inputs) == 4
    table = Calls(language, table=nn.Embedding(4, 2))
    assert counted(table, {"input_ids": (7, 3)}) == {"table.weight": [[3, 3]] * 4}
    nested = Calls(lambda self, given: given["x"] * self.w + given["y"][0], w=ones(3))
    assert nodes(nested, [{"x": (5, 3), "y": [(5, 3)]}]) == 6


def test_samples_that_meet_are_no_batch():
    model = Calls(lambda self, x: self.of(x) + x.mean(0, True), of=nn.Linear(4, 4, bias=False))
    assert nodes(model, (3, 4)) == 12
    assert counted(model, (3, 4)) == {"of.weight": [[3] * 4] * 4}
    assert nodes(nn.Linear(4, 4), (4,)) == 4


def test_sequences_first():
    layer = nn.LSTM(2, 3)
    assert nodes(layer, (5, 1, 2), output=0) == 10 and nodes(layer, (5, 2), output=0) == 10
    batch_first = nn.LSTM(2, 3, batch_first=True)
    ours, theirs = (
        counted(m, s, output=0) for m, s in [(layer, (5, 1, 2)), (batch_first, (1, 5, 2))]
    )
    assert ours == theirs


def messages(self, x, edge_index):
    """A layer of messages along edges, added up where they arrive."""
    x = self.layer(x)
    source, target = edge_index
    return torch.zeros_like(x).index_add(0, target, x[source])


def test_nodes_of_a_graph():
    model = Calls(messages, layer=nn.Linear(3, 2, bias=False))
    given = {"x": (3, 3), "edge_index": torch.tensor([[0, 1, 1, 2], [1, 0, 2, 2]])}
    assert counted(model, given) == {"layer.weight": [[4, 4, 4], [4, 4, 4]]}
    assert nodes(model, given) == 9


# What misleads no more --------------------------------------------------------------------------


def attended(hide):
    def forward(self, x):
        scores = hide(self.layer(x) @ x.mT, self.mask[:2, :2] == 0)
        return scores.softmax(-1) @ x

    return forward


LOST = {
    "positions": lambda self, x: x + self.table(self.mask[0, :2].long()),
    "masked_fill": attended(lambda scores, hidden: scores.masked_fill(hidden, float("-inf"))),
    "where": attended(lambda scores, hidden: torch.where(hidden, float("-inf"), scores)),
}


@pytest.mark.parametrize("use", LOST)
def test_buffers_without_values_are_named(use):
    """A causal mask that is lost would mask nothing, and nobody would know."""
    mask = nn.Buffer(torch.tril(torch.ones(4, 4)))
    model = Calls(LOST[use], layer=nn.Linear(3, 3), table=nn.Embedding(4, 3), mask=mask)
    assert counted(model, (1, 2, 3))
    with pytest.raises(CountingError, match="buffer mask is on the meta device and has lost"):
        count_contexts(model.to("meta"), (1, 2, 3))


def test_token_ids_without_values_are_offered():
    """Where a shape failed as an input of numbers."""
    message = r"it takes token ids, so pass some without values, as torch\.empty\(\(1, 128\)"
    with pytest.raises(CountingError, match=message):
        count_contexts(Calls(lambda self, x: F.embedding(x, self.w), w=ones(2, 3)), (1, 3))


# Mixtures of experts ----------------------------------------------------------------------------


def experts(self, x):  # (tokens, 3)
    """Each token goes to the two of four experts that score best."""
    scores, chosen = self.router(x).softmax(-1).topk(2)
    made = torch.einsum("tkof,tf->tko", self.experts[chosen], x)
    return (made * scores[..., None]).sum(1)


def test_experts_count_as_often_as_they_are_chosen():
    """Of two of four experts and six tokens, three an expert; of one token, half a one."""
    model = Calls(experts, router=nn.Linear(3, 4, bias=False), experts=ones(4, 5, 3))
    assert counted(model, [(1, 3)]) == {
        "experts": [[[1 / 2] * 3] * 5] * 4,
        "router.weight": [[10] * 3] * 4,  # two gates of five outputs each
    }
    counts = count_contexts(model, [(1, 3)])
    assert counts.parameters == 72 and counts.log2_counts.min() == -1
    q = counts.quantities()
    assert abs(q.entropy + q.expected_spread - q.log2_contexts) < 1e-9


def codes(self, x):
    return F.embedding((x * self.w).argmax(-1), self.codes)


def test_codes_that_the_model_chooses():
    model = Calls(codes, w=ones(3), codes=ones(8, 2))
    assert counted(model, (1, 3)) == {"codes": [[1 / 8] * 2] * 8}


# The end of the pass ----------------------------------------------------------------------------


def test_until_a_module():
    """What follows chooses among what is found, which depends on data."""
    layers = {"backbone": nn.Sequential(nn.Linear(3, 2, bias=False)), "unused": nn.Linear(3, 2)}
    model = Calls(lambda self, x: self.backbone(x).nonzero(), **layers)
    found = count_contexts(model, (1, 3), until="backbone", exact=True)
    assert found.output_nodes == 2 and found.parameter_counts[0].counts.item() == 1
    assert count_contexts(model, (1, 3), until="backbone.0", output=None).parameters == 6
    for until, message in [
        ("backbon", "no module .*, did you mean 'backbone'"),
        ("unused", "'unused' is a module that the forward pass does not"),
    ]:
        with pytest.raises(CountingError, match=message):
            count_contexts(Calls(lambda self, x: x, **layers), (1, 3), until=until)


# Objects, graphs, packed sequences, and none dense -----------------------------------------------


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


def x():
    return torch.ones(1, 3)


Pair = namedtuple("Pair", "a b")


OBJECTS = {
    "dataclass": (Batch(x()), lambda given: given.x),
    "in a list of it": ([Batch(x(), sizes=[x()])], lambda given: given.x * given.sizes[0]),
    "frozen": (Frozen(x()), lambda given: given.x),
    "slots": ([Slotted(x())], lambda given: given.x),
    "namespace": (SimpleNamespace(x=x()), lambda given: given.x),
    "graph": (
        [Graph(x=x(), edges=torch.tensor([[0], [0]]))],
        lambda given: given.x[given.edges[0]],
    ),
    "user dict": ([UserDict(x=x())], lambda given: given.data["x"]),
    "pair": ([Pair(x(), None)], lambda given: given.a),
    "in a list of a pair": (
        [Pair(x(), [x(), None, 2.0])],
        lambda given: given.a * given.b[0] * given.b[2],
    ),
    "packed": (
        [pack_padded_sequence(torch.ones(1, 1, 3), torch.tensor([1]), batch_first=True)],
        lambda given: pad_packed_sequence(given, batch_first=True)[0],
    ),
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
    "graph": (lambda self, x: Graph(x=x * self.w, edges=torch.zeros(2, 4).long()), 12),
    "cache beside numbers": (lambda self, x: (x * self.w, SimpleNamespace(keys=x * self.w)), 12),
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_features_alone_are_output_nodes(kind):
    forward, right = OUTPUTS[kind]
    assert count_contexts(
        Calls(forward, w=ones(3)), [torch.ones(2, 2, 3)], signal=0
    ).output_nodes in (right, right // 2)  # of a batch, one sample


@pytest.mark.parametrize(
    "name", ["centroids", "bids", "grids", "x_pyramids", "unmask", "mask_scores"]
)
def test_names_that_merely_end_so_are_of_numbers(name):
    model = Calls(lambda self, **given: next(iter(given.values())) * self.w, w=ones(3))
    counts = count_contexts(model, {name: (1, 3)})
    assert counts.input_nodes == 3


ROWS = [torch.ones(2, 3), torch.ones(1, 3)]
NOT_DENSE = {
    "jagged": lambda: torch.nested.nested_tensor(ROWS, layout=torch.jagged),
    "nested": lambda: torch.nested.nested_tensor(ROWS),
    "COO": lambda: torch.eye(3).to_sparse(),
    "CSR": lambda: torch.eye(3).to_sparse_csr(),
    "CSC": lambda: torch.eye(3).to_sparse_csc(),
    "BSR": lambda: torch.eye(4).to_sparse_bsr((2, 2)),
    "in an object": lambda: Batch(torch.eye(3).to_sparse()),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("wrapped", [lambda x: x, lambda x: {"x": x}])
@pytest.mark.parametrize("kind", NOT_DENSE)
def test_what_is_not_dense_is_refused_by_its_name(kind, wrapped):
    said = r"Input (0|x)(\.x)? is (nested|sparse) \(.*, and a trace is of dense tensors"
    with pytest.raises(CountingError, match=said):
        count_contexts(Calls(lambda self, x: x, w=ones(3)), wrapped(NOT_DENSE[kind]()))
