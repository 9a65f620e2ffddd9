"""The ensemble of signal paths against explicit enumeration, and the cases that are easy to miss.

The enumeration below reads a description of a network, not its trace: it follows every signal
without keeping any, lists every path, and adds up what each passes.
"""

import random
from collections import Counter
from dataclasses import dataclass
from math import exp, log, log2, sqrt

import numpy as np
import pytest
import torch
from torch import nn

from reuseprior import sharing
from reuseprior.contexts import trace_model
from reuseprior.contexts.graph import averaged_positions
from reuseprior.errors import UserError
from reuseprior.measures.scores import INPUT, signal_paths
from reuseprior.models import catalog
from tests.contexts.zoo import Calls, ones
from tests.soak import drawn

CHANNELS, SIDE = 4, 6


# Random networks ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """A node: what makes it, of which nodes before it; a layer says which weight it uses."""

    kind: str
    origins: tuple[int, ...]
    weight: int = -1


class Drawn(nn.Module):
    """The network of some steps; node 0 is the input, the last one the output."""

    def __init__(self, steps, channels):
        super().__init__()
        made, self.operators = {}, []
        for step, width in zip(steps, channels[1:], strict=True):
            if step.kind == "layer" and step.weight not in made:
                made[step.weight] = nn.Conv2d(channels[step.origins[0]], CHANNELS, 1, bias=False)
            operator = made[step.weight] if step.kind == "layer" else OTHERS.get(step.kind)
            self.operators.append((operator or nn.BatchNorm2d(width), step.origins))
        self.held = nn.ModuleList(o for o, _ in self.operators if isinstance(o, nn.Module))

    def forward(self, x):
        nodes = [x]
        for operator, origins in self.operators:
            nodes.append(operator(*(nodes[s] for s in origins)))
        return nodes[-1]


OTHERS = {
    "pool": nn.AvgPool2d(3, 1, 1), "relu": torch.relu, "product": torch.mul,
    "cat": lambda *given: torch.cat(given, 1), "sum": lambda *given: sum(given),
}  # fmt: skip


def draw(chance):
    """Steps of a random network, and the channels of its nodes."""
    steps, channels, weights = [], [CHANNELS], {}
    for _ in range(chance.randint(4, 11)):
        kind = chance.choice("layer layer sum sum cat pool norm relu product".split())
        newest = len(channels) - 1
        first = newest if chance.random() < 0.6 else chance.randrange(len(channels))
        if kind in ("sum", "product"):
            like = [n for n, c in enumerate(channels) if c == channels[first]]
            n = 2 if kind == "product" else chance.choice([2, 2, 3])
            step = Step(kind, (first, *(chance.choice(like) for _ in range(n - 1))))
            made = channels[first]
        elif kind == "cat":
            step = Step(kind, (first, chance.randrange(len(channels))))
            made = sum(channels[s] for s in step.origins)
        elif kind == "layer":
            tied = [w for w, before in weights.items() if before == channels[first]]
            again = tied and chance.random() < 0.4
            weight = chance.choice(tied) if again else len(weights)
            weights[weight] = channels[first]
            step, made = Step(kind, (first,), weight), CHANNELS
        else:
            step, made = Step(kind, (first,)), channels[first]
        steps.append(step)
        channels.append(made)
    return steps, channels


def signal(steps, channels, node):
    """Amplitudes by origin (a node that is a layer, or 0), followed anew each time it is asked."""
    if node == 0 or steps[node - 1].kind == "layer":
        return {node: 1.0}
    step = steps[node - 1]
    given = [signal(steps, channels, s) for s in step.origins]
    total = Counter()
    if step.kind == "cat":
        for origin, part in zip(step.origins, given, strict=True):
            for name, amplitude in part.items():
                total[name] += channels[origin] / channels[node] * amplitude**2
        return {name: sqrt(square) for name, square in total.items()}
    if step.kind == "product":
        variances = [sum(a**2 for a in part.values()) for part in given]
        for part, variance in zip(given, variances, strict=True):
            for name, amplitude in part.items():
                total[name] += amplitude**2 / variance / 2
        scale = (variances[0] * variances[1]) ** 0.25
        return {name: scale * sqrt(contribution) for name, contribution in total.items()}
    for part in given:
        total.update(part)
    size = sqrt(sum(a**2 for a in total.values())) if step.kind == "norm" else 1
    size *= 3 if step.kind == "pool" else 1  # the root of 9 positions
    return {name: amplitude / size for name, amplitude in total.items()}


def listed(steps, channels, node):
    """Every signal path that ends in a node's signal: its layers' nodes, and its probability."""
    amplitudes = signal(steps, channels, node)
    variance = sum(a**2 for a in amplitudes.values())
    for origin, amplitude in amplitudes.items():
        contribution = amplitude**2 / variance
        if origin == 0:
            yield (), contribution
        else:
            for path, p in listed(steps, channels, steps[origin - 1].origins[0]):
                yield (*path, origin), p * contribution


def enumerated(steps, channels):
    paths = list(listed(steps, channels, len(steps)))
    passed, by_weight = Counter(), Counter()
    for path, p in paths:
        for node in path:
            passed[node] += p
            by_weight[steps[node - 1].weight] += p
    sizes = {s.weight: CHANNELS * channels[s.origins[0]] for s in steps if s.kind == "layer"}
    met = np.array([u * sizes[w] for w, u in by_weight.items()])
    met = met / met.sum() if len(met) else met
    return {
        "passed": dict(passed),
        "mean_length": sum(p * len(path) for path, p in paths),
        "shortest": min(len(path) for path, _ in paths),
        "log2_paths": log2(len(paths)),
        "path_entropy": -sum(p * log2(p) for _, p in paths),
        "layer_entropy": float(-(met @ np.log2(met))) if len(met) else 0.0,
        "log_partition": log(sum(p * exp(-0.7 * len(path)) for path, p in paths)),
        "total": sum(p for _, p in paths),
    }


def close(found, expected):
    return found == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("seed", drawn(range(200), 50))
def test_equals_explicit_enumeration(seed):
    chance = random.Random(seed)
    steps, channels = draw(chance)
    while not any(s.kind == "layer" for s in steps):
        steps, channels = draw(chance)
    expected = enumerated(steps, channels)
    paths = signal_paths(trace_model(Drawn(steps, channels), (1, CHANNELS, SIDE, SIDE)))
    assert close(expected["total"], 1)
    layers = [n for n, step in enumerate(steps, start=1) if step.kind == "layer"]
    assert len(paths.uses) == len(layers)
    assert close(paths.probabilities.tolist(), [expected["passed"].get(n, 0) for n in layers])
    for name in ("mean_length", "shortest", "log2_paths", "path_entropy", "layer_entropy"):
        assert close(getattr(paths, name), expected[name]), name
    assert close(paths.log_partition(0.7), expected["log_partition"])


# One by one --------------------------------------------------------------------------------------


def paths_of(net, shape=(1, 4, 8, 8)):
    return signal_paths(trace_model(net, shape))


def joined(join, *ways):
    """Several ways from what a first layer makes, joined by a function."""

    def forward(self, x):
        x = self.first(x)
        return join([way(x) for way in self.ways])

    return Calls(forward, first=conv(), ways=nn.ModuleList(ways))


def conv(before=4, after=4, **options):
    return nn.Conv2d(before, after, 1, bias=False, **options)


SKIP, AVERAGE = nn.Identity(), nn.AvgPool2d(3, 1, 1)
NORMS = nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.LayerNorm((4, 8, 8))
# join, ways, share of the outputs' variance that comes from the second layer; beside what is drawn
SHARES = [
    # a norm makes an average whole again
    *((sum, (conv(), nn.Sequential(SKIP, AVERAGE, norm)), 1 / 2) for norm in NORMS),
    (lambda ys: ys[0] - ys[1], (SKIP, conv()), 1 / 2),
    (lambda ys: ys[0] - ys[0] + ys[1], (SKIP, conv()), 1 / 5),  # signs are left out
    (lambda ys: ys[0] / (1 + ys[1].abs()), (SKIP, conv()), 1 / 2),
    (lambda ys: ys[0] + ys[1].mean((2, 3), keepdim=True), (SKIP, conv()), 1 / 65),
    (lambda ys: ys[0] + nn.functional.adaptive_avg_pool2d(ys[1], 8), (SKIP, conv()), 1 / 2),
    (lambda ys: ys[0] * ys[0] * 0 + ys[1], (SKIP, conv()), 1 / 2),
]


@pytest.mark.parametrize(("join", "ways", "contribution"), SHARES)
def test_shares(join, ways, contribution):
    paths = paths_of(joined(join, *ways))
    assert close(paths.ends[1], contribution)
    assert np.isfinite(paths.probabilities).all()


def test_averages():
    """They may leave variances as they are; a 1×1 map pooled to 7×7 is copied, and is none."""
    traced = trace_model(joined(sum, SKIP, nn.Sequential(conv(), AVERAGE)), (1, 4, 8, 8))
    assert close(signal_paths(traced, averages=False).ends[1], 1 / 2)
    for size, made, expected in [(1, 7, 1), (7, 7, 1), (14, 7, 4), (8, 3, 100 / 9), (8, 1, 64)]:
        net = nn.Sequential(conv(), nn.AdaptiveAvgPool2d(made))
        found = map(averaged_positions, trace_model(net, (1, 4, size, size)).trace.operators)
        assert sorted(found) == pytest.approx([1, expected])


def standardised(self, x):
    return nn.functional.conv2d(x, self.w - self.w.mean((1, 2, 3), keepdim=True))


TWICE = nn.Linear(5, 5)
LAYERS = [  # a net, the shape of its input, of each of its layers the parameters and uses
    (nn.Sequential(nn.Linear(5, 5), TWICE, TWICE, nn.Linear(5, 5)), (1, 5),
     [(30, 1), (30, 1), (30, 2)]),
    (Calls(lambda self, x: x @ self.w[:5].t() @ self.w[5:].t() @ self.w[5:].t(), w=ones(10, 5)),
     (1, 5), [(25, 1), (25, 2)]),  # slices of one tensor
    (nn.Sequential(Calls(standardised, w=ones(4, 4, 1, 1)), conv()), (1, 4, 8, 8),
     [(16, 1), (16, 1)]),
]  # fmt: skip


@pytest.mark.parametrize(("net", "shape", "expected"), LAYERS)
def test_layers_are_what_learns_together(net, shape, expected):
    layers = paths_of(net, shape).layers
    assert sorted((layer.parameters, layer.uses) for layer in layers) == expected


def test_layers_of_one_store_are_one_layer():
    net = sharing.apply(catalog.build("wrn-10-2"), "stores:10%,weighted,mask")
    layers = paths_of(net, (1, 3, 32, 32)).layers
    assert max(len(layer.where) for layer in layers) == 3
    assert sum(layer.uses for layer in layers if len(layer.where) > 1) > 1


def test_the_ensemble():
    paths = paths_of(joined(sum, SKIP, conv()))
    ensemble = paths.ensemble()
    # the first layer is passed by every path, the second by half of them, and both hold 16
    assert close(ensemble.probabilities.tolist(), [2 / 3, 1 / 3])
    assert close(ensemble.log_partition, log(16 + 8))
    assert close(ensemble.at(0).log_partition, log(32))
    assert close(ensemble.entropy / log(2) - paths.layer_entropy, 4)
    assert paths.mean_length == 1.5
    assert -paths.log_partition(1e-6) / 1e-6 == pytest.approx(1.5, abs=1e-5)
    assert -paths.log_partition(1e6) / 1e6 == pytest.approx(paths.shortest, abs=1e-5)
    assert (paths.log2_paths, paths.path_entropy) == (1, 1)


def test_no_signal_path_and_one_without_layers():
    paths = paths_of(Calls(lambda self, x: self.conv(torch.zeros_like(x)), conv=conv()))
    assert not paths.is_live
    for asked in ("probabilities", "shortest", "log2_paths", "layer_entropy", "mean_length"):
        with pytest.raises(UserError, match="No input reaches the model's outputs"):
            getattr(paths, asked)
    paths = paths_of(Calls(lambda self, x: x * self.w, w=ones(4, 1, 1)))
    assert (paths.shortest, paths.mean_length, paths.layer_entropy) == (0, 0, 0)
    assert paths.ends == {INPUT: 1}
    with pytest.raises(UserError, match="No signal path of the model passes a learnable layer"):
        paths.ensemble()


@pytest.mark.parametrize("step", [
    lambda x: x + x, lambda x: x * x, lambda x: x * torch.sigmoid(x) + x,
])  # fmt: skip
def test_deep_sums_and_products_stay_finite(step):
    def doubling(self, x):
        x = self.first(x)
        for _ in range(600):
            x = step(x)
        return x

    paths = paths_of(Calls(doubling, first=conv()), (1, 4, 1, 1))
    assert paths.probabilities.tolist() == [1]
