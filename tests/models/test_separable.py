import pytest
import torch
from torch import nn

from reuseprior.errors import UserError
from reuseprior.models import separable, without_weights
from reuseprior.models.separable import Block


def learnable(model):
    return sum(parameter.numel() for parameter in model.parameters())


TOTALS = {  # narrowing: parameters, those of Bidart's notebooks
    separable.cifar_xception: {2: 3_012_458, 4: 1_627_626, 8: 1_168_682},
    separable.vs_xception: {2: 232_746, 4: 103_338, 8: 61_034},
    separable.cifar_resnet18: {2: 2_929_866, 4: 856_842, 8: 332_586, 16: 198_522},
}


@pytest.mark.parametrize("factory", TOTALS)
def test_totals(factory):
    with without_weights():
        totals = {n: learnable(factory(narrowing=n)) for n in TOTALS[factory]}
    assert totals == TOTALS[factory]


@pytest.mark.parametrize("factory", [*TOTALS, separable.cifar_mobilenet])
def test_width_classes_and_shapes(factory):
    model = factory(num_classes=100, width=0.125, bn_momentum=0.2)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 100)
    assert {m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {0.2}
    assert all(m.bias is None for m in model.modules() if isinstance(m, nn.Conv2d))


def test_a_block_adds_its_skip_to_its_separable_convolutions():
    torch.manual_seed(0)
    x = torch.randn(2, 8, 5, 5)
    plain = Block((8, 8, 8))
    assert not len(plain.skip) and torch.equal(plain(x), x + plain.body(x))
    for halving in (Block((8, 8), stride=2), Block((8, 16))):
        assert len(halving.skip) == 2
        assert torch.equal(halving(x), halving.skip(x) + halving.body(x))
    assert Block((8, 8), stride=2)(x).shape == (2, 8, 3, 3)
    assert not isinstance(Block((8, 8), relu=False).body[0], nn.ReLU)


@pytest.mark.parametrize(("options", "message"), [
    ({"width": 0.0}, "width is 0.0: it must be above 0"),
    ({"narrowing": 3}, "narrowing is 3: it must be 1, 2, 4, 8 or 16"),
    ({"num_classes": 0}, "num_classes is 0: it must be 1 or more"),
    ({"bn_momentum": 2.0}, "bn_momentum is 2.0: it must be above 0 and at most 1"),
])  # fmt: skip
def test_numbers_out_of_range(options, message):
    for factory in TOTALS:
        with pytest.raises(UserError, match=message):
            factory(**options)
