"""What cannot be shared is refused in one sentence, and the model stays as it was."""

import pytest
import torch
from torch import nn
from torch.ao.nn.quantized import Linear as Quantised

from reuseprior import sharing
from reuseprior.sharing import Channels, SharingError
from reuseprior.sharing.weights import parametrized
from tests.sharing import test_channels, test_stores
from tests.sharing.counting import parameters


def stored():
    return test_stores.small((3, 4, 6), linear=8)


def tied():
    model = test_stores.small()
    model[-1].weight = model[-2].weight
    return model


def blocks():
    return nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(3)))


def tied_block():
    """A stack whose third block is tied to what is no block."""
    model = nn.Sequential(nn.Embedding(4, 4), nn.Sequential(*(nn.Linear(4, 4) for _ in range(3))))
    model[1][2].weight = model[0].weight
    return model


def two_names(bias=False):
    model = nn.Sequential(*(nn.Linear(4, 4, bias) for _ in range(3)))
    for layer in model:
        layer.other = layer.weight
    return model


def two_holders():
    model = nn.Module()
    model.a = blocks()
    model.b = nn.ModuleList(model.a)
    return model


def two_norms():
    model = test_channels.small()
    model.append(nn.BatchNorm2d(8))
    model[-1].bias = model[2].bias
    return model


REFUSED = [  # a model, how it is to share, what is said
    (stored, "stores:1%", "budget of 11 parameters is too small: what is not shared takes 52 alon"),
    (stored, "stores:150,shape", "a budget of 150 parameters is too small"),
    (stored, "stores:10%,wieghted", "stores know no 'wieghted', did you mean 'weighted'.: choose"),
    (stored, "stores:10%,mask,repeat", "stores '10%,mask,repeat' say upsampler twice: leave one"),
    (stored, "stores:10%,templates=0", "templates is 0: it must be 1 to 1,000"),
    (stored, "stores:10%,map=01", "mapping '01' is of 2 layers, and the model has 4 that share"),
    (stored, "stores:10%,map=A", "mapping 'A' is unknown: choose from single, random, shape or wr"),
    (stored, "stores:10%,mean,resized", "generator 'mean' learns no coefficients"),
    (stored, "stores:90%,mask,resized",
     "stores '90%,mask,resized' say upsampler, of which resized leaves"),
    (stored, "stores:90%,stores=4", "mapping is single and stores 4: a random mapping needs store"),
    (stored, "stores:90%,random", "mapping is random and stores 1: a random mapping needs stores="),
    (stored, "stroes:10%", "unknown sharing 'stroes:10%', did you mean 'stores' or 'scopes'.: ch"),
    (stored, "blocks:1", "no two blocks of a stage after its first have equal convolutions"),
    (stored, "layers:all", "nothing to share in Sequential: it looks for two or more blocks of eq"),
    (blocks, "layers:4,cycle", "its largest stack has 3 blocks, and 4,cycle leaves each of them"),
    (blocks, "layers:3,immediately", "layers know no 'immediately', did you mean 'immediate'.: w"),
    (blocks, "layers:cycle", "layers:cycle is no order with its number: a number from 1 to 1,000"),
    (blocks, "layers:all,middle", "layers:all,middle says order twice: leave one out"),
    (blocks, "layers:attention", "no blocks share their attention: it looks for a part named at"),
    (blocks, "layers:all,in=*.1", r"no layers whose names are like [*]\.1 would share: cho"),
    (blocks, "layers:all,lora=5", "lora=5 is no low rank for a matrix of 4 rows or columns"),
    (tied_block, "layers:all", "layer '1.2' shares its weight with another layer already"),
    (lambda: nn.ModuleDict({name: nn.Linear(4, 4) for name in "qkv"}), "layers:all",
     "finds nothing to share in ModuleDict"),
    (two_names, "layers:all,lora=1", "layer '0' shares its weight with another .* two names"),
    (blocks, "layers:1-4x2", "no loop over places 1 to 4: it looks for so many equal blocks, one"),
    (lambda: sharing.apply(blocks(), "layers:1-2x2"), "layers:1-2x2", "'0' loops already"),
    (lambda: nn.Sequential(*2 * [*blocks()]), "layers:1-2x2", "'0' stands in two places"),
    (two_holders, "layers:1-2x2", "'a.0' stands in two places"),
    (blocks, "layers:2-1x2", "layers:2-1x2 is no loop: write first and last place, counted from 1"),
    (blocks, "layers:1-2x1", "layers:1-2x1 is no loop"),
    (blocks, "layers:1-2x2,lora=1", "layers:1-2x2,lora=1 asks a loop for more than its places"),
    (lambda: nn.Sequential(*(nn.Linear(4, 4) for _ in range(3))), "layers:middle",
     "its largest stack has 3 blocks, and middle needs four"),
    (lambda: sharing.apply(blocks(), "layers:all"), "layers:all", "share so already"),
    (lambda: sharing.apply(blocks(), "layers:all,lora=1"), "layers:2,cycle",
     "a block holds a Linear whose weight is computed by something else"),
    (stored, "scopes:all", "unknown sharing policy 'all'"),
    (lambda: nn.TransformerEncoderLayer(8, 2), "all_but_bn",
     "nothing to share in TransformerEncoderLayer: it looks for convolutions of equal .*3 Dropout"),
    (two_norms, "scopes:same_shape", "looks for convolutions whose weights have one shape"),
    (lambda: nn.Sequential(nn.LazyConv2d(4, 3), nn.Linear(4, 2)), "stores:90%",
     "'0' .LazyConv2d. has no shape"),
    (lambda: nn.Sequential(nn.Linear(4, 4), Quantised(4, 4), nn.Linear(4, 2)), "stores:90%",
     "layer '1' is quantised .Linear.: share the weights first"),
    (lambda: nn.Sequential(nn.ReLU(), nn.Linear(4, 2)), "stores:90%", "has nothing to share"),
    (lambda: sharing.apply(stored(), "stores:50%"), "stores:90%",
     "the weight of layer '0' is computed by"),
    (tied, "stores:90%", "shares its weight with another layer already"),
    (lambda: nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3).double()), "stores:90%",
     "the weights to share are torch.float32 on cpu and torch.float64 on cpu"),
    (test_channels.small, "channels:4,fulll",
     "unknown kind of layer 'fulll', did you mean 'full'.: choose from depth"),
    (test_channels.small, "channels:3,full",
     "3 does not divide the 8 output channels of layer '3': choose a factor"),
    (test_channels.small, "channels:3,pointwise",
     "3 does not divide the 8 input channels of layer '3'"),
    (test_channels.small, "chanels:4", "unknown sharing 'chanels:4', did you mean 'channels'"),
    (test_channels.small, "channels:2,depthwise,layers=9*", r"names like 9\*: choose from depthwi"),
    (two_norms, "channels:2,norms", "layer '2' shares its bias with another layer alread"),
    (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)), "channels:2",
     "Sequential has nothing to share of kind depthwise besides its first convolution"),
    (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.LazyConv2d(8, 3)), "channels:2,full",
     "has no shape yet: run the model"),
    (lambda: sharing.apply(test_channels.small(), "channels:2"), "channels:2,full",
     "is computed by something else"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # torch's, about quantised layers
@pytest.mark.parametrize(("build", "text", "message"), REFUSED)
def test_bad_use_is_one_sentence(build, text, message):
    model = build()
    before = [(name, id(parameter)) for name, parameter in model.named_parameters()]
    made = parametrized(model).keys()
    with pytest.raises(SharingError, match=message) as error:
        sharing.apply(model, text)
    assert "\n" not in str(error.value)
    assert [(name, id(parameter)) for name, parameter in model.named_parameters()] == before
    assert parametrized(model).keys() == made


def test_a_parameter_follows_under_both_its_names():
    model = sharing.apply(two_names(), "layers:all")
    assert all(x is model[0].weight for layer in model for x in (layer.weight, layer.other))


def test_a_block_in_several_places_shares_once():
    a, b = nn.Linear(4, 4), nn.Linear(4, 4)
    model = sharing.apply(nn.Sequential(a, b, a, b), "layers:all,lora=2")
    assert model[1].parametrizations.weight[0].shared is model[0].parametrizations.weight[0].shared
    assert [len(layer.parametrizations.weight) for layer in model] == [1] * 4
    inner = nn.Linear(4, 4)
    model = nn.Sequential(*(nn.Sequential(inner, nn.Linear(4, 4)) for _ in range(3)))
    sharing.apply(model, "layers:all,lora=2")
    assert not parametrized(model).keys() & {"0.0", "1.0"} and len(parametrized(model)) == 3


def test_a_block_that_differs_is_left_alone():
    def body(*more):
        return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), *more)

    first = nn.ModuleDict({"body": body(), "projection": nn.Linear(4, 4)})
    model = nn.Sequential(first, nn.ModuleDict({"body": body()}), nn.ModuleDict({"body": body()}))
    sharing.apply(model, "layers:all")
    assert model[1]["body"][0].weight is model[2]["body"][0].weight
    assert first["body"][0].weight is not first["body"][2].weight


class Stateful(nn.Linear):
    def forward(self, x, state=None):
        y = super().forward(x)
        return y, y if state is None else state + y


def test_a_loop_refuses_what_it_cannot_run_again():
    model, x = sharing.apply(blocks(), "layers:1-2x2"), torch.ones(1, 4)
    with pytest.raises(SharingError, match="a block of the loop was skipped"):
        model[1](x)
    with pytest.raises(RuntimeError):
        model(torch.ones(1, 5))
    assert model(x).shape == (1, 4)
    first, second = sharing.apply(nn.ModuleList(Stateful(4, 4) for _ in range(2)), "layers:1-2x2")
    y, state = first(x)
    with pytest.raises(SharingError, match="a Stateful returns more than one tensor"):
        second(y, state)


def test_a_factor_is_a_number_and_a_made_weight_stays_made():
    with pytest.raises(SharingError, match="the factor is True"):
        Channels(True)
    model = sharing.apply(stored(), "stores:50%")
    with pytest.raises(SharingError, match="the weight of this layer is computed from shared"):
        model[0].weight = torch.zeros_like(model[0].weight)


@pytest.mark.slow
def test_compiled():
    """One network whose weights are made in both ways."""
    torch.manual_seed(0)
    first, second = test_channels.small(4), test_stores.small((4, 4, 6), dtype=torch.float32)
    sharing.apply(first, "channels:2,depthwise,pointwise,full,norms")
    sharing.apply(second, "stores:50%,embedding")
    model = nn.Sequential(first, second)
    x = torch.randn(2, 2, 4, 4)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x))
    compiled(x).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert parameters(model) < parameters(sharing.weights.merge(model))
