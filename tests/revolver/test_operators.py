"""Mutation, crossover and copyover: where they reach, what they record, what they refuse."""

import random
from dataclasses import replace

import pytest

from reuseprior import revolver as rv
from reuseprior.revolver import blocks
from reuseprior.revolver.show import compare
from tests.revolver.worlds import SMALL, compatible, mutable_sites, settled

PLAIN = replace(SMALL, unique=0.0)
X = (8, 8, 8)


def net(seed=0, space=PLAIN, tags=None):
    return rv.generate(space, random.Random(seed), tags or rv.Tags())


def unit(x=X, channels=8, kernel_size=3, **options):
    conv = blocks.conv(x, channels, kernel_size, kernels=(1, 3, 5))
    return blocks.unit(conv, convs=("conv", "separable"), **options)


def group(count, kernel_size=3):
    made = [blocks.residual([unit(kernel_size=kernel_size)]) for _ in range(count)]
    return blocks.residual_group(made, drops=(0.0, 0.1), kinds=("residual", "bottleneck"))


def test_mutation_reaches_every_mutable_at_any_depth():
    tags, rng = rv.Tags(), random.Random(0)
    for scheme in ("resnet", "densenet"):
        original = net(1, replace(PLAIN, schemes=(scheme,), groups=1, depths=(6,)))
        sites = mutable_sites(original)
        assert max(len(path) for path, _ in sites) >= 4
        reached, tries = set(), iter(range(4000))
        while reached != sites and next(tries, None) is not None:
            copy = original.copy()
            if rv.mutate(copy, PLAIN, tags, rng, rv.Rates(mutation=0.4, toggle=0)):
                (change,) = mutated(original, copy)
                *above, last = change.path
                replaced = change.what == "replaced"
                reached.add((tuple(above), last) if replaced else (change.path, change.what))
        refused = sites - reached
        assert not {key for _, key in refused} - {"group0"}, refused  # no dense group fits


def mutated(before, after):
    """What mutation may have changed, and not what follows from it, as padding does."""
    by_mutation = {"replaced", "kernel_size", "momentum", "drop"}
    return [change for change in compare(before, after).changes if change.what in by_mutation]


def test_gates_of_algorithm_4():
    tags, rng = rv.Tags(), random.Random(0)
    original = settled(group(2), tags)
    for mutation, depths in ((1.0, {0, 1}), (0, set())):
        found = set()
        for _ in range(100):
            copy = original.copy()
            if rv.mutate(copy, PLAIN, tags, rng, rv.Rates(mutation=mutation, toggle=0)):
                found |= {len(change.path) for change in mutated(original, copy)}
        assert found == depths
    assert not rv.mutate(settled(blocks.linear((3,), 2), tags), PLAIN, tags, rng)


def test_a_kernel_mutation_renames_repads_and_keeps_the_shape():
    tags, rng = rv.Tags(), random.Random(0)
    node = blocks.conv(X, 8, 3, stride=2, kernels=(1, 3, 5))
    rv.infer(node, X)
    history = []
    for _ in range(6):
        before = node.to_data()
        assert rv.mutate(node, PLAIN, tags, rng, rv.Rates(mutation=1.0, toggle=0.0))
        size = node.arguments["kernel_size"]
        assert size != before["arguments"]["kernel_size"]
        assert node.arguments["padding"] == size // 2 and node.output_shape == (8, 4, 4)
        assert node.name == f"conv8_8_{size}_2_{size // 2}_1_1_F" != before["name"]
        before.pop("meta")
        history.append(before)
    assert node.meta["mutation_history"] == history
    even = blocks.conv(X, 8, 3, kernels=(3, 4))  # a size of 4 would shrink the image
    for _ in range(5):
        assert not rv.mutate(even, PLAIN, tags, rng, rv.Rates(mutation=1.0, toggle=0.0))
    assert even.to_data() == blocks.conv(X, 8, 3, kernels=(3, 4)).to_data()


def test_the_history_of_a_replaced_convolution():
    """As in appendix C.5: a convolution that became a unit with an ensemble of three."""
    tags = rv.Tags()
    root = blocks.resnet(blocks.conv((3, 8, 8), 8), [], 3, convs=("conv", "ensemble_mean"))
    root = settled(root, tags)
    stem = root.at("conv").to_data()
    assert rv.mutate(root, PLAIN, tags, random.Random(3), rv.Rates(mutation=1.0, toggle=0.0))
    ensemble = root.at("conv")
    (old,) = ensemble.meta["mutation_history"]
    assert (old["kind"], old["name"]) == ("conv", stem["name"])
    assert ensemble.kind == "ensemble_mean" and len(ensemble.children) == 3
    assert rv.Blueprint.from_data(old).name == stem["name"]
    assert len({member.name for member in ensemble.children.values()}) == 3
    rv.check(root)


def test_replaced_blocks_keep_the_scope():
    node = unit()
    node.rescope("left/")
    tags = rv.Tags()
    rv.settle(node, tags)
    assert rv.mutate(node, PLAIN, tags, random.Random(0), rv.Rates(mutation=1.0, toggle=0.0))
    assert {n.prefix for _, n in node.walk()} == {"left/"}


def test_toggling():
    tags, rng = rv.Tags(), random.Random(1)
    rates = rv.Rates(mutation=1.0, toggle=1.0, unique=1.0)
    node = blocks.conv(X, 8, kernels=(1, 3))
    for unique in (True, False, True):
        assert rv.mutate(node, PLAIN, tags, rng, rates) and node.unique == unique
        assert (node.tag is not None) == unique
    node = blocks.conv(X, 8, kernels=(1, 3))
    for _ in range(5):
        assert rv.mutate(node, PLAIN, tags, rng, replace(rates, unique=0.0)) and not node.unique


def test_crossover_swaps_rows_of_blocks_of_any_length_at_every_level():
    tags, lengths, depths = rv.Tags(), set(), set()
    for seed in range(80):
        a, b = settled(group(1 + seed % 2, 3), tags), settled(group(4 - seed % 2, 5), tags)
        old = {path: (node.tag, node.arguments) for path, node in a.copy().walk()}
        if rv.crossover(a, b, tags, random.Random(seed), rv.Rates(crossover=0.6)):
            new = {path: (node.tag, node.arguments) for path, node in a.walk()}
            depths |= {len(path) for path in old.keys() & new.keys() if old[path] != new[path]}
            lengths.add((len(a.children), len(b.children)))
            for node in (a, b):
                assert list(node.children) == [f"block{i}" for i in range(len(node.children))]
                rv.check(node)
    assert {(1, 4), (2, 3), (3, 2), (4, 1)} <= lengths and {1, 2, 3} <= depths


def test_norms_of_one_use_do_not_make_equal_pieces_differ():
    space = replace(PLAIN, schemes=("resnet",), norm_scope="use", groups=1, depths=(6,))
    tags = rv.Tags()
    a = net(3, space, tags)
    b = rv.clone(a, tags)
    assert a.at("group0").name == b.at("group0").name
    same_place = {one for one, other in compatible(a, b) if one == other}
    assert {roles for _, roles in same_place} == {("linear",)}  # each has its own


def test_crossover_moves_shared_names_and_leaves_equal_models_alone():
    tags, rng = rv.Tags(), random.Random(0)
    a, b = (settled(blocks.bottleneck([blocks.conv(X, 8, k)]), tags) for k in (3, 5))
    names = a.at("unit0").name, b.at("unit0").name
    assert rv.crossover(a, b, tags, rng, rv.Rates(crossover=1.0))
    assert (b.at("unit0").name, a.at("unit0").name) == names
    a, b = (settled(blocks.bottleneck([blocks.conv(X, 8)]), tags) for _ in "ab")
    assert compatible(a, b) == []
    assert not any(rv.crossover(a, b, tags, rng) for _ in range(20))


def test_nothing_stands_where_its_kind_may_not():
    tags = rv.Tags()
    a = settled(blocks.unit(blocks.conv(X, 8), convs=("conv", "separable")), tags)
    b = settled(blocks.unit(blocks.separable(X, 8), convs=("separable",)), tags)
    pairs = {(sum(left, ()), sum(right, ())) for left, right in compatible(a, b)}
    assert (("conv",), ("conv",)) not in pairs  # b takes no plain convolution
    assert (("bn",), ("bn",)) in pairs and (("bn",), ("act",)) not in pairs
    # A copy only goes one way, and that way is allowed.
    for seed in range(50):
        receiver = a.copy()
        if rv.copyover(b, receiver, tags, random.Random(seed)) and receiver.at("conv").children:
            break
    assert receiver.at("conv").kind == "separable" and receiver.at("conv").name in b.to_json()


def test_operators_want_two_trees():
    a, tags = net(), rv.Tags(10**6)
    with pytest.raises(rv.BlueprintError, match="share nodes: give operators clones"):
        rv.crossover(a, a, tags, random.Random(0))
    b = net(1)
    b.children["group0"] = a.children["group0"]
    with pytest.raises(rv.BlueprintError, match="share nodes"):
        rv.copyover(a, b, tags, random.Random(0))
