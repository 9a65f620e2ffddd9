"""One function, one count, however a model spells it; and what only looks alike stays as it is."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reuseprior.contexts import CountingError, count_contexts, fingerprint, record_model

aten = torch.ops.aten


class Spelled(nn.Module):
    """A layer, a function spelled out, its vectors and a layer."""

    def __init__(self, function):
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
        self.w, self.b = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))
        self.function = function

    def forward(self, x):
        return self.last(self.function(self, self.first(x)))


def counted(function, **options):
    counts = count_contexts(Spelled(function), (1, 3), exact=True, **options)
    found = {p.name: np.broadcast_to(p.counts, p.shape).tolist() for p in counts.parameter_counts}
    return found, counts.one_step


def rms(self, x, eps=1e-6):
    variance = x.to(torch.float32).pow(2).mean(-1, keepdim=True)
    return self.w * (x.to(torch.float32) * torch.rsqrt(variance + eps)).to(x.dtype)


def rms_of_products(self, x):
    return x / torch.sqrt(torch.mean(x * x, dim=-1, keepdim=True) + 1e-6) * self.w


def layer_norm(self, x):
    difference = x - x.mean(-1, keepdim=True)
    variance = difference.pow(2).mean(-1, keepdim=True)
    return difference * torch.rsqrt(variance + 1e-5) * self.w + self.b


def layer_norm_of_two_differences(self, x):
    u = x.mean(-1, keepdim=True)
    s = (x - u).pow(2).mean(-1, keepdim=True)
    return (x - u) / torch.sqrt(s + 1e-5) * self.w + self.b


def layer_norm_of_variance(self, x):
    variance = x.var(-1, keepdim=True, unbiased=False)
    return (x - x.mean(-1, keepdim=True)) / (variance + 1e-5).sqrt() * self.w + self.b


def new_gelu(self, x):
    inner = 0.7978845608 * (x + 0.044715 * torch.pow(x, 3.0))
    return 0.5 * x * (1.0 + torch.tanh(inner))


SAME = {
    "rms": (rms, lambda self, x: F.rms_norm(x, (4,), self.w)),
    "rms of products": (rms_of_products, lambda self, x: F.rms_norm(x, (4,), self.w)),
    "rms by powers": (
        lambda self, x: x * ((x**2).mean(-1, keepdim=True) + 1e-6) ** -0.5 * self.w,
        lambda self, x: F.rms_norm(x, (4,), self.w),
    ),
    "layer norm": (layer_norm, lambda self, x: F.layer_norm(x, (4,), self.w, self.b)),
    "layer norm of two differences": (
        layer_norm_of_two_differences,
        lambda self, x: F.layer_norm(x, (4,), self.w, self.b),
    ),
    "layer norm of a variance": (
        layer_norm_of_variance,
        lambda self, x: F.layer_norm(x, (4,), self.w, self.b),
    ),
    "silu": (lambda self, x: x * torch.sigmoid(x), lambda self, x: F.silu(x)),
    "silu in place": (lambda self, x: x.mul_(x.sigmoid()), lambda self, x: F.silu(x)),
    "quick gelu": (lambda self, x: x * torch.sigmoid(1.702 * x), lambda self, x: F.silu(x)),
    "hardswish": (lambda self, x: x * F.relu6(x + 3) / 6, lambda self, x: F.hardswish(x)),
    "hardswish by clamp": (
        lambda self, x: x * (x + 3).clamp(0, 6).div_(6),
        lambda self, x: F.hardswish(x),
    ),
    "gelu by erf": (
        lambda self, x: x * 0.5 * (1.0 + torch.erf(x / 1.4142)),
        lambda self, x: F.gelu(x),
    ),
    "gelu of gpt-2": (new_gelu, lambda self, x: F.gelu(x)),
}


@pytest.mark.parametrize("name", SAME)
def test_as_the_fused_operator(name):
    spelled, fused = SAME[name]
    found, steps = counted(spelled)
    expected, none = counted(fused)
    assert found == expected and none == ()
    assert [kind for kind, _ in steps] == ["normalisation" if "w" in found else "activation"]
    as_written, none = counted(spelled, as_written=True)
    assert as_written["first.weight"] > expected["first.weight"] and none == ()
    counts = count_contexts(Spelled(spelled), (1, 3))
    assert f"counted as one step each: 1 of the kind {steps[0][0]}" in str(counts)


def gate_of_another(self, x):
    return x * torch.sigmoid(x * self.w)


def with_a_statistic_besides(self, x):
    """The difference from the mean is an output of its own: there the mean is a source."""
    difference = x - x.mean(-1, keepdim=True)
    normed = difference * torch.rsqrt(difference.pow(2).mean(-1, keepdim=True) + 1e-5)
    return normed + difference


DIFFERENT = {
    "an inverse root of something else": lambda self, x: x * torch.rsqrt(self.w + 1e-5),
    "of another's mean square": lambda self, x: x * torch.rsqrt(
        (x * 2).pow(2).mean(-1, keepdim=True) + 1e-5
    ),
    "without a number under the root": lambda self, x: x * torch.rsqrt(
        x.pow(2).mean(-1, keepdim=True)
    ),
    "of a sum": lambda self, x: x * torch.rsqrt(x.pow(2).sum(-1, keepdim=True) + 1e-5),
    "another power": lambda self, x: x * torch.rsqrt(x.pow(4).mean(-1, keepdim=True) + 1e-5),
    "a gate of weights": gate_of_another,
    "a gate of a mean": lambda self, x: x * torch.sigmoid(x.mean(-1, keepdim=True)),
    "a residual": lambda self, x: x + torch.sigmoid(x),
    "a square": lambda self, x: x * x,
    "a ramp": lambda self, x: x * torch.relu(x),
    "a ramp by clamp": lambda self, x: x * x.clamp(min=0),
    "a ramp downwards": lambda self, x: x * x.clamp(max=1),
    "another root": lambda self, x: x * (x.pow(2).mean(-1, keepdim=True) + 1e-5) ** -0.25,
    "with a statistic besides": with_a_statistic_besides,
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_only_looks_alike(name):
    found, steps = counted(DIFFERENT[name])
    assert steps == () and found == counted(DIFFERENT[name], as_written=True)[0]


def test_a_residual_around_a_norm():
    """Of what the norm is given one path goes around it and one through."""
    found, steps = counted(lambda self, x: x + rms(self, x))
    expected, _ = counted(lambda self, x: x + F.rms_norm(x, (4,), self.w))
    assert found == expected and len(steps) == 1


class Norm(nn.Module):
    """A norm that is not recognised: divided by the greatest entry."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return self.weight * x / x.abs().amax(-1, keepdim=True)


class Net(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(3, 4), norm, nn.Linear(4, 2)

    def forward(self, x):
        x = self.first(x)
        return self.last(x + self.norm(x))


@pytest.mark.parametrize("pointwise", [[Norm], ["norm"]])
def test_modules_that_the_caller_says_are_pointwise(pointwise):
    """As a fused norm with a weight: a path around, one through, and the weight's own."""
    model, fused = Net(Norm()), Net(nn.RMSNorm(4))
    counts = count_contexts(model, (1, 3), exact=True, pointwise=pointwise)
    expected = count_contexts(fused, (1, 3), exact=True)
    for a, b in zip(counts.parameter_counts, expected.parameter_counts, strict=True):
        assert (np.broadcast_to(a.counts, a.shape) == np.broadcast_to(b.counts, b.shape)).all()
    assert counts.one_step == (("pointwise", ""),)
    ours, plain = (record_model(model, (1, 3), pointwise=p) for p in (pointwise, ()))
    assert fingerprint(ours) != fingerprint(plain)


class Rms(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return rms(self, x)


def test_the_callers_word_comes_first():
    counts = count_contexts(Net(Rms()), (1, 3), pointwise=[Rms])
    assert counts.one_step == (("pointwise", ""),)
    rules = {aten.rsqrt: lambda count, x: iter([(x, count * 2)])}
    own = count_contexts(Net(Rms()), (1, 3), rules=rules)
    assert (
        own.one_step == () and own.quantities() != count_contexts(Net(Rms()), (1, 3)).quantities()
    )


@pytest.mark.parametrize(
    ("pointwise", "message"),
    [
        (["norms"], "pointwise names 'norms', which is no module of the model"),
        ([nn.Conv2d], "pointwise names 'Conv2d', which is no module"),
        (["first"], r"Linear gives something else than a tensor of its input's shape \(1, 3\)"),
    ],
)
def test_what_is_not_pointwise(pointwise, message):
    with pytest.raises(CountingError, match=message):
        count_contexts(Net(Norm()), (1, 3), pointwise=pointwise)
