"""The generator: pure, varied, within its ranges."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from reuseprior import revolver as rv
from tests.revolver.worlds import SMALL


def test_eighty_cifar_individuals_are_varied():
    tags = rv.Tags()
    population = [rv.generate(rv.Space(), random.Random(seed), tags) for seed in range(80)]
    drawn = Counter((b.kind, b.meta["depth"], b.meta["width"]) for b in population)
    assert len(drawn) == 16 and len({b.base_name for b in population}) == 80
    kinds = Counter(node.kind for b in population for _, node in b.walk())
    assert {kind for kind, weight in rv.Space().convs.items() if weight} <= set(kinds)
    for blueprint in population:
        rv.check(blueprint)
        assert (blueprint.input_shape, blueprint.output_shape) == ((3, 32, 32), (10,))


def test_depth_width_and_resolution():
    space = replace(rv.Space(), convs={"conv": 1}, schemes=("resnet",), blocks=("residual",))
    for depth, width, image in ((22, 1, 32), (40, 2, 28)):
        wrn = replace(space, depths=(depth,), widths=(width,), image=(3, image, image))
        net = rv.generate(wrn, random.Random(0), rv.Tags())
        for index in range(3):
            group = net.at(f"group{index}")
            assert len(group.children) == (depth - 4) // 6
            assert group.output_shape == (16 * width * 2**index, *[image >> index] * 2)
        weighty = [path for path, n in net.walk() if n.kind in ("conv", "linear")]
        assert len([path for path in weighty if "shortcut" not in path]) == depth - 2
    small = rv.generate(replace(wrn, image=(3, 8, 8)), random.Random(0), rv.Tags())
    assert small.at("group2").output_shape == (32, 8, 8)  # no image to halve, no width to double


def test_share_of_unique_modules_and_sharing():
    factors = []
    for unique in (0.0, 0.5, 1.0):
        space, tags = replace(rv.Space(), unique=unique), rv.Tags()
        population = [rv.generate(space, random.Random(seed), tags) for seed in range(30)]
        convs = [n for b in population for _, n in b.walk() if n.kind == "conv"]
        assert abs(sum(n.unique for n in convs) / len(convs) - unique) < 0.05
        factors.append(rv.sharing_factor(population))
    assert factors[0] > factors[1] > factors[2] == 1.0


def test_blocks_are_shared_where_norms_belong_to_their_use():
    space = replace(rv.Space(), unique=0.0, schemes=("resnet",))
    for scope, shared in (("block", False), ("use", True)):
        net = rv.generate(replace(space, norm_scope=scope), random.Random(1), rv.Tags())
        blocks = list(net.at("group0").children.values())
        assert {block.unique for block in blocks} == {not shared}
        assert (blocks[1].name == blocks[2].name) == shared
    assert net.unique  # for its linear layer


def test_members_of_an_ensemble_differ_unless_asked():
    space = replace(rv.Space(), unique=0.0, convs={"ensemble_mean": 1})
    for tied in (False, True):
        net = rv.generate(replace(space, tied=tied), random.Random(0), rv.Tags())
        ensembles = [node for _, node in net.walk() if node.kind == "ensemble_mean"]
        assert ensembles
        assert {len({m.name for m in e.children.values()}) for e in ensembles} == {1 if tied else 3}


def test_a_prefix_keeps_populations_apart():
    a, b = (
        rv.generate(replace(SMALL, prefix=prefix), random.Random(0), rv.Tags())
        for prefix in ("a/", "b/")
    )
    names = [{name for _, _, name in tree.scopes()} for tree in (a, b)]
    assert names[0].isdisjoint(names[1])


WRONG = [
    ({"schemes": ("vgg",)}, "schemes of the search space hold 'vgg': choose from resnet, densenet"),
    ({"convs": {"conv": 0}}, "convs are weighted {'conv': 0}: give one a positive weight"),
    ({"convs": {"cnv": 1}}, "convs of the search space hold 'cnv', did you mean 'conv'"),
    ({"image": (32, 32)}, r"space.image is \(32, 32\): expected `array` of length 3, got 2"),
    ({"norm_scope": "net"}, "norm_scope is 'net': use 'block' or 'use'"),
    ({"dense_groups": ("conv",)}, "dense_groups of the search space hold 'conv': choose from"),
    ({"groups": 0}, "space.groups is 0: expected `int` >= 1"),
    ({"orders": ((),)}, r"orders hold \(\): name its convolution, 'conv', once"),
    ({"momentum": (0.9, 0.1)}, r"momentum is \(0.9, 0.1\): give the lowest and the highest"),
    ({"colour": 1}, "the search space has no 'colour': it has image, classes"),
]


@pytest.mark.parametrize(("options", "sentence"), WRONG)
def test_a_space_that_cannot_be(options, sentence):
    with pytest.raises(rv.SpaceError, match=sentence):
        rv.Space.from_data(options)


def test_a_block_that_leads_nowhere_is_named():
    for group in ("dense_concat", "dense_sum"):
        space = replace(SMALL, schemes=("densenet",), dense_groups=(group,))
        space = replace(space, dense_blocks=("linear",))
        with pytest.raises(rv.SpaceError, match=r"no 'linear' leads from .* take it out of the se"):
            rv.generate(space, random.Random(0), rv.Tags())
