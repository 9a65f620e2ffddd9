"""Weights by name, freezing, inheriting, collecting and restoring."""

import json

import pytest
import torch

from reuseprior import revolver as rv
from reuseprior.revolver import blocks
from tests.revolver.worlds import settled

X = (4, 6, 6)


def unit(registry, **options):
    return settled(blocks.unit(blocks.conv(X, 4, **options)), registry.tags)


def train(module, steps=1):
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], 0.1)
    for _ in range(steps):
        module.train()(torch.rand(8, *X)).square().sum().backward()
        optimizer.step()


def values(module):
    return {key: tensor.clone() for key, tensor in module.state_dict().items()}


def same(a, b):
    return {key for key in a if torch.equal(a[key], b[key])}


def test_first_weights_depend_on_seed_and_name_alone():
    a, b, c = rv.Registry(seed=1), rv.Registry(seed=1), rv.Registry(seed=2)
    first, second = blocks.conv(X, 4), blocks.conv(X, 5)
    torch.manual_seed(0)
    a.build(first), a.build(second)
    torch.manual_seed(9)
    b.build(second), b.build(first), c.build(first)
    for node in (first, second):
        assert torch.equal(a[node.name].weight, b[node.name].weight)
        assert a[node.name] is not b[node.name]
    assert not torch.equal(a[first.name].weight, c[first.name].weight)
    x, y = blocks.conv(X, 4), blocks.conv(X, 4)
    for node in (x, y):
        node.unique = True
        rv.settle(node, a.tags)
    assert not torch.equal(a.build(x).weight, a.build(y).weight)


def test_freezing_really_freezes_for_everyone():
    registry = rv.Registry()
    node = unit(registry)
    module = registry.build(node)
    train(module)
    registry.freeze(node)
    assert all(n.freeze for _, n in node.walk())
    before = values(module)
    for other in (
        blocks.residual([unit(registry), unit(registry)]),
        blocks.bottleneck([node.copy(), unit(registry, kernel_size=5)]),
    ):
        train(registry.build(settled(other, registry.tags)), steps=2)
    assert same(before, values(module)) == set(before)
    assert not any(p.requires_grad or p.grad is not None for p in module.parameters())


def test_a_clone_of_a_frozen_block_starts_afresh_where_it_is_unique():
    registry = rv.Registry()
    node = unit(registry)
    registry.freeze(node)
    clone = rv.clone(node, registry.tags)
    assert {p: n.freeze for p, n in clone.walk()} == {
        (): False, ("bn",): False, ("act",): True, ("conv",): True,
    }  # fmt: skip
    module = registry.build(clone)
    assert module.bn.weight.requires_grad and not module.conv.weight.requires_grad


def test_a_new_part_of_a_frozen_block_is_trained():
    registry = rv.Registry()
    convs = [blocks.conv(X, 4), blocks.conv(X, 4, kernel_size=1)]
    units = [blocks.unit(conv, ("conv", "act")) for conv in convs]
    group = settled(blocks.residual(units), registry.tags)
    registry.freeze(group)
    clone = rv.clone(group, registry.tags)
    elsewhere = registry.build(blocks.conv(X, 4, kernel_size=5))
    clone.at("unit1").children["conv"] = blocks.conv(X, 4, kernel_size=5)
    rv.settle(clone, registry.tags)
    assert {p for p, n in clone.walk() if not n.freeze} == {(), ("unit1",), ("unit1", "conv")}
    module = registry.build(clone)
    assert not module.unit0.conv.weight.requires_grad
    assert module.unit1.conv is elsewhere and elsewhere.weight.requires_grad


def test_statistics_without_weights_are_kept_too():
    registry = rv.Registry()
    node = settled(rv.assemble("batch_norm", X, features=4, affine=False), registry.tags)
    module = registry.build(node)
    module.train()(torch.rand(8, *X))
    registry.freeze(node)
    restored = rv.Registry.restore(*registry.state()).build(node)
    assert same(values(module), values(restored)) == set(values(module)) and restored.frozen


@pytest.mark.parametrize("inherit", [False, True])
def test_inheriting(inherit):
    registry = rv.Registry(inherit=inherit)
    node = unit(registry)
    train(registry.build(node), steps=2)
    clone = rv.clone(node, registry.tags)
    rv.make_unique(clone, "conv", registry.tags)
    old, new = registry.build(node), registry.build(clone)
    assert new.conv is not old.conv
    assert torch.equal(new.conv.weight, old.conv.weight) == inherit
    assert torch.equal(new.bn.running_mean, old.bn.running_mean) == inherit


def test_an_unchanged_part_is_not_rebuilt():
    registry = rv.Registry()
    net = settled(blocks.residual([unit(registry), unit(registry)]), registry.tags)
    before = registry.build(net)
    weights = values(before.unit1.bn)
    net.at("unit0").children["conv"] = blocks.conv(X, 4, 5)
    after = registry.build(net)
    assert after is not before and after.unit0 is not before.unit0
    assert after.unit0.bn is before.unit0.bn and after.unit1 is before.unit1
    assert after.unit0.conv is not before.unit0.conv
    assert same(weights, values(after.unit1.bn)) == set(weights)


def test_kept_modules_are_the_last_that_died():
    registry = rv.Registry()
    nodes = [blocks.conv(X, channels) for channels in range(1, 6)]
    for node in nodes:
        registry.build(node)
    assert registry.collect(nodes, keep=2) == []
    assert registry.collect(nodes[1:], keep=2) == []
    assert registry.collect(nodes[2:], keep=2) == []
    assert registry.collect(nodes[3:], keep=2) == [nodes[0].name]
    weight = registry[nodes[2].name].weight
    assert registry.build(nodes[2]).weight is weight  # found again
    assert registry.collect(nodes[2:], keep=1) == []
    assert set(registry.collect([])) == {node.name for node in nodes[1:]} and len(registry) == 0


def test_a_restored_registry_goes_on_as_the_old():
    registry = rv.Registry(seed=4, inherit=True)
    a, b = unit(registry), unit(registry, kernel_size=5)
    registry.build(a), registry.build(b)
    registry.freeze(a, "conv")
    train(registry.build(a))
    registry.collect([a], keep=5)
    tensors, description = registry.state()
    tensors = {key: tensor.clone() for key, tensor in tensors.items()}
    restored = rv.Registry.restore(tensors, json.loads(json.dumps(description)))
    assert (restored.seed, restored.inherit, restored.tags) == (4, True, registry.tags)
    assert set(restored.modules) == {n for n in registry.modules if f"{n}:weight" in tensors}
    old, new = registry.build(a), restored.build(a)
    assert same(values(old), values(new)) == set(values(old))
    assert not new.conv.weight.requires_grad and new.bn.weight.requires_grad
    assert restored.collect([a], keep=5) == [] == registry.collect([a], keep=5)
    assert restored.collect([a]) == [b.at("conv").name]
