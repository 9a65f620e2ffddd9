"""NN-Mass: closed forms against the paper, built networks and traced ones; what is refused."""

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reuseprior.contexts import count_contexts, multiply_adds, trace_model
from reuseprior.measures import nn_mass
from reuseprior.measures.nn_mass import Architecture, LongRangeCNN, NNMassError, NotApplicable
from reuseprior.models import build, without_weights
from tests.contexts.zoo import Calls

SMALL = Architecture(depth=5, widths=(4, 6), candidates=(5, 9))
APPENDIX_D = Architecture(depth=4, widths=(2, 3, 4), candidates=(3, 4, 5))


# Closed forms; the ledger has all of table 1 ------------------------------------------------------


def test_the_papers_numbers():
    assert (APPENDIX_D.mass, APPENDIX_D.density) == (28, Fraction(85, 108))
    assert APPENDIX_D.linked_channels(2) == (0, 0, 4, 5)
    assert [4 * APPENDIX_D.degree(cell) for cell in range(3)] == [5, 7, 9]
    of_table_1 = Architecture.of_layers(31, (70, 140, 200))
    assert float(of_table_1.mass) == pytest.approx(856.9286, abs=5e-5)
    assert of_table_1.parameters() == 3_824_062
    assert of_table_1.flops() == pytest.approx(1.1981e9, abs=5e4)


@pytest.mark.parametrize("density", [0, 0.1, 0.3, 0.77, 1])
def test_of_density_takes_the_fewest_candidates(density):
    one = Architecture.of_density(7, (4, 6), density)
    for cell, t in enumerate(one.candidates):
        assert one.cell_density(cell) >= density
        if t:
            fewer = Architecture(7, (one.widths[cell],), (t - 1,))
            assert fewer.density < density
    if density == 1:  # more candidates than there are change nothing
        more = Architecture(7, (4, 6), tuple(t + 1 for t in one.candidates))
        assert more.mass == one.mass == 7 * (4 + 6)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Architecture(2, (4,), (1,)), "depth is 2: it must be a whole number from 3 on"),
    (lambda: Architecture(4.0, (4,), (1,)), r"depth is 4\.0: it must be a whole"),
    (lambda: Architecture(4, (0,), (1,)), "a width is 0: it must be a whole number from 1 on"),
    (lambda: Architecture(4, (2,), (-1,)), "candidates is -1: it must be a whole number from 0 on"),
    (lambda: Architecture(4, (2, 3), (1,)), "widths has 2 cells and candidates 1: give one"),
    (lambda: Architecture.of_layers(30, (1, 1, 1)), r"30 layers are not 3 d \+ 4: .* 28 and 31"),
    (lambda: Architecture.of_layers(31, (1, 1, 1), width_multiplier=0.3),
        r"width_multiplier 0\.3 times 16 is not whole: choose a multiple of 1/16"),
    (lambda: Architecture.of_density(5, (4,), 1.5), r"density is 1\.5: it must be from 0 to 1"),
    (lambda: LongRangeCNN(SMALL, contributions="half"),
        "contributions is 'half': choose from random, constant"),
])  # fmt: skip
def test_what_cannot_be_is_refused_by_one_sentence(make, message):
    with pytest.raises(NNMassError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


# Built networks -----------------------------------------------------------------------------------


def test_sizes_are_the_closed_forms_ones():
    for one in (SMALL, Architecture.of_layers(31, (70, 140, 200)), Architecture(3, (2,), (0,))):
        with without_weights():
            model = LongRangeCNN(one, classes=7, in_channels=1)
        held = sum(p.numel() for p in model.parameters())
        assert held == one.parameters(classes=7, in_channels=1)
        for size in (16, 15):  # an odd one is halved rounding up
            cost = multiply_adds(trace_model(model, (1, 1, size, size)))
            assert cost == one.multiply_adds(size, classes=7, in_channels=1)


def test_links_are_random_distinct_and_seeded():
    model = LongRangeCNN(SMALL, seed=3)
    for cell, module in enumerate(model.cells):
        expected = SMALL.linked_channels(cell)[2:]
        for i, (chosen, number) in enumerate(zip(module.links, expected, strict=True), start=2):
            assert len(set(chosen.tolist())) == len(chosen) == number
            assert 0 <= chosen.min() and chosen.max() < SMALL.widths[cell] * (i - 1)
    nets = (model, LongRangeCNN(SMALL, seed=3), LongRangeCNN(SMALL, seed=4))
    links, again, other = ([[c.tolist() for c in cell.links] for cell in net.cells] for net in nets)
    assert links == again != other


def reference(model, x):
    """The forward pass as section 3.1 tells it: every layer looks up the channels that it reads."""
    for cell in model.cells:
        made = [cell.convs[0](x)]
        for i, conv in enumerate(cell.convs[1:], start=1):
            read = made[i - 1]
            if i >= 2:
                channels = [c for layer in made[: i - 1] for c in layer.unbind(1)]
                chosen = [channels[k] for k in cell.links[i - 2].tolist()]
                read = torch.cat([read, torch.stack(chosen, 1)], 1)
            made.append(conv(F.relu(cell.norms[i - 1](read))))
        x = F.relu(cell.norms[-1](made[-1]))
    return model.classifier(x.mean((2, 3)))


def test_forward_does_what_the_paper_says():
    torch.manual_seed(0)
    model, images = LongRangeCNN(SMALL).eval(), torch.randn(2, 3, 8, 8)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_mean)  # or a wrong order of norms would not show
        nn.init.uniform_(norm.running_var, 0.5, 2)
    torch.testing.assert_close(model(images), reference(model, images))


@pytest.mark.parametrize("kind", ["random", "constant", "ones"])
def test_contributions(kind):
    """They weigh what a layer reads, do not learn and change no context."""
    model = LongRangeCNN(SMALL, contributions=kind)
    conv, x = model.cells[1].convs[2], torch.randn(1, 12, 5, 5)
    alpha = conv.contributions
    assert (alpha == 1).all() == (kind == "ones")
    assert (alpha.max() > alpha.min()) == (kind == "random")
    if kind != "ones":
        torch.testing.assert_close(alpha.sum(1), torch.ones(6, 1, 1))
    assert not any("contributions" in name for name, _ in model.named_parameters())
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight * alpha, padding=1))
    q = count_contexts(model, (1, 3, 8, 8)).quantities()
    assert q == count_contexts(LongRangeCNN(SMALL), (1, 3, 8, 8)).quantities()
    assert q.parameters == q.weight_nodes == SMALL.parameters()


# Traced networks ----------------------------------------------------------------------------------

SHAPE = (1, 3, 8, 8)


@pytest.mark.parametrize("one", [
    APPENDIX_D, Architecture(6, (5,), (7,)), Architecture(9, (3, 2), (4, 14)),
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
    "an index": (lambda a, b: torch.cat([b, a[:, torch.tensor([3, 0])]], 1), 6, 1, 8),
    "twice the same": (lambda a, b: torch.cat([a[:, :1], a[:, :1], b], 1), 6, 1, 4),
    "a gate": (lambda a, b: b * a.mean((2, 3), keepdim=True).sigmoid(), 4, 1, 16),
    "addition in place": (lambda a, b: b.add_(a), 4, 1, 16),
    "groups": (lambda a, b: a + b, 4, 4, 4),
    "groups of one tensor": (lambda a, b: torch.cat([a, b], 1), 8, 2, 8),
    "shuffled, then groups": (shuffled, 8, 2, 8),
    "pooling": (lambda a, b: torch.cat([F.avg_pool2d(a, 3, 1, 1), b], 1), 8, 1, 16),
    "mixed channels": (lambda a, b: b + a.mean(1, keepdim=True), 4, 1, 16),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name):
    *given, links = BY_HAND[name]
    model = net(*given)
    found = nn_mass.measure(model, SHAPE)
    (cell,) = found.cells
    assert (cell.layers, cell.levels, cell.channels) == (3, 3, 12)
    assert (cell.links, cell.possible, found.mass) == (links, 16, 12 * links / 16)
    assert nn_mass.measure(trace_model(model, SHAPE)) == found
    density, mass = links / 16, 12 * links / 16
    assert str(found) == f"NN-Mass {mass:.4f}, density {density:.4f}"
    assert found.table().loc[0].to_dict() == {
        "size": "8×8", "layers": 3, "levels": 3, "channels": 12, "links": links, "possible": 16,
        "density": density, "mass": mass,
    }  # fmt: skip
    assert "8×8" in found._repr_html_()


def test_parallel_branches_are_one_level_and_vectors_have_links_too():
    def branches(self, x):
        a, b, c = self.a(x), self.b(x), self.c(x)
        return self.e(torch.cat([self.d(torch.cat([a, b], 1)), c], 1))

    layers = {name: nn.Conv2d(3 if name in "abc" else 4, 2, 1) for name in "abcde"}
    (cell,) = nn_mass.measure(Calls(branches, **layers), SHAPE).cells
    assert (cell.layers, cell.levels) == (5, 3)
    assert (cell.links, cell.possible) == (2 * 2, 2 * 6), "e reads c of a, b and c, two levels back"
    layers = {name: nn.Linear(3, 3) for name in "abc"}
    skip = Calls(lambda self, x: self.c((y := self.a(x).relu()) + self.b(y).relu()), **layers)
    assert nn_mass.measure(skip, (1, 3)).mass == 9


def halved(a, b):
    return torch.cat([F.max_pool2d(a, 2), F.max_pool2d(b, 2)], 1)


@pytest.mark.parametrize(("model", "shape", "kind", "message"), [
    (nn.Linear(3, 2), (1, 3), "nothing to skip", "No cell of this model has three layers one"),
    (net(halved, 8), SHAPE, "nothing to skip", "No cell of this model has three layers"),
    (nn.Sequential(nn.Linear(3, 3)), (1, 5, 3), "layers on sequences", "addmm in 0 is a la"),
    (nn.MultiheadAttention(4, 1), [(1, 1, 4)] * 3, "weights from the input", "its weight from"),
])  # fmt: skip
def test_where_it_says_nothing_the_reason_is_given(model, shape, kind, message):
    with pytest.raises(NotApplicable, match=message) as caught:
        nn_mass.measure(model, shape)
    assert "\n" not in str(caught.value)
    assert caught.value.kind == NotApplicable.kind_of(str(caught.value)) == kind
    assert NotApplicable.kind_of("a message of another error") is None


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
