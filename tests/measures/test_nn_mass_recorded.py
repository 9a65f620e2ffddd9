"""NN-Mass read off operators: the paper's networks, graphs small enough for a hand, refusals."""

import pytest
import torch
from torch import nn

from reuseprior.contexts import record_model
from reuseprior.measures import nn_mass
from reuseprior.measures.nn_mass import Architecture, LongRangeCNN, NotApplicable
from reuseprior.models import build
from tests.contexts.zoo import Calls

SHAPE = (1, 3, 8, 8)


@pytest.mark.parametrize("one", [
    Architecture(4, (2, 3, 4), (3, 4, 5)),
    Architecture(6, (5,), (7,)),
    Architecture(9, (3, 2), (4, 14)),
    Architecture(5, (4, 4), (0, 3)),
])  # fmt: skip
def test_it_is_equations_1_to_3_on_the_papers_networks(one):
    found = nn_mass.measure(LongRangeCNN(one), SHAPE)
    assert found.mass == pytest.approx(float(one.mass), rel=1e-12)
    assert found.density == pytest.approx(float(one.density), rel=1e-12)
    for cell, width in enumerate(one.widths):
        assert found.cells[cell].links == width * sum(one.linked_channels(cell))
        assert found.cells[cell].channels == width * one.depth
    assert found.cells[-1].size == () and found.cells[-1].mass == 0, "the classifier"


def net(join, reads, groups=1):
    """Convolutions a, b and c; `join` says what c reads."""
    return Calls(
        lambda self, x: self.c(join(y := self.a(x).relu(), self.b(y))),
        a=nn.Conv2d(3, 4, 3, padding=1), b=nn.Conv2d(4, 4, 3, padding=1),
        c=nn.Conv2d(reads, 4, 1, groups=groups),
    )  # fmt: skip


def shuffled(a, b):
    x = torch.cat([a, b], 1)
    return x.view(1, 2, 4, 8, 8).transpose(1, 2).reshape(1, 8, 8, 8)


BY_HAND = {  # what c reads; its channels and groups; long-range links to c, of 16
    "a chain": (lambda a, b: b, 4, 1, 0),
    "concatenation": (lambda a, b: torch.cat([a, b], 1), 8, 1, 16),
    "one channel": (lambda a, b: torch.cat([a[:, 2:3], b], 1), 5, 1, 4),
    "an index": (lambda a, b: torch.cat([b, a[:, torch.tensor([3, 0])]], 1), 6, 1, 8),
    "twice the same": (lambda a, b: torch.cat([a[:, :1], a[:, :1], b], 1), 6, 1, 4),
    "a gate": (lambda a, b: b * a.mean((2, 3), keepdim=True).sigmoid(), 4, 1, 16),
    "addition in place": (lambda a, b: b.add_(a), 4, 1, 16),
    "groups": (lambda a, b: a + b, 4, 4, 4),
    "groups of one tensor": (lambda a, b: torch.cat([a, b], 1), 8, 2, 8),
    "shuffled, then groups": (shuffled, 8, 2, 8),
    "half": (lambda a, b: torch.cat([a.chunk(2, 1)[1], b], 1), 6, 1, 8),
    "pooling": (lambda a, b: torch.cat([nn.functional.avg_pool2d(a, 3, 1, 1), b], 1), 8, 1, 16),
    "mixed channels": (lambda a, b: b + a.mean(1, keepdim=True), 4, 1, 16),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name):
    *given, links = BY_HAND[name]
    found = nn_mass.measure(net(*given), SHAPE)
    (cell,) = found.cells
    assert (cell.layers, cell.levels, cell.channels) == (3, 3, 12)
    assert (cell.links, cell.possible, found.mass) == (links, 16, 12 * links / 16)


def test_links_between_cells_do_not_count():
    halved = nn.functional.max_pool2d
    strided = net(lambda a, b: torch.cat([halved(a, 2), halved(b, 2)], 1), 8)
    with pytest.raises(NotApplicable, match="No cell of this model has three layers"):
        nn_mass.measure(strided, SHAPE)


def test_parallel_branches_are_one_level():
    def branches(self, x):
        a, b, c = self.a(x), self.b(x), self.c(x)
        return self.e(torch.cat([self.d(torch.cat([a, b], 1)), c], 1))

    layers = {name: nn.Conv2d(3 if name in "abc" else 4, 2, 1) for name in "abcde"}
    (cell,) = nn_mass.measure(Calls(branches, **layers), SHAPE).cells
    assert (cell.layers, cell.levels) == (5, 3)
    assert (cell.links, cell.possible) == (2 * 2, 2 * 6), "e reads c of a, b and c, two levels back"


def test_vectors_have_links_too():
    layers = {name: nn.Linear(3, 3) for name in "abc"}
    skip = Calls(lambda self, x: self.c((y := self.a(x).relu()) + self.b(y).relu()), **layers)
    assert nn_mass.measure(skip, (1, 3)).mass == 9


@pytest.mark.parametrize(("model", "shape", "kind", "message"), [
    (nn.Linear(3, 2), (1, 3), "nothing to skip", "No cell of this model has three layers one"),
    (nn.Sequential(nn.Linear(3, 3)), (1, 5, 3), "layers on sequences", "addmm in 0 is a la"),
    (nn.MultiheadAttention(4, 1), [(1, 1, 4)] * 3, "weights from the input", "its weight from"),
])  # fmt: skip
def test_where_it_says_nothing_the_reason_is_given(model, shape, kind, message):
    with pytest.raises(NotApplicable, match=message) as caught:
        nn_mass.measure(model, shape)
    assert "\n" not in str(caught.value)
    assert caught.value.kind == NotApplicable.kind_of(str(caught.value)) == kind
    assert NotApplicable.kind_of("a message of another error") is None


def test_the_result_can_be_read_and_a_recorded_model_will_do():
    model = net(lambda a, b: a + b, 4)
    found = nn_mass.measure(model, SHAPE)
    assert nn_mass.measure(record_model(model, SHAPE)) == found
    assert str(found) == "NN-Mass 12.0000, density 1.0000"
    assert found.table().loc[0].to_dict() == {
        "size": "8×8", "layers": 3, "levels": 3, "channels": 12, "links": 16, "possible": 16,
        "density": 1.0, "mass": 12.0,
    }  # fmt: skip
    assert "8×8" in found._repr_html_()


def test_a_densenets_first_block():
    """Growth 32 on 64 channels, bottlenecks of 128: links by hand, from the block's structure."""
    found = nn_mass.measure(build("torchvision:densenet121"), (1, 3, 64, 64))
    stem, block = found.cells[:2]
    assert stem.size == (32, 32) and block.size == (16, 16)
    # six pairs (1×1 to 128, 3×3 to 32), then the transition to 128 channels, which reads all
    assert (block.layers, block.channels) == (13, 6 * (128 + 32) + 128)
    before = [32 * i for i in range(6)]
    links = sum(128 * max(0, made - 32) for made in before) + 128 * (6 * 32 - 32)
    assert block.links == links
