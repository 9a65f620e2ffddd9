import pytest
import torch

from reuseprior.errors import UserError
from reuseprior.models import cifar_resnet
from reuseprior.models.resnets import BasicBlock
from reuseprior.sharing import policy, tie


def learnable(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_equal_convolutions_are_shared_whatever_the_depth():
    totals = {}
    for depth in (20, 56):
        model = cifar_resnet(depth)
        scopes = {scope.name: len(scope.modules) for scope in tie(model, policy("all_but_bn"))}
        blocks = (depth - 2) // 6
        assert scopes == {
            "Conv2d 16→16 kernel 3×3 stride 1×1": 2 * blocks,
            "Conv2d 32→32 kernel 3×3 stride 1×1": 2 * blocks - 1,
            "Conv2d 64→64 kernel 3×3 stride 1×1": 2 * blocks - 1,
        }
        totals[depth] = learnable(model)
    convolutions = 9 * (3 * 16 + 16 * 16 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64)
    norms = {depth: 2 * (16 + (depth - 2) // 3 * (16 + 32 + 64)) for depth in totals}
    assert totals == {depth: convolutions + norms[depth] + 650 for depth in totals}


def test_width_classes_and_shapes():
    model = cifar_resnet(20, num_classes=100, width=0.5, bn_momentum=0.2)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 100)
    assert model.stem.out_channels == 8 and model.classifier.in_features == 32
    assert {m.momentum for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {0.2}
    features = cifar_resnet(20).blocks(torch.zeros(1, 16, 32, 32))
    assert features.shape == (1, 64, 8, 8)


def test_the_skip_has_no_parameters_and_keeps_what_it_takes():
    x = torch.randn(2, 16, 8, 8).to(memory_format=torch.channels_last)
    skipped = BasicBlock(16, 32, 2).skip(x)
    assert torch.equal(skipped[:, :16], x[:, :, ::2, ::2]) and not skipped[:, 16:].any()
    assert torch.equal(BasicBlock(16, 16, 1).skip(x), x)


@pytest.mark.parametrize(("depth", "options", "message"), [
    (21, {}, r"depth is 21: it must be 6n \+ 2 for a whole n"),
    (2, {}, "depth is 2: it must be"),
    (20, {"width": 0}, "width is 0: it must be above 0"),
    (20, {"num_classes": 0}, "num_classes is 0: it must be 1 or more"),
    (20, {"bn_momentum": 1.5}, "bn_momentum is 1.5: it must be above 0 and at most 1"),
])  # fmt: skip
def test_numbers_out_of_range_are_refused(depth, options, message):
    with pytest.raises(UserError, match=message):
        cifar_resnet(depth, **options)
