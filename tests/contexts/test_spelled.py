"""One function, one count, however a model spells it; and what only looks alike stays as it is."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reuseprior.contexts import CountingError, count_contexts, fingerprint, trace_model
from tests.contexts.zoo import Calls, counted, entries, ones

aten = torch.ops.aten


def spelled(function):
    """A layer, a function spelled out, its vectors and a layer."""
    return Calls(
        lambda self, x: self.last(function(self, self.first(x))),
        first=nn.Linear(3, 4), last=nn.Linear(4, 2), w=ones(4), b=ones(4),
    )  # fmt: skip


def of(function, **options):
    """What is counted of it, and what counts as one step."""
    counts = count_contexts(spelled(function), (1, 3), exact=True, **options)
    return entries(counts), counts.one_step


def rms(self, x, eps=1e-6):
    variance = x.to(torch.float32).pow(2).mean(-1, keepdim=True)
    return self.w * (x.to(torch.float32) * torch.rsqrt(variance + eps)).to(x.dtype)


def layer_norm(self, x):
    difference = x - x.mean(-1, keepdim=True)
    variance = difference.pow(2).mean(-1, keepdim=True)
    return difference * torch.rsqrt(variance + 1e-5) * self.w + self.b


def layer_norm_of_two_differences(self, x):
    u = x.mean(-1, keepdim=True)
    s = (x - u).pow(2).mean(-1, keepdim=True)
    return (x - u) / torch.sqrt(s + 1e-5) * self.w + self.b


FUSED = {
    "norm beside a residual": lambda self, x: x + F.rms_norm(x, (4,), self.w),
    "rms norm": lambda self, x: F.rms_norm(x, (4,), self.w),
    "layer norm": lambda self, x: F.layer_norm(x, (4,), self.w, self.b),
    "silu": lambda self, x: F.silu(x), "gelu": lambda self, x: F.gelu(x),
    "hardswish": lambda self, x: F.hardswish(x),
}  # fmt: skip
SAME = [
    ("norm beside a residual", lambda self, x: x + rms(self, x)),
    ("rms norm", rms), ("layer norm", layer_norm), ("layer norm", layer_norm_of_two_differences),
    ("layer norm", lambda self, x: (x - x.mean(-1, keepdim=True))
     / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt() * self.w + self.b),
    ("rms norm", lambda self, x: x / ((x * x).mean(-1, True) + 1e-6).sqrt() * self.w),
    ("rms norm", lambda self, x: x * ((x**2).mean(-1, keepdim=True) + 1e-6) ** -0.5 * self.w),
    ("silu", lambda self, x: x * torch.sigmoid(x)), ("silu", lambda self, x: x.mul_(x.sigmoid())),
    ("silu", lambda self, x: x * torch.sigmoid(1.702 * x)),
    ("hardswish", lambda self, x: x * F.relu6(x + 3) / 6),
    ("hardswish", lambda self, x: x * (x + 3).clamp(0, 6).div_(6)),
    ("gelu", lambda self, x: x * 0.5 * (1.0 + torch.erf(x / 1.4142))),
    ("gelu", lambda self, x: 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.04 * torch.pow(x, 3.0))))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "written"), SAME)
def test_as_the_fused_operator(name, written):
    found, steps = of(written)
    expected, none = of(FUSED[name])
    assert found == expected and none == ()
    assert [kind for kind, _ in steps] == ["normalisation" if "norm" in name else "activation"]
    as_written, none = of(written, as_written=True)
    assert as_written["first.weight"] > expected["first.weight"] and none == ()
    counts = count_contexts(spelled(written), (1, 3))
    assert f"counted as one step each: 1 of the kind {steps[0][0]}" in str(counts)


def with_a_statistic_besides(self, x):
    """The difference from the mean is an output of its own: there the mean is a source."""
    difference = x - x.mean(-1, keepdim=True)
    normed = difference * torch.rsqrt(difference.pow(2).mean(-1, keepdim=True) + 1e-5)
    return normed + difference


DIFFERENT = {
    "an inverse root of something else": lambda self, x: x * torch.rsqrt(self.w + 1e-5),
    "of another's mean square":
        lambda self, x: x * torch.rsqrt((x * 2).pow(2).mean(-1, keepdim=True) + 1e-5),
    "without a number under the root":
        lambda self, x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True)),
    "of a sum": lambda self, x: x * torch.rsqrt(x.pow(2).sum(-1, keepdim=True) + 1e-5),
    "another power": lambda self, x: x * torch.rsqrt(x.pow(4).mean(-1, keepdim=True) + 1e-5),
    "a gate of weights": lambda self, x: x * torch.sigmoid(x * self.w),
    "a gate of a mean": lambda self, x: x * torch.sigmoid(x.mean(-1, keepdim=True)),
    "a residual": lambda self, x: x + torch.sigmoid(x),
    "a ramp": lambda self, x: x * torch.relu(x),
    "a ramp downwards": lambda self, x: x * x.clamp(max=1),
    "another root": lambda self, x: x * (x.pow(2).mean(-1, keepdim=True) + 1e-5) ** -0.25,
    "with a statistic besides": with_a_statistic_besides,
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_only_looks_alike(name):
    found, steps = of(DIFFERENT[name])
    assert steps == () and found == of(DIFFERENT[name], as_written=True)[0]


class Norm(Calls):
    """A norm that is not recognised, divided by the greatest entry, or another with a weight."""

    def __init__(self, function=lambda self, x: self.w * x / x.abs().amax(-1, keepdim=True)):
        super().__init__(function, w=ones(4))


def net(norm):
    """A path around the norm, and one through it."""
    return Calls(
        lambda self, x: self.last((made := self.first(x)) + self.norm(made)),
        first=nn.Linear(3, 4), norm=norm, last=nn.Linear(4, 2),
    )  # fmt: skip


@pytest.mark.parametrize("pointwise", [[Norm], ["norm"]])
def test_modules_that_the_caller_says_are_pointwise(pointwise):
    """As a fused norm with a weight: a path around, one through, and the weight's own."""
    model = net(Norm())
    found, expected = counted(model, pointwise=pointwise), counted(net(nn.RMSNorm(4)))
    assert list(found.values()) == list(expected.values())
    counts = count_contexts(model, (1, 3), pointwise=pointwise)
    assert counts.one_step == (("pointwise", ""),)
    ours, plain = (trace_model(model, (1, 3), pointwise=p) for p in (pointwise, ()))
    assert fingerprint(ours) != fingerprint(plain)


def test_the_callers_word_comes_first():
    counts = count_contexts(net(Norm(rms)), (1, 3), pointwise=[Norm])
    assert counts.one_step == (("pointwise", ""),)
    rules = {aten.rsqrt: lambda count, x: iter([(x, count * 2)])}
    own, plain = (count_contexts(net(Norm(rms)), (1, 3), rules=r) for r in (rules, None))
    assert own.one_step == () and own.quantities() != plain.quantities()


@pytest.mark.parametrize(("pointwise", "message"), [
    (["norms"], "pointwise='norms' is no module of the model"),
    ([nn.Conv2d], "pointwise='Conv2d' is no module"),
    (["first"], r"Linear gives something else than a tensor of its input's shape \(1, 3\)"),
])  # fmt: skip
def test_what_is_not_pointwise(pointwise, message):
    with pytest.raises(CountingError, match=message):
        count_contexts(net(Norm()), (1, 3), pointwise=pointwise)
