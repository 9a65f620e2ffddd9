"""Every counting rule against gradients.

Where an operator is linear with coefficients 0 and 1, the count of what went in is the gradient
of the sum of what came out. A product of ones behaves so too, so every parameter is set to one.
Operators that are not linear are given a linear stand-in with the same dependences.

Each case runs with several tails: cumulative sums make the counts behind the operator differ
from position to position, along one axis or along all.
"""

import textwrap
from copy import deepcopy
from functools import cache, partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision.ops
from torch import nn
from torch.ao import quantization
from torch.nn.utils import parametrizations

from reuseprior.contexts import CountingError, count_contexts, full_softmax, trace_model
from reuseprior.contexts.array import CountArray
from reuseprior.contexts.graph import linear_paths
from reuseprior.contexts.rules import RULES, known, op_metadata, summing
from tests.contexts.zoo import Calls, ones

aten = torch.ops.aten


class Behind(nn.Module):
    """A parameter of the given shape, then the body (or its linear stand-in), then a tail."""

    def __init__(self, shape, body, tail, stand_in=None):
        super().__init__()
        self.p = nn.Parameter(torch.ones(shape))
        self.body = deepcopy(body)
        self.tail = tail
        self.stand_in = stand_in

    def forward(self, _):
        x = self.p + 0
        if self.stand_in is None:
            made = self.body(x)
        elif isinstance(self.body, nn.Module):
            made = self.stand_in(self.body, x)
        else:
            made = self.stand_in(x)
        return [self.tail(y) for y in (made if isinstance(made, (tuple, list)) else [made])]


def itself(y):
    return y


def tails(ndim):
    """What makes the counts behind the operator differ: nothing, all axes, one axis, a slice."""
    yield itself
    yield lambda y: y.flatten().cumsum(0)
    for axis in {min(ndim, 2) - 1, ndim - 1} - {-1}:
        yield lambda y, axis=axis: y.cumsum(axis)
    yield lambda y: y[..., 1:] if y.ndim and y.shape[-1] > 1 else y


def outputs(model):
    """In double precision, all parameters being one."""
    model = model.double().eval()
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    return model(None)


def gradients(model):
    """The gradient of the sum of all outputs for every parameter."""
    made = sum(y.sum() for y in outputs(model))
    named = dict(model.named_parameters())
    found = torch.autograd.grad(made, named.values(), allow_unused=True)
    return {n: g for n, g in zip(named, found, strict=True) if g is not None and g.any()}


@cache
def traced(name):
    """A case without a tail."""
    shape, body, *_ = CASES[name]
    return trace_model(Behind(shape, body, itself), (1,))


def check(shape, body, stand_in=None, first=None, **options):
    for tail in tails(outputs(Behind(shape, body, itself, stand_in))[0].ndim):
        model = first if first and tail is itself else trace_model(Behind(shape, body, tail), (1,))
        counts = model.count(exact=True, **options).parameter_counts
        found = {p.name: np.broadcast_to(p.counts, p.shape).astype(float) for p in counts}
        for p in model.count(**options).parameter_counts:
            scaled = np.exp2(np.broadcast_to(p.log2_counts, p.shape))
            np.testing.assert_allclose(scaled, found[p.name], 1e-12, err_msg=p.name)
        expected = gradients(Behind(shape, body, tail, stand_in))
        assert found.keys() == expected.keys()
        for name, counts in found.items():
            np.testing.assert_allclose(counts, expected[name], 1e-9, err_msg=name)


def by_entries(function):
    """The linear map with a one wherever an entry alone makes a result that is not zero."""

    @cache
    def matrix(shape, dtype):
        alone = torch.eye(shape.numel(), dtype=dtype).view(-1, *shape)
        return (torch.stack([function(entry) for entry in alone], -1).abs() > 1e-9).to(dtype)

    return lambda x: matrix(x.shape, x.dtype) @ x.flatten()


def by_slopes(function):
    """The linear map with a one wherever the function has a slope at some point."""

    @cache
    def matrix(shape, dtype):
        point = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
        slopes = torch.autograd.functional.jacobian(function, point).flatten(-len(shape))
        return (slopes.abs() > 1e-9).to(dtype)

    return lambda x: matrix(x.shape, x.dtype) @ x.flatten()


def coded(text, stand_in=None):
    """Cases by what they compute: shapes of x, expressions, and behind `=>` their stand-ins."""
    lines = textwrap.dedent(text).replace("\n    ", " ").strip().splitlines()
    cases = {}
    for shape, _, codes in (line.partition(": ") for line in lines):
        for code in codes.split("; "):
            body = [eval(f"lambda x: {part}", globals()) for part in code.split(" => ")]
            made = [stand_in(*body)] if stand_in else []
            cases[f"{code} of {shape}"] = (eval(f"({shape},)"), *body, *made)
    return cases


# Moving positions ------------------------------------------------------------------------------

INDICES = torch.tensor([[3, 0], [1, 1]])
MOVES = coded("""
    2,6: x.view(3, 4); torch.unsafe_split(x, 2, 1)[1];
        torch.unsafe_split_with_sizes(x, [1, 5], 1)[1]; F.pad(x, (-2, -1))
    2,3,4: x.transpose(0, 2).reshape(6, 4); x.flatten(1); x.mT; x.transpose(-1, 0);
        x.permute(2, 0, 1); x.movedim(0, -1); F.pad(x, (1, 2, 0, 1));
        x[:, torch.tensor([True, False, True]), torch.tensor([3, -4])];
        x[:, torch.tensor([[0], [-1]]), INDICES[0]]
    2,12: x.unflatten(1, (3, 4))
    2,3: x.unsqueeze(-1); x.t(); x.T; x.expand(-1, 3); x.repeat(2, 1, 3); x.tile(2);
        x.repeat_interleave(2, 1); torch.cat([x, x[:, :1], x.flip(1)], -1);
        torch.cat([x[1:], x], 0); torch.cat([torch.empty(0), x]); torch.stack([x, x.flip(0)], 1);
        torch.stack([x, x, x], -1); nn.utils.rnn.pack_padded_sequence(x, [2, 1], True).data
    2,1,3,1: x.squeeze(); x.squeeze(-1); x.squeeze((1, 3))
    3: x.t()
    2,3,4,2: x.permute(-1, 1, 0, -2)
    2,1,3: x.expand(4, 2, 5, 3)
    5,4: x[1:4, :2]
    7,4: x[1::2, ::3]; x[-3:, :-1]
    4,3: torch.cat([x[4:], x]); x[1]
    4,3,2: x.select(-2, -1)
    4,5: x.narrow(1, 2, 2); x.roll((1, -2), (0, 1)); x.roll(3, -1); x.roll(3); x.flip(0, -1);
        x.rot90(); x.index_select(-1, torch.tensor([4, 0, 0])); x[torch.tensor([3, 3, -1])]
    2,7: torch.cat(x.split(3, 1)[::-1], 1); torch.cat(x.split([1, 4, 2], -1)[:2], 1)
    7,2: x.split(3)
    2,5: torch.cat(x.chunk(3, 1)[1:], 1); torch.cat(x.tensor_split(3, 1)[1:], 1)
    3,4: x.unbind()[1] + x.unbind()[2]; [y for y in x.unbind(-1)][1:];
        x[:, torch.tensor([True, False, True, True])]
    2,7,3: x.unfold(1, 3, 2)
    8,2: x.unfold(0, 2, 3)
    1,2,5,5: x.unfold(2, 3, 1).unfold(3, 3, 1)
    2,5,4: F.pad(x, (-1, 2, 1, -2)); F.pad(x, (2, -1, -2, 3))
    1,2,5: F.pad(x, (2, 3), mode="reflect"); F.interpolate(x, size=7);
        F.pad(x, (-1, 2), mode="reflect"); F.pad(x, (2, -1), mode="replicate");
        F.pad(x, (-2, -2), mode="circular")
    1,2,4,5: F.pad(x, (2, 0, 1, 3), mode="reflect"); F.pad(x, (2, 0, 1, 5), mode="replicate");
        F.pad(x, (2, 1, 1, 3), mode="circular")
    1,1,3,3,4: F.pad(x, (1, 2, 0, 1, 2, 1), mode="reflect")
    1,2,4: F.pad(x, (2, 5), mode="replicate")
    1,1,3,2,4: F.pad(x, (1, 2, 0, 1, 2, 1), mode="replicate")
    1,2,3,4: F.interpolate(x, scale_factor=2)
    1,1,2,3,2: F.interpolate(x, size=(3, 7, 4))
    1,2,7,5: F.interpolate(x, size=(3, 4))
    1,1,10,7: F.interpolate(x, scale_factor=(0.77, 1.55))
    1,12,2,3: F.pixel_shuffle(x, 2)
    2,3,4,5: F.unfold(x, 2, stride=2, padding=1, dilation=2)
    1,12,6: F.fold(x, (4, 3), 2)
    2,8,12: F.fold(x, (4, 3), (2, 2), 1, (1, 1), (2, 1))
    1,6,2,2: F.channel_shuffle(x, 3)
    2,4,3: x[:, INDICES]
    4,4,2: x[INDICES, INDICES.T]
    4,2,4: x[INDICES, :, INDICES]
    3,2,2,2: x[:, torch.tensor([[True, False], [True, True]])]
    2,4,4: x[INDICES[1] % 2, INDICES[0], INDICES[1]]; x.diagonal(offset=-1, dim1=-2, dim2=-1)
    4,2: x.gather(0, INDICES); x.gather(0, torch.arange(4).flip(0).unsqueeze(1).expand(4, 2))
    3,2,2: nn.utils.rnn.pack_padded_sequence(x, [3, 1]).data
    3,4,2: x.diagonal()
    1,4,4,2: x.roll((-1, -1), (1, 2)).view(1, 2, 2, 2, 2, 2).permute(0, 1, 3, 2, 4, 5).flatten(2, 4)
""")

# Writing in place ------------------------------------------------------------------------------


def written(*lines):
    """What the lines, which write to a copy y of x, leave in y, or in the name that they return."""

    def body(x):
        names = {"x": x, "y": x * 1, "torch": torch}
        exec("\n".join(lines), names)
        return names.get("made", names["y"])

    return body


WRITES = {
    "part": ["y[:, 1:] = x[:, :-1]"],
    "base, read view": ["made = y[1:]", "y[:, 0] = x[:, 1]"],
    "view, read base": ["y.view(-1)[::2] = 0"],
    "one view, read another": ["a, b = y[:2], y.t()", "a.copy_(x[1:3])", "b[1] += x[:, 0]",
        "made = a.sum(0) + y.sum(0)"],
    "before and after reading": ["row = y[0]", "before = row + 0", "row.zero_()", "y[0] += x[1]",
        "made = before + row"],
    "slices of slices": ["y[1:][:, ::2][1:, 1] = x[0, :1].sum()", "y[..., 0][1::2] = x[1, 2]",
        "made = y + x.sum(0)"],
    "all and nothing": ["y[:, :] = x.flip(0)", "y[2:2] = x[3:3]"],
    "a diagonal": ["y[1:].diagonal()[:] = x[0, :3]"],
    "a scalar": ["y[1, 1] = x.sum()", "y[2].fill_(0)"],
    "turned in place": ["row = y[0]", "y.transpose_(0, 1).unsqueeze_(0).squeeze_(0)",
        "row[1:] = x[1:, 1]", "made = y[1:]"],
}  # fmt: skip
SHIFTED = [  # a temporal shift: one part forwards, one back, the rest stays
    "y = torch.zeros_like(x)", "y[:, :-1, :1] = x[:, 1:, :1]", "y[:, 1:, 1:2] = x[:, :-1, 1:2]",
    "y[:, :, 2:] = x[:, :, 2:]",
]  # fmt: skip
WRITES = {name: ((4, 4), written(*lines)) for name, lines in WRITES.items()} | {
    "shift channels": ((1, 3, 4, 2), written(*SHIFTED)),
    "masked_fill": ((3, 3), lambda x: x.masked_fill(torch.zeros(3, 3, dtype=bool), 0)),
}


def parts_of_pieces(x):
    left = torch.stack([x[0, 0], x[1, 2], x[2, 0], x[1, 2]])
    middle = torch.cat([x[:1, 1:3], x[:1, :1].expand(3, 2)])
    return torch.cat([left[:, None], middle, x[:, 3:]], 1)


# Linear in their input, or windows -------------------------------------------------------------

RESIZED = coded("""
    1,2,3,4: F.interpolate(x, scale_factor=2, mode="bilinear")
    1,1,3,4: F.interpolate(x, size=(5, 7), mode="bilinear", align_corners=True)
    1,1,6,5: F.interpolate(x, scale_factor=(0.7, 1.7), mode="bilinear")
    2,2,4: F.interpolate(x, size=7, mode="linear")
    1,1,2,3,2: F.interpolate(x, size=(3, 5, 4), mode="trilinear")
    1,1,5,6: F.interpolate(x, size=(7, 3), mode="bicubic")
    1,1,3,4: F.interpolate(x, size=(5, 5), mode="bicubic", align_corners=True)
    1,2,9,7: F.interpolate(x, size=(4, 5), mode="bilinear", antialias=True)
    1,1,9,8: F.interpolate(x, size=(4, 3), mode="bicubic", antialias=True)
""", by_entries)  # fmt: skip
POOLS = coded("""
    1,2,7: F.max_pool1d(x, 3, 2, 1); F.avg_pool1d(x, 3, 2, 1); F.adaptive_avg_pool1d(x, 3);
        F.adaptive_max_pool1d(x, 4)
    1,2,6,7: F.max_pool2d(x, 3, 2, 1); F.avg_pool2d(x, (2, 3), (1, 2))
    1,1,6,7: F.max_pool2d(x, (3, 2))
    1,1,5,5: F.max_pool2d(x, 3, 1)
    1,2,6,8: F.max_pool2d(x, 3, 2, ceil_mode=True)
    1,1,5,6: F.max_pool2d(x, 2, 2, 1, ceil_mode=True)
    1,2,7,7: F.max_pool2d(x, 2, 2, 1, 3)
    1,2,6,6: F.max_pool2d(x, 2, return_indices=True)[0]
    1,1,4,5,4: F.max_pool3d(x, 2, 1); F.avg_pool3d(x, 3, 2, 1)
    1,1,6,5: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False)
    1,2,7,5: F.adaptive_avg_pool2d(x, (3, 4)); F.adaptive_max_pool2d(x, (3, 1))
    1,1,3,4: F.adaptive_avg_pool2d(x, (5, 4))
    1,1,4,3,5: F.adaptive_avg_pool3d(x, (3, 1, 2)); F.adaptive_max_pool3d(x, (3, 2, 2))
    1,2,4,4: F.adaptive_avg_pool2d(x, 1)
""", by_entries)  # fmt: skip

# What data choose, and what needs no rule of its own -------------------------------------------

GRID = F.affine_grid(torch.tensor([[[0.7, 0.2, 0.1], [-0.3, 0.8, -0.2]]]), (1, 1, 3, 4), False)
OFFSETS, BAG = torch.tensor([0, 2]), torch.tensor([3, 0, 3, 1])
LANDING = torch.tensor([[0, 1, 0], [2, 2, 2]])


def unpooled(x):
    pooled, indices = F.max_pool2d(x, 2, 2, return_indices=True)
    return F.max_unpool2d(pooled, indices, 2, 2, output_size=x.shape)


def windows_twice(x):
    pooled = F.avg_pool2d(x, 2, divisor_override=1)
    return F.conv_transpose2d(pooled, torch.ones(1, 1, 2, 2, dtype=x.dtype), stride=2)


def scattered(x):
    """Sums of where entries land, written out."""
    made = x * 1
    for i, j in np.ndindex(2, 3):
        one = torch.zeros(3, 3, dtype=x.dtype)
        one[LANDING[i, j], j] = 1
        made = made + one * x[i, j]
    return made


def bilinear(layer, x):
    """Each of the factors meets the other two in every product."""
    pairs = x.sum(1, keepdim=True) * 3 + x.flip(0).sum(1, keepdim=True) * 3
    return pairs + layer.of.weight.sum((1, 2))


CHOICES = coded("""
    3,4: x.topk(2, 0)[0] => x.sum(0, keepdim=True).expand(2, 4); x.sort(-1)[0] => row_sums(x);
        x.sort(dim=0, stable=True, descending=True)[0] => x.sum(0, keepdim=True).expand(3, 4);
        x.gather(1, x.argsort(1)[:2, 1:]) => row_sums(x)[:2, 1:];
        (x * 1).scatter_(0, x.argmax(0, keepdim=True), 0.0) => x;
        x.aminmax(dim=0) => [x.sum(0)] * 2; x.cummax(1)[0] => x.cumsum(1);
        F.glu(x) => x[:, :2] + x[:, 2:]
    3,3: x.scatter(0, LANDING, x[1:], reduce="multiply") => x.scatter_add(0, LANDING, x[1:]);
        (x * 1).scatter_(1, torch.tensor([[1], [0]]), 2.0, reduce="add") => x
    2,4: torch.view_as_real(torch.fft.fft(x)) => row_sums(x)[..., None].expand(2, 4, 2);
        torch.fft.irfft2(torch.fft.rfft2(x), s=(2, 4)) => 6 * x.sum() + 0 * x
    3,2: torch.view_as_real(torch.fft.ifft(torch.view_as_complex(x))) => x.sum() + 0 * x;
        (torch.complex(*x.unbind(1)) * torch.polar(*x.unbind(1)).conj()).abs() => 2 * x.sum(1);
        torch.complex(*x.unbind(1)).conj().imag * 1 => x.sum(1);
        torch.pdist(x) => (r := x.sum(1))[[0, 0, 1]] + r[[1, 2, 2]]
    2,3: torch.cdist(x, x[:1]) => row_sums(x)[:, :1] + x[:1].sum();
        [torch.linalg.cross(x, x[:1]), torch.linalg.cross(x.mT, x.mT.flip(1), dim=0)]
        => [(others := row_sums(x) - x) + others[:1], (others + others.flip(0)).mT]
    3,3: x.scatter_reduce(0, LANDING, x, "amax") => scattered(x);
        (x * 1).scatter_reduce_(0, LANDING, x, "mean") => scattered(x);
        x.scatter_reduce(0, LANDING, x, "prod", include_self=False)
        => scattered(x) - x + x.scatter(0, LANDING, 0.0)
    4,4: x.max(1)[0] + F.embedding(x.max(1)[1], torch.ones(4, 1))[:, 0] => x.sum(1);
        F.embedding_bag(BAG, x, OFFSETS, mode="sum", per_sample_weights=x[0])
        => torch.stack([x[3] + x[0] + x[0, :2].sum(), x[3] + x[1] + x[0, 2:].sum()])
    4,3: F.embedding_bag(BAG, x, OFFSETS, mode="sum")
        => torch.stack([x[3] + x[0], x[3] + x[1]]);
        F.embedding_bag(BAG, x, OFFSETS, mode="sum", padding_idx=3) => x[:2];
        F.embedding_bag(torch.tensor([[3, 0], [2, 2]]), x, mode="mean")
        => torch.stack([x[3] + x[0], x[2] + x[2]])
    3,4: [x.kthvalue(2, 1)[0], x.mode(0)[0], x.nanmedian(1, keepdim=True)[0]]
        => [x.sum(1), x.sum(0), x.sum(1, keepdim=True)];
        x.scatter(1, x.argsort(1)[:2, 2:], x[:, 1:])
        => x + F.pad(x[:2, 1:3].sum(1, keepdim=True).expand(2, 4), (0, 0, 0, 1))
    1,2,3,2: F.grid_sample(x, x.permute(0, 2, 3, 1), align_corners=False)
        => x.sum((2, 3), keepdim=True) + x.sum(1, keepdim=True).expand(1, 2, 3, 2)
    1,2,3: F.affine_grid(x, (1, 1, 2, 2), align_corners=False)
        => x.sum(2)[:, None, None].expand(1, 2, 2, 2)
    1,1,4,6: unpooled(x) => windows_twice(x)
    1,2,6: F.max_unpool1d(*F.max_pool1d(x, 2, return_indices=True), 2)
        => x.unfold(2, 2, 2).sum(-1).repeat_interleave(2, -1)
    4: torch.vdot(x, x.flip(0)).reshape(1)
""") | {
    "bilinear": ((2, 3),
        Calls(lambda self, x: self.of(x, x.flip(0)), of=nn.Bilinear(3, 3, 2, bias=False)),
        bilinear),
}  # fmt: skip

# Boxes, windows that data deform or choose at random, matrices ----------------------------------

BOXES = torch.tensor([[0, 0.5, 0.2, 3.1, 3.6], [0, 1.2, 1.0, 4.4, 2.0], [0, 0.0, 0.0, 9.0, 2.0]])
SAMPLES = torch.tensor([[[0.2, 0.7], [0.9, 0.1]]])  # an image, two channels: width, height


def boxes_from_data(x):
    """Two boxes whose corners are made of an image's first rows."""
    boxes = x[0, 0, :2, :4]
    return torchvision.ops.roi_align(x, [boxes], (2, 2))


def of_boxes_from_data(x):
    of_all = x.sum((2, 3)).reshape(1, -1, 1, 1)
    of_boxes = x[0, 0, :2, :4].sum(1).reshape(2, 1, 1, 1)
    return of_all + of_boxes + torch.zeros(2, x.shape[1], 2, 2, dtype=x.dtype)


class Deformed(nn.Module):
    """Four channels in two groups, whose offsets and masks in two groups are made of the input."""

    def __init__(self, masked=True):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6, 2, 2, 2))
        self.bias = nn.Parameter(torch.ones(6))
        self.masked = masked

    def parts(self, x):
        offset = x[:, :1, :2, :2].repeat(1, 16, 1, 1)
        mask = x[:, 1:2, 1:, 1:].repeat(1, 8, 1, 1)
        return offset, mask

    def forward(self, x):
        offset, mask = self.parts(x)
        mask = mask if self.masked else None
        return torchvision.ops.deform_conv2d(x, offset, self.weight, self.bias, mask=mask)


def deformed(layer, x):
    """Each tap of each channel: any position, two coordinates and a mask; times its weight."""
    offset, mask = layer.parts(x)
    at = offset.view(2, 1, 4, 2, 2, 2).sum(3)  # group, channel, tap, place
    by = mask.view(2, 1, 4, 2, 2) if layer.masked else 0
    values = x.sum((2, 3)).view(2, 2, 1, 1, 1) + at + by
    terms = values[:, None] + layer.weight.view(2, 3, 2, 4, 1, 1)
    return terms.sum((2, 3)).view(1, 6, 2, 2) + layer.bias.view(6, 1, 1)


SAMPLED = coded("""
    1,2,4,5: F.grid_sample(x, GRID.to(x), align_corners=False);
        F.grid_sample(x, GRID.to(x), "bilinear", "border", False);
        F.grid_sample(x, GRID.to(x), "nearest", align_corners=False);
        torchvision.ops.roi_align(x, BOXES.to(x), (2, 3), 1.0, 2, True)
    1,2,6,5: F.fractional_max_pool2d(x, 2, (3, 2), _random_samples=SAMPLES.to(x))
""", by_entries) | coded("""
    2,3,3: torch.linalg.inv(x); torch.linalg.det(x); torch.linalg.slogdet(x)[1];
        torch.linalg.matrix_exp(x); torch.linalg.eigvals(x).abs(); torch.linalg.eigvalsh(x)
    2,3,4: torch.linalg.svdvals(x)
    2,5,3: torch.linalg.solve(x[:, :3], x[:, 3:].mT)
    5,3: torch.linalg.solve(x[:3], x[3:], left=False)
    4,3: torch.linalg.solve(x[:3], x[3])
    5,3: torch.linalg.solve_triangular(x[:3], x[3:].mT, upper=False);
        torch.linalg.solve_triangular(x[:3], x[3:].mT, upper=True, unitriangular=True)
    5,3: torch.linalg.solve_triangular(x[:3], x[3:], upper=False, left=False, unitriangular=True);
        torch.linalg.solve_triangular(x[:3], x[3:], upper=True, left=False)
""", by_slopes) | {
    "boxes from data": ((1, 2, 3, 4), boxes_from_data, of_boxes_from_data),
    "deformed": ((1, 4, 3, 3), Deformed(), deformed),
    "deformed without a mask": ((1, 4, 3, 3), Deformed(masked=False), deformed),
}  # fmt: skip

# Sums and products -----------------------------------------------------------------------------

ROWS_OF = torch.tensor([2, 0, 2])
SUMMED = coded("""
    3,3: x.scatter_add(0, LANDING, x[1:]); (x * 1).scatter_add_(0, LANDING, x[:2]);
        x.scatter(1, torch.tensor([[1], [0]]), x[1:, :1]);
        x.scatter(1, torch.tensor([[1], [0]]), 2.0); x.index_add(0, ROWS_OF, x);
        x.index_copy(0, torch.tensor([2, 0]), x[:2]); x.index_fill(0, torch.tensor([2, 0]), 1.0);
        x.index_put((torch.tensor([2, 0]),), x[1]); x.index_put((ROWS_OF,), x, accumulate=True);
        (x * 1).index_put_((torch.tensor([2, 0]),), x[1:]); x.trace().reshape(1);
        x.take(torch.tensor([0, 4, 4]))
    2,3,3: x.tril(-1)
    3,4: (x * 1).triu_(); x.contiguous().as_strided((2, 3), (4, 2), 1);
        x.t().as_strided((2, 3, 2), (4, 2, 1), 1);
        x.masked_scatter(torch.eye(3, 4, dtype=bool), x); x.select_scatter(x[0], 0, 1);
        x.slice_scatter(x[:2], 0, 1); x.diagonal_scatter(x[0, :3])
""")

SUMS = coded("""
    3,4: x.sum(); x.cumsum(-1); x @ x.t(); torch.mv(x, x[0]); torch.addmm(x[0, :3], x, x.t());
        torch.addmm(x[0, :3], x, x.t(), beta=0); torch.addmv(x[:, 0], x, x[0]);
        torch.addr(x, x[:, 0], x[0])
    3,3: torch.einsum("ii->", x); torch.einsum("ii->i", x)
    3,4,2: x.sum(1); x.sum((0, -1), keepdim=True)
    1,4: x.cumsum(0)
    2,3,4: x @ x[0].t(); x @ x[0, 0]; torch.bmm(x, x.mT); torch.baddbmm(x[:, :, :1], x, x.mT);
        torch.addbmm(x[0, :, :1], x, x.mT); torch.einsum("bij,bkj->ikb", x, x);
        torch.tensordot(x, x, ([0, 2], [0, 2]))
    4: torch.dot(x, x.flip(0)).reshape(1); torch.outer(x, x)
""")


STATISTICS = coded("""
    3,4,2: x.mean((0, 2)) => x.sum((0, 2));
        x.amax((-1, 0), keepdim=True) => x.sum((0, 2), keepdim=True);
        x.var((1, 2), keepdim=True) => x.sum((1, 2), keepdim=True)
    3,4: x.mean() => x.sum(); x.max() => x.sum(); x.max(-1)[0] => x.sum(1);
        x.min(0, keepdim=True).values => x.sum(0, keepdim=True); x.prod(1) => x.sum(1);
        x.prod() => x.sum(); x.std(1) => x.sum(1);
        torch.var_mean(x, -1, keepdim=True) => [x.sum(-1, keepdim=True)] * 2;
        torch.std_mean(x, 0)[1] => x.sum(0); x.norm(dim=1) => x.sum(1); x.norm() => x.sum();
        torch.linalg.vector_norm(x, 1, dim=0) => x.sum(0);
        F.normalize(x, dim=1) => x + x.sum(1, keepdim=True); x.logsumexp(1) => x.sum(1);
        x.softmax(1) => x; x.log_softmax(1) => x
    3,5: x.median(1)[0] => x.sum(1)
""")

# Element by element: one operand as it is, another broadcast

ONE = coded("""
    3,4: F.relu(x) => x; F.gelu(x) => x; F.softplus(x) => x; F.leaky_relu(x) => x; x**2 => x;
        F.hardswish(x * 1, inplace=True) => x; F.dropout(x, 0.5, training=True) => x;
        x.detach().requires_grad_(False) => x; x.data => x; x.double() => x; 1 / x => x;
        x.t().contiguous().t() => x; x.clamp(0, 6) => x; F.threshold(x, 0.1, 20) => x;
        torch.where(torch.ones(3, 4, dtype=bool), x, 0.0) => x; x * torch.ones_like(x) => x;
        x * (x > 0) => x
""")
POINTWISE = """
    digamma entr erfcx i0e i1 log_ndtr ndtri spherical_bessel_j0 gammaln bessel_j1 expit sinc
"""  # as torch tags them
ACTIVATIONS = """
    Softsign Tanhshrink Softshrink Hardshrink LogSigmoid Mish SELU CELU Hardswish ReLU6 RReLU
"""
CALLED = {name: getattr(torch.special, name) for name in POINTWISE.split()}
CALLED |= {name: getattr(nn, name)() for name in ACTIVATIONS.split()}
CALLED |= {"Softmin": nn.Softmin(-1), "Threshold": nn.Threshold(0.1, 2)}
ONE |= {name: ((3, 4), call, lambda *of: of[-1]) for name, call in CALLED.items()}
COLUMN, EYE = torch.tensor([True, False, False, True]), torch.eye(3, 4, dtype=bool)

TWO = coded("""
    3,4: x + x[:, :1] => x + x[:, :1]; x * x[0] => x + x[0];
        (x - x[:1]) / x[:, 1:2] => x + x[:1] + x[:, 1:2];
        torch.maximum(x[:, 0], x[:, 1]) => x[:, 0] + x[:, 1];
        torch.addcmul(x, x[0], x[:, :1]) => x + x[0] + x[:, :1];
        torch.lerp(x, x[0], x[1, 1]) => x + x[0] + x[1, 1];
        2 ** x * x[0] ** x[1] => x + x[0] + x[1]; torch.where(x > 0, x, x[0]) => x + x[0];
        x.masked_fill(x > 0, x[0, 0]) => x + x[0, 0];
        torch.empty(2, 3, 4).copy_(x) * 1 => x.expand(2, 3, 4);
        torch.where(EYE, x, x[0]) => torch.where(EYE, x, x[0]);
        x.masked_fill(EYE, x[0, 0]).masked_fill_(COLUMN, 2)
        => torch.where(EYE, x[0, 0], x).masked_fill(COLUMN, 0);
        [torch.fill(x, x[0, 0]), torch.zeros(2, 3).fill_(x[0, 1])]
        => [x[0, 0].expand(3, 4), x[0, 1].expand(2, 3)]
""") | {
    "in place": ((4, 4), written("y[:, :2].add_(x[:, 2:4]).relu_()", "y[..., 1].mul_(x[..., 0])"),
        lambda x: torch.cat([x[:, :1] + x[:, 2:3], x[:, 1:2] + x[:, 3:] + x[:, :1], x[:, 2:]], 1)),
    "parts of pieces": ((4, 4),
        written("y.unbind(1)[0][1::2] = x[1, 2]",
        "y.split((1, 3))[1][:, 1:].split(2, 1)[0].copy_(x[:1, :1])"), parts_of_pieces),
    "pieces": ((4, 4),
        written("first, second = y.chunk(2, 1)", "first.copy_(second)", "second.zero_()"),
        lambda x: F.pad(x[:, 2:], (0, 2))),
    "out=": ((4, 4), written("torch.add(x, x, out=y)"), lambda x: 2 * x),
    "entries set to a number": ((), written("y = torch.zeros(3)", "y[1:] = x", "made = y[1:]"),
        lambda x: x.expand(2)),
}  # fmt: skip

# Layers ----------------------------------------------------------------------------------------


def padded(pad, by=nn.ZeroPad2d, **options):
    return nn.Sequential(by(pad), nn.Conv2d(2, 3, 3, **options))


CONVOLUTIONS = {
    "1d": ((1, 4, 9), nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2)),
    "2d": ((1, 3, 6, 7), nn.Conv2d(3, 2, (3, 2), stride=(1, 2), padding=(2, 1), dilation=(2, 1))),
    "3d": ((1, 2, 4, 5, 3), nn.Conv3d(2, 4, 2, stride=(1, 2, 1), padding=(1, 0, 2), groups=2)),
    "a larger stride than kernel": ((1, 2, 7, 7), nn.Conv2d(2, 2, 1, stride=3, bias=False)),
    "several samples": ((3, 2, 4, 5), nn.Conv2d(2, 4, 3, padding=1, groups=2)),
    "depthwise": ((1, 4, 5, 5), nn.Conv2d(4, 8, 3, padding=1, groups=4)),
    "a batch of none": ((3, 5, 5), nn.Conv2d(3, 2, 3, padding=1)),
    "same, even": ((1, 2, 5, 6), nn.Conv2d(2, 2, (4, 2), padding="same")),
    "same, dilated": ((1, 2, 5, 6), nn.Conv2d(2, 2, 3, padding="same", dilation=2)),
    "valid": ((1, 2, 5), nn.Conv1d(2, 2, 3, padding="valid")),
    "taps that never meet": ((1, 2, 1, 1), nn.Conv2d(2, 2, 5, padding=2)),
    "padded before": ((1, 2, 5, 5), padded((0, 1, 2, 0), stride=2)),
    "padded with ones before": (  # which are values like others: their taps are uses
        (1, 2, 5, 5), padded((0, 1, 2, 0), stride=2, by=partial(nn.ConstantPad2d, value=1.0))),
    "padded before and again": ((1, 2, 4, 5), padded((2, 1, 0, 3), padding=1, dilation=2)),
    "cropped before": ((1, 2, 7, 7), padded((-1, 1, 2, -2), stride=2)),
    "padded in one axis only": ((1, 2, 4, 5), padded((1, 2, 0, 0))),
    "circular": ((1, 2, 5, 5), nn.Conv2d(2, 2, 3, padding=2, padding_mode="circular")),
    "reflect": ((1, 2, 5, 5), nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect")),
    "replicate": ((1, 2, 5, 5), nn.Conv2d(2, 2, 3, padding=(2, 1), padding_mode="replicate")),
    "transposed 1d": ((1, 4, 4), nn.ConvTranspose1d(4, 6, 3, 2, 1, output_padding=1, groups=2)),
    "transposed": ((1, 2, 3, 4), nn.ConvTranspose2d(2, 3, (3, 2), (2, 1), (1, 0), dilation=2)),
    "transposed, stride beyond kernel": ((1, 2, 3, 3), nn.ConvTranspose2d(2, 3, 2, 3)),
    "transposed 3d": ((1, 2, 2, 3, 2), nn.ConvTranspose3d(2, 2, 2, 2, groups=2, bias=False)),
    "linear": ((1, 3), nn.Linear(3, 2)),
    "linear along an axis": ((2, 4, 3), nn.Linear(3, 5, bias=False)),
    "linear of a vector": ((3,), nn.Linear(3, 2)),
}  # fmt: skip


def rows(*ids):
    """Rows of a table at token ids that the input does not change."""
    ids = torch.tensor(ids)
    return Calls(lambda self, x: x + self.table(ids), table=nn.Embedding(5, 3))


LAYERS = {
    "embedding": ((4, 3), rows(0, 3, 3, 1)),
    "embedding of a grid": ((1, 2, 2, 3), rows([[4, 3], [3, 3]])),
}


def with_vectors(axis):
    """A normalisation: position by position, its vectors once a produced node."""

    def oracle(layer, x):
        shape = [1] * x.ndim
        shape[axis] = -1
        for vector in (layer.weight, layer.bias):
            x = x if vector is None else x + vector.view(shape)
        return x

    return oracle


def at_the_end(layer, x):
    return sum((p for p in layer.parameters()), x)


def weight_norm(weight, x):
    """g v / |v|: an entry of v meets the product itself and, through |v|, all of its row."""
    g, v = weight.original0, weight.original1
    return meet(x, (g + v + v.sum(1, keepdim=True)).mT)


def row_sums(x):
    return x.sum(-1, keepdim=True).expand(x.shape)


def meet(a, b):
    """The linear map with the dependences of a @ b."""
    return a @ torch.ones_like(b) + torch.ones_like(a) @ b


NORMS = {
    "batch norm": ((1, 3, 2, 4), nn.BatchNorm2d(3), with_vectors(1)),
    "batch norm of several samples": ((4, 3, 2), nn.BatchNorm1d(3), with_vectors(1)),
    "batch norm of features": ((1, 3), nn.BatchNorm1d(3), with_vectors(1)),
    "batch norm, plain": ((1, 3, 2), nn.BatchNorm1d(3, affine=False), with_vectors(1)),
    "batch norm of the batch": ((1, 3, 4), nn.BatchNorm1d(3, track_running_stats=False),
        with_vectors(1)),
    "instance norm": ((1, 3, 2, 4), nn.InstanceNorm2d(3, affine=True), with_vectors(1)),
    "group norm": ((1, 4, 3), nn.GroupNorm(2, 4), with_vectors(1)),
    "layer norm": ((1, 3, 4), nn.LayerNorm(4), at_the_end),
    "layer norm over two axes": ((1, 3, 4), nn.LayerNorm((3, 4)), at_the_end),
    "layer norm without bias": ((2, 4), nn.LayerNorm(4, bias=False), at_the_end),
    "rms norm": ((1, 3, 4), nn.RMSNorm(4), at_the_end),
    "weight norm": ((2, 3), parametrizations.weight_norm(nn.Linear(3, 4)),
        lambda layer, x: weight_norm(layer.parametrizations.weight, x) + layer.bias),
    "prelu": ((1, 3, 2), nn.PReLU(3), lambda layer, x: x + layer.weight.view(1, 3, 1)),
    "prelu of one": ((1, 3, 2), nn.PReLU(), lambda layer, x: x + layer.weight),
}  # fmt: skip


# Fake quantisation: pointwise in what is quantised, its scale and its zero point ----------------


def learned(call, n, *axis):
    """A quantiser whose scale and zero point are parameters, of the tensor or of an axis."""
    model = Calls(lambda self, x: call(x, self.s, self.z, *axis, -8, 7, 1.0), s=ones(n), z=ones(n))
    return (2, 3), model, lambda layer, x: x + layer.s + layer.z


def told(*observer, **options):
    """A quantiser that is told its range, as an observer looks at data."""
    made = quantization.FakeQuantize(*observer, **options)
    made.disable_observer()
    if observer:
        made.scale, made.zero_point = torch.ones(3), torch.zeros(3, dtype=torch.int32)
    return (2, 3), made, lambda layer, x: x


BY_CHANNEL = {"dtype": torch.qint8, "qscheme": torch.per_channel_affine, "ch_axis": 1}
QUANTISED = {
    "learned": learned(torch._fake_quantize_learnable_per_tensor_affine, 1),
    "learned by channel": learned(torch._fake_quantize_learnable_per_channel_affine, 3, 1),
    "observed": ((2, 3), quantization.FusedMovingAvgObsFakeQuantize(), lambda layer, x: x),
    "of a tensor": told(),
    "of channels": told(quantization.PerChannelMinMaxObserver, **BY_CHANNEL),
}


# Attention, with products replaced by sums over what meets ----------------------------------------


def linear(x, weight, bias):
    return meet(x, weight.mT) + bias


def attend(q, k, v, mask=None):
    """Attention's dependences: behind a mask a score is none, and uses no value."""
    scores = meet(q, k.mT)
    if mask is None:
        return meet(scores, v)
    return (scores * mask) @ torch.ones_like(v) + mask.to(v) @ v


def heads(x, n):  # (length, width) -> (n, length, width / n)
    return x.view(len(x), n, -1).transpose(0, 1)


def multihead(layer, x):
    """Self-attention of one sample (length, width), written out."""
    qkv = linear(x, layer.in_proj_weight, layer.in_proj_bias).chunk(3, -1)
    made = attend(*(heads(t, layer.num_heads) for t in qkv))
    made = made.transpose(0, 1).reshape(x.shape)
    return linear(made, layer.out_proj.weight, layer.out_proj.bias)


def encoder(layer, x):
    sequence = x[0]
    sequence = at_the_end(layer.norm1, sequence + multihead(layer.self_attn, sequence))
    hidden = linear(sequence, layer.linear1.weight, layer.linear1.bias)
    made = linear(hidden, layer.linear2.weight, layer.linear2.bias)
    return at_the_end(layer.norm2, sequence + made)[None]


def self_attention(**options):
    layer = nn.MultiheadAttention(4, 2, **options)
    return Calls(lambda self, x: self.of(x, x, x, need_weights=False)[0], of=layer)


CAUSAL = torch.ones(3, 3).tril()
LATER = CAUSAL == 0  # a row whose scores are all masked is tested apart
LOWEST = torch.finfo(torch.float32).min


def masked(mask_scores, mask=CAUSAL):
    """Attention written out, its scores masked in some way."""

    def attention(x):
        return mask_scores(x @ x.mT).softmax(-1) @ x

    return (1, 3, 4), attention, lambda x: attend(x, x, x, mask)


def partly(scores):
    """A mask that depends on data, where a constant one leaves something open."""
    return torch.where((scores > 0) & ~LATER, scores, torch.where(LATER, LOWEST, scores))


MASKS = {
    "filled": masked(lambda s: s.masked_fill(LATER, float("-inf"))),
    "filled with the lowest": masked(lambda s: s.masked_fill(LATER, LOWEST)),
    "chosen": masked(lambda s: torch.where(~LATER, s, LOWEST)),
    "chosen from a constant": masked(lambda s: torch.where(~LATER, s, torch.tensor(LOWEST))),
    "added": masked(lambda s: s + torch.full((3, 3), float("-inf")).triu(1)),
    "partly by data": ((1, 3, 4), lambda x: partly(x @ x.mT).softmax(-1) @ x,
        lambda x: (2 * meet(x, x.mT) * CAUSAL) @ torch.ones_like(x) + CAUSAL.to(x) @ x),
    "added to a bias": ((1, 3, 4),
        lambda x: (x @ x.mT + (x[..., :3] + torch.full((3, 3), LOWEST).triu(1))).softmax(-1) @ x,
        lambda x: ((meet(x, x.mT) + x[..., :3]) * CAUSAL) @ torch.ones_like(x) + CAUSAL.to(x) @ x),
    "turned": ((1, 3, 4),
        lambda x: x.mT @ (x @ x.mT).masked_fill(LATER, LOWEST).softmax(-1).transpose(-1, -2),
        lambda x: attend(x, x, x, CAUSAL).mT),
    "with a sink": (  # a score that takes part in the softmax and is then cut off
        (1, 3, 4),
        lambda x: (
            torch.cat([(x @ x.mT).masked_fill(LATER, LOWEST), x[..., :1]], -1).softmax(-1)[..., :3]
            @ x
        ),
        lambda x: attend(x, x, x, CAUSAL),
    ),
    "nothing masked": masked(lambda s: s + torch.zeros(3, 3), None),
    "large numbers are numbers": masked(lambda s: s + torch.full((3, 3), -1e9).triu(1), None),
    "drawn at random": masked(lambda s: s.masked_fill(torch.rand(3, 3) > 0.5, LOWEST), None),
    "whole rows, uniformly": (  # the softmax of equal numbers: all values are used
        (1, 3, 4),
        lambda x: (x @ x.mT).masked_fill(ROWS, LOWEST).softmax(-1) @ x,
        lambda x: (
            (meet(x, x.mT) * ~ROWS) @ torch.ones_like(x)
            + torch.tensor([[1.0, 1, 0], [1, 1, 1], [1, 1, 1]]).to(x) @ x
        ),
    ),
}  # fmt: skip
ROWS = torch.tensor([[0, 0, 1], [1, 1, 1], [0, 0, 0]], dtype=bool)

ATTENTION = coded("""
    2,3,4: F.scaled_dot_product_attention(x, x.flip(1), x) => attend(x, x.flip(1), x)
    1,3,4: F.scaled_dot_product_attention(x, x, x, is_causal=True) => attend(x, x, x, CAUSAL);
        F.scaled_dot_product_attention(x, x, x, attn_mask=~ROWS)
        => attend(x, x, x, (~ROWS).float())
""") | {
    "batch first": ((1, 3, 4), self_attention(batch_first=True),
        lambda layer, x: multihead(layer.of, x[0])[None]),
    "sequence first": ((3, 1, 4), self_attention(),
        lambda layer, x: multihead(layer.of, x[:, 0])[:, None]),
    "encoder": ((1, 2, 4),
        nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 1, 3, batch_first=True), 1,
        enable_nested_tensor=False), lambda layer, x: encoder(layer.layers[0], x)),
}  # fmt: skip

KINDS = {
    "move": MOVES, "write": WRITES, "sum": SUMS, "statistic": STATISTICS, "one operand": ONE,
    "several operands": TWO, "resize": RESIZED, "pool": POOLS, "convolution": CONVOLUTIONS,
    "layer": LAYERS, "norm": NORMS, "mask": MASKS, "choice": CHOICES, "sampled": SAMPLED,
    "sum of its own": SUMMED, "attention": ATTENTION, "quantised": QUANTISED,
}  # fmt: skip
CASES = {f"{kind}: {name}": case for kind in KINDS for name, case in KINDS[kind].items()}
UNHEEDED = (
    "ignore:Using padding='same' with even kernel lengths",
    "ignore:The reduce argument of torch.scatter",
    "ignore:.*torch.ao.quantization is deprecated",
)


@pytest.mark.filterwarnings(*UNHEEDED)
@pytest.mark.parametrize("name", CASES)
def test_counts_are_gradients(name):
    shape, body, stand_in = (*CASES[name], None)[:3]
    check(shape, body, stand_in, traced(name))


@pytest.mark.slow
@pytest.mark.filterwarnings(*UNHEEDED)
def test_every_rule_has_a_case():
    met = {known(RULES, o.function) for name in CASES for o in traced(name).trace.operators}
    missing = {f.__name__ for f in RULES.values()} - {f.__name__ for f in met if f}
    assert missing == set()  # constants have no rule


def test_sums_are_linear_and_exact():
    model = Calls(lambda self, x: (x + self.p).index_add(0, ROWS_OF, x * self.p), p=ones(3, 3))
    traced = trace_model(model, (1, 3))
    assert set(map(linear_paths(traced), traced.trace.from_input())) == {1}
    big = 3**200
    (index_add,) = (o for o in traced.trace.operators if o.name == "index_add")
    counts = CountArray(np.array([[big * (i + 1)] * 3 for i in range(3)], object), (3, 3))
    found = [g.values[:, 0].tolist() for _, g in summing(index_add, 0)(counts, *index_add.args)]
    assert found[-1] == [3 * big, big, 3 * big]


@pytest.mark.filterwarnings("ignore:index_reduce")
@pytest.mark.parametrize("body", [
    lambda x: x.index_add(0, ROWS_OF, x, alpha=2),  # a factor that is not one
    lambda x: torch.linalg.householder_product(x, x[0]),  # products
    lambda x: x.index_reduce(0, ROWS_OF, x, "prod"),
    lambda x: x.scatter_add(0, x.argmax(0, keepdim=True), x),
])  # fmt: skip
def test_what_is_no_sum_has_no_rule(body):
    with pytest.raises(CountingError, match="has no counting rule: register one"):
        count_contexts(Behind((3, 3), body, itself), (1,))


def test_softmax_over_whole_rows():
    """Every entry of a row is a source of every result, but a masked score of none."""
    for shape, body, stand_in in [
        ((3, 4), lambda x: x.softmax(-1), row_sums),
        ((1, 3, 4), lambda x: x[..., :3].masked_fill(LATER, LOWEST).softmax(-1),
         lambda x: row_sums(x[..., :3] * CAUSAL) * CAUSAL),
    ]:  # fmt: skip
        check(shape, body, stand_in, rules={aten._softmax: full_softmax})


def test_short_cuts_give_the_operators_own_shapes():
    x = torch.randn(1, 4, 3)
    one, ones, codes = torch.ones(1), torch.ones(4), (0, 7)
    zero = torch.zeros(1, dtype=torch.int32)
    affine = "fake_quantize_per_{}_affine_cachemask"
    learnable = "_fake_quantize_learnable_per_{}_affine"
    arguments = {
        "native_batch_norm": (None, None, x.sum((0, 2)), x.sum((0, 2)) ** 2, False, 0.1, 1e-5),
        "native_layer_norm": ([3], None, None, 1e-5),
        affine.format("tensor"): (1.0, 0, *codes),
        f"_{affine.format('tensor')}_tensor_qparams": (one, zero, one.long(), *codes),
        affine.format("channel"): (ones, zero.repeat(4), 1, *codes),
        learnable.format("tensor"): (one, 0.0 * one, *codes),
        learnable.format("channel"): (ones, 0.0 * ones, 1, *codes),
    }
    shortened = [f for f in RULES if op_metadata(f).meta and f._overloadname == "default"]
    assert len(shortened) > 5
    for operator in shortened:
        own = operator(x.clone(), *arguments.get(operator.overloadpacket.__name__, ()))
        made = op_metadata(operator).meta(x)
        for a, b in [(own, made)] if isinstance(own, torch.Tensor) else [(own[0], made[0])]:
            assert (a.shape, a.dtype, a.stride()) == (b.shape, b.dtype, b.stride()), operator
