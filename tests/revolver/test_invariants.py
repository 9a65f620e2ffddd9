"""The invariants of a population with shared modules, over random individuals and operators."""

import json
import random
from collections import Counter

import pytest
import torch

from reuseprior import revolver as rv
from reuseprior.revolver import blueprints
from tests.revolver.worlds import compatible, mutable_sites, nodes, places, property_test

pytestmark = pytest.mark.slow


def meta(population) -> rv.Registry:
    registry = rv.Registry(device="meta")
    for blueprint in population:
        registry.build(blueprint)
    return registry


def data(*blueprints):
    return [blueprint.to_data() for blueprint in blueprints]


def weights(module):
    return list(module.parameters(recurse=False))


@property_test(steps=3)
def test_1_one_object_a_name(world):
    registry = meta(world.population)
    owner = {}
    for blueprint in world.population:
        net = registry.build(blueprint)
        for path, _, name in blueprint.scopes():
            assert net.get_submodule(".".join(path)) is registry[name]
            for parameter in weights(registry[name]):
                assert owner.setdefault(parameter, name) == name
    # 2: equal base names mean equal blocks, 3: what holds a unique block is unique
    content = {}
    for _, node, _ in places(world.population):
        parts = [(role, child.name) for role, child in node.children.items()]
        is_ = (node.kind, node.arguments, parts)
        assert content.setdefault(node.base_name, is_) == is_
        assert node.unique or not any(child.unique for child in node.children.values())
        assert node.unique == (node.tag is not None)
        assert node.unique or blueprints.find(node.kind).shareable(node)
    # 13: counting, one by one; together they are counted in test_population
    for blueprint in world.population:
        built = sum(p.numel() for p in registry.build(blueprint).parameters())
        assert blueprint.parameters() == built <= blueprint.weights()


@property_test(individuals=1, steps=1)
def test_4_make_unique(world):
    (net,) = world.population
    path = world.place(net)
    before = {p: (n.unique, n.tag, n.name) for p, n in net.walk()}
    rv.make_unique(net, path, world.tags)
    above = {path[:depth] for depth in range(len(path) + 1)}
    old_tags = {tag for _, tag, _ in before.values()}
    for place, node in net.walk():
        unique, _, name = before[place]
        assert node.unique == (unique or place in above)
        if node.unique:
            assert node.tag not in old_tags
        else:
            assert node.name == name
    rv.check(net)


@property_test(individuals=1, steps=1)
def test_5_make_common(world):
    (net,) = world.population
    path = world.place(net)
    before = {p: (n.unique, n.tag) for p, n in net.walk()}
    rv.make_common(net, path)
    for place, node in net.walk():
        if place[: len(path)] != path:
            assert (node.unique, node.tag) == before[place]
            continue
        below = [n for _, n in node.walk()]
        assert node.unique == any(not blueprints.find(n.kind).shareable(n) for n in below)
    once = data(net)
    assert not rv.make_common(net, path) and data(net) == once
    rv.make_common(net, ())
    shared = {p: n.unique for p, n in net.walk()}
    rv.make_unique(net, path, world.tags)
    rv.make_common(net, ())
    assert {p: n.unique for p, n in net.walk()} == shared


@property_test(steps=3)
def test_6_a_unique_name_has_one_place_and_originals_stay(world):
    individuals = list({id(b): b for b in world.population}.values())
    owned = Counter(name for _, node, name in places(individuals) if node.unique)
    assert set(owned.values()) <= {1}
    before = data(*individuals)
    registry = meta(individuals)
    names = set(registry.modules)
    a, b = world.offspring(), world.offspring()
    for _ in range(3):
        world.operate(a, b)
    assert data(*individuals) == before
    for _, node, name in [*places([a, b])]:
        assert not (node.unique and name in names)


@property_test(steps=1)
def test_7_the_registry_holds_what_the_living_reach(world):
    registry = meta(world.population)
    world.evolve(1)
    for blueprint in world.population:
        registry.build(blueprint)
    living = {name for _, _, name in places(world.population)}
    dead = set(registry.modules) - living
    shared = {name for name in dead if not {"+", "@"} & set(name) and weights(registry[name])}
    assert set(registry.collect(world.population, keep=1000)) == dead - shared
    assert set(registry.modules) == living | shared
    assert set(registry.collect(world.population)) == shared


@property_test(individuals=1, steps=1)
def test_8_building_is_pure(world):
    (net,) = world.population
    registry = rv.Registry()
    before = data(net), random.getstate(), torch.get_rng_state()
    model = registry.build(net)
    names = list(registry.modules)
    assert registry.build(net) is registry.build(net.copy()) is model
    assert list(registry.modules) == names and data(net) == before[0]
    assert random.getstate() == before[1] and torch.equal(torch.get_rng_state(), before[2])
    again = rv.Registry().build(net).state_dict()
    assert all(torch.equal(tensor, again[key]) for key, tensor in model.state_dict().items())


@property_test(steps=3)
def test_10_declared_shapes_are_traced_shapes(world):
    registry = rv.Registry()
    for blueprint in world.population:
        net = registry.build(blueprint).eval()
        traced = Counter()
        scopes = [(name, node.input_shape, node.output_shape) for _, node, name in
                  blueprint.scopes()]  # fmt: skip

        def trace(module, x, y, traced=traced):
            traced[module, x[0].shape[1:], y.shape[1:]] += 1

        hooks = [registry[name].register_forward_hook(trace) for name in {s[0] for s in scopes}]
        with torch.no_grad():
            y = net(torch.zeros(2, *world.space.image))
        assert y.shape == (2, world.space.classes)
        for hook in hooks:
            hook.remove()
        assert traced == Counter((registry[name], *shapes) for name, *shapes in scopes)


@property_test(steps=1)
def test_11_operators_say_whether_they_changed_something(world):
    a, b = world.offspring(), world.offspring()
    for operator in (rv.crossover, rv.copyover):
        before, pieces, offered = data(a, b), nodes(a, b), compatible(a, b)
        changed = operator(a, b, world.tags, world.rng)
        assert changed == (data(a, b) != before) and (offered or not changed)
        if operator is rv.crossover:
            assert nodes(a, b) == pieces
        else:
            assert data(a) == before[:1]
        rv.check(a), rv.check(b)  # trees without cycles, each node once
    for _ in range(3):
        before = data(a)
        assert rv.mutate(a, world.space, world.tags, world.rng) == (data(a) != before)
        rv.check(a)
    for _ in range(3):
        world.operate(a, b)
    # 12: values stay in their domains
    for blueprint in (a, b):
        sites = mutable_sites(blueprint)
        for path, node in blueprint.walk():
            for key in node.mutables:
                roles = [r for r in (*node.arguments, *node.children) if r.startswith(key)]
                assert roles and {(path, role) for role in roles} <= sites
            values = node.arguments | {role: c.kind for role, c in node.children.items()}
            for key, value in values.items():
                domain = node.domain(key)
                if isinstance(domain, dict):
                    assert domain["low"] <= value <= domain["high"]
                else:
                    assert domain is None or value in domain


@property_test(steps=1)
def test_15_round_trip(world):
    registry = rv.Registry(seed=3)
    registry.tags = world.tags
    for blueprint in world.population:
        registry.build(blueprint)
    tensors, description = registry.state()
    texts = [json.dumps(blueprint.to_data()) for blueprint in world.population]
    restored = rv.Registry.restore(tensors, json.loads(json.dumps(description)))
    assert restored.tags == registry.tags
    again = [rv.Blueprint.from_json(text) for text in texts]
    x = torch.rand(1, *world.space.image)
    for old, new in zip(world.population, again, strict=True):
        assert old.name == new.name and old.to_data() == new.to_data()
        assert torch.equal(registry.build(old).eval()(x), restored.build(new).eval()(x))
    rng = random.Random()
    rng.setstate(world.rng.getstate())
    for population, tags, numbers in (
        (world.population, registry.tags, world.rng),
        (again, restored.tags, rng),
    ):
        a, b = (rv.clone(blueprint, tags, numbers, unique=0.16) for blueprint in population)
        rv.crossover(a, b, tags, numbers)
        rv.mutate(a, world.space, tags, numbers)
        population[:] = [a, b]
    assert data(*world.population) == data(*again)
