"""Products in place of convolutions on maps of a few pixels: the same function, and only there."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from reuseprior import data
from reuseprior.errors import UserError
from reuseprior.training import Protocol, train
from reuseprior.training.protocol import ProtocolError
from reuseprior.training.small_maps import SmallMaps, convolve

# kernel, stride, padding, dilation; of each side
OPTIONS = [
    (3, 1, 1, 1), (3, 2, 1, 1), (5, 1, 2, 1), ((3, 1), (2, 1), (1, 0), 1), (3, 1, 2, 2),
    (1, 1, 0, 1), (1, 2, 0, 1), (1, 1, 1, 1), (2, 1, 1, 1),
]  # fmt: skip


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 3), (4, 1)])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_small_maps_are_convolved_as_torch_does(size, options, groups):
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 6, *options, groups=groups, bias=groups == 1).double()
    inputs = torch.randn(3, 6, *size, dtype=torch.double, requires_grad=True)
    theirs = conv(inputs)
    with SmallMaps():
        ours = conv(inputs)
    assert ours.shape == theirs.shape
    learnt = (inputs, *conv.parameters())
    gradient = torch.randn_like(theirs)
    pairs = zip(
        (ours, *torch.autograd.grad(ours, learnt, gradient)),
        (theirs, *torch.autograd.grad(theirs, learnt, gradient)),
        strict=True,
    )
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in pairs)


def kinds(outputs):
    """The names of the steps that autograd recorded."""
    seen, left = set(), [outputs.grad_fn]
    while left:
        step = left.pop()
        seen.add(step.name().rstrip("0"))
        left += [before for before, _ in step.next_functions if before]
    return seen


@pytest.mark.parametrize(
    ("conv", "size", "by_products"),
    [
        (nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), 2, True),
        (nn.Conv2d(8, 4, 1), 1, True),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), 3, False),  # of nine pixels
        (nn.Conv2d(8, 8, 3, padding=1, bias=False), 2, False),  # neither depthwise nor pointwise
        (nn.Conv2d(8, 8, 3, padding="same", groups=8, bias=False), 2, False),
        (nn.Conv2d(8, 16, 3, padding=1, groups=8, bias=False), 2, False),
    ],
)
def test_products_take_the_place_of_the_convolutions_that_are_slow(conv, size, by_products):
    images = torch.randn(2, 8, size, size)
    with SmallMaps():
        inside = conv(images)
    assert ("ConvolutionBackward" not in kinds(inside)) is by_products
    assert "ConvolutionBackward" in kinds(conv(images))


def test_numbers_for_options_and_one_image_are_torchs_affair():
    images, weight = torch.randn(1, 4, 1, 1), torch.randn(4, 1, 3, 3)
    assert torch.equal(
        convolve(images, weight, padding=1, groups=4),
        functional.conv2d(images, weight, padding=1, groups=4),
    )
    with SmallMaps():
        alone = nn.functional.conv2d(images[0], weight, None, (1, 1), (1, 1), (1, 1), 4)
    assert alone.shape == (4, 1, 1)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("options", [{"kernel_size": 1}, {"kernel_size": 3, "groups": 8}])
def test_bfloat16_and_the_layout_are_kept(layout, options):
    conv = nn.Conv2d(8, 8, padding=options["kernel_size"] // 2, bias=False, **options)
    images = torch.randn(2, 8, 2, 2).to(memory_format=layout)
    with SmallMaps(), torch.autocast("cpu", torch.bfloat16):
        outputs = conv(images)
    assert outputs.dtype == torch.bfloat16
    assert outputs.is_contiguous(memory_format=layout)
    assert torch.allclose(outputs.float(), conv(images), atol=0.05)


def test_what_torch_refuses_is_refused():
    images, weight = torch.ones(1, 4, 1, 1), torch.ones(4, 1, 3, 3)
    options = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 4}
    with SmallMaps():
        assert functional.conv2d(input=images, weight=weight, **options).eq(1).all()
        for other in (images.double(), images.to(torch.uint8), images.to(torch.complex64)):
            with pytest.raises(RuntimeError, match="type"):
                functional.conv2d(other, weight, **options)
        with pytest.raises(RuntimeError):
            functional.conv2d(
                images, torch.ones(4, 4, 1), **options | {"groups": 1, "padding": (0, 0)}
            )


class Recomputed(nn.Conv2d):
    """A convolution that keeps nothing for the backward pass."""

    def forward(self, images):
        return checkpoint(super().forward, images, use_reentrant=False)


def test_a_model_that_computes_anew_is_told_the_setting(tmp_path):
    conv = Recomputed(8, 8, 3, padding=1, groups=8, bias=False)
    model = nn.Sequential(nn.Conv2d(1, 8, 4, 4), conv, nn.Flatten(), nn.Linear(32, 10))
    protocol = Protocol(epochs=1, batch_size=50, channels=1, train_images=100, small_maps=True)
    with pytest.raises(UserError, match="or small_maps = false, in another folder"):
        train(model, data.load("digits"), protocol, tmp_path / "run", seed=0, progress=False)


def test_a_training_does_so_where_its_protocol_says(tmp_path):
    courses, steps = {}, {True: [], False: []}
    for said in (True, False):
        torch.manual_seed(0)
        conv = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        model = nn.Sequential(nn.Conv2d(1, 8, 4, 4), conv, nn.Flatten(), nn.Linear(32, 10))

        def note(module, images, outputs, seen=steps[said]):
            if module.training:
                seen.append(kinds(outputs))

        conv.register_forward_hook(note)
        protocol = Protocol(
            epochs=2, batch_size=50, optimizer="sgd", learning_rate=0.4, channels=1,
            train_images=200, test_images=50, small_maps=said,
        )  # fmt: skip
        run = train(
            model, data.load("digits"), protocol, tmp_path / f"{said}", seed=0, progress=False
        )
        courses[said] = [*run.metrics.train_loss, *run.metrics.test_loss]
    assert courses[True] == pytest.approx(courses[False], rel=1e-4)
    assert courses[True][1] < courses[True][0]
    for said, seen in steps.items():
        assert all(("_DepthwiseBackward" in names) is said for names in seen)
        assert len(seen) == 2 * 4


def test_with_compiled_code_it_is_refused():
    with pytest.raises(ProtocolError, match="compile is true and small_maps too"):
        Protocol(compile=True, small_maps=True)
