"""What cannot be counted says so in one sentence that names the thing and the mend."""

from copy import deepcopy

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from reuseprior.contexts import CountingError, Graph, count_contexts, rule, trace_model
from reuseprior.contexts.rules import OP_METADATA, RULES, OpMetadata, op_metadata
from reuseprior.models import catalog
from tests.contexts.zoo import Calls, counted, ones

aten = torch.ops.aten


def calls(forward):
    """Adds a parameter to its input and hands it to a function."""
    return Calls(lambda self, x: forward(x + self.p), p=ones(4))


def inside(forward):
    """A model with the offending layer at `blocks.1`."""
    blocks = nn.Sequential(nn.Linear(4, 4), calls(forward))
    return Calls(lambda self, x: self.blocks(x), blocks=blocks)


FORWARDS = {
    "raises": (lambda x: x.no_such_thing,
        r"failed in blocks\.1, .*on an input of shape \(1, 4\) .*no_such_thing'\)\.$"),
    "wrong shapes": (lambda x: x @ x, r"failed in blocks\.1, .*RuntimeError.*check the input"),
    "no rule": (
        lambda x: torch.linalg.householder_product(x.mT @ x, x[0]),
        r"aten\.linalg_householder_product\.default \(in blocks\.1\) has no counting rule: "
        r"register one with @reuseprior\.contexts\.rule",
    ),
    "no rule, of several results": (lambda x: torch.linalg.ldl_factor(x.mT @ x)[0],
        r"aten\.linalg_ldl.*in blocks\.1.*register one"),
    "least squares": (lambda x: torch.linalg.lstsq(x.mT @ x, x.mT)[0],
        r"uses aten\.linalg_lstsq\.default, whose result's shape depends on data.*in blocks\.1"),
    "a later result": (lambda x: F.group_norm(x, 1) + aten.native_group_norm(x, None, None, 1, 4, 1,
        1, 0.1)[1], r"Result 1 of operator aten\.native_group_norm.*blocks\.1.*every_result=True"),
    "if": (lambda x: x if x.sum() > 0 else -x, "data-dependent control flow, in blocks.1"),
    "while": (lambda x: [x for _ in range(int(x[0, 0]))], "data-dependent control flow"),
    "item": (lambda x: x * x.mean().item(), "data-dependent control flow, in blocks.1"),

    "numpy": (lambda x: x * float(x.detach().numpy()[0, 0]), "data-dependent control flow"),
    "array": (lambda x: x * float(np.asarray(x.detach())[0, 0]), "data-dependent control flow"),
    "no forward": (lambda x: nn.Module()(x), r'required "forward" function\)\.$'),
    "a mask": (lambda x: x[x > 0], r"aten\.index\.Tensor, whose result's shape depends on data"),
    "nonzero": (lambda x: x[0, x[0].nonzero()], r"aten\.nonzero.*fixed"),
    "equal": (lambda x: x if torch.equal(x, x) else -x,
        r"aten\.equal.*whose result depends on dat"),
    "selected": (lambda x: x.masked_select(x > 0), r"aten\.index\.Tensor, whose result's shape"),
    "unique": (lambda x: x.unique(), "depends on data"),
    "chosen by values": (lambda x: x.index_select(1, x.argmax(1)),
        r"aten\.index_select\.default in blocks\.1 cannot be counted: its values depend on"),
    "no such row": (lambda x: F.embedding(torch.arange(5), x.expand(4, 4)),
        r"in blocks\.1 cannot be counted: row 4 is asked of a table of 4, .*give a shorter input"),
    "nothing given": (lambda x: x + None.shape[0], "NoneType.*an argument may be missing, so give"),
    "run with data alone": (
        lambda x: torch.ops.reuseprior_tests.of_data(x),
        r"uses reuseprior_tests\.of_data\.default \(in blocks\.1\), which torch cannot run without",
    ),
    "windows that overlap": (lambda x: [y := x * 1, y.unfold(1, 2, 1).mul_(2), y][-1],
        r"in blocks\.1 cannot be counted: A tensor is written to through a view that holds some"),
    "memory": (lambda x: (x * 1).expand(2, 4).t().as_strided((2, 2), (1, 1)),
        r"as_strided \(in blocks\.1\) looks at the memory of a tensor that is a part of another"),
    "nothing": (lambda x: None, "returns no tensor to count contexts to; .* output="),
}  # fmt: skip


OF_DATA = torch.library.Library("reuseprior_tests", "FRAGMENT")
OF_DATA.define("of_data(Tensor x) -> Tensor")
OF_DATA.impl("of_data", torch.clone, "CPU")

LINEAR = nn.Linear(4, 2)
SHAPE = "is not a tuple of positive integers"
INPUTS = {
    "no axis": (torch.tensor(1.0), r"failed in its forward on an input of shape \(\) .* 1D"),
    "a number beside shapes": ([(1, 4), 3], r"failed in its forward .*by name, as inputs="),
    "a float within a nest": ([(1, 4), (1, 4.0)], rf"Input shape \(1, 4\.0\) {SHAPE}"),
    "empty": ((), rf"Input shape \(\) {SHAPE}"),
    "zero": ((1, 0), rf"Input shape \(1, 0\) {SHAPE}"),
    "a number": (224, r"Input shape 224 is not .*such as \(1, 3, 224, 224\)"),
    "none": (None, "Input shape None is not"),
    "a flag among numbers": ((True, 4), r"Input shape \(True, 4\) is not"),
    "text": ("1,4", "Input shape '1,4' is not"),
    "a name it does not take": ({"x": (1, 4)}, r"of shape x \(1, 4\) .*keyword .*by name"),
    "too many": ([(1, 4), (1, 4)], r"failed in its forward .*of shape \(1, 4\), \(1, 4\)"),
    "wrong features": ((1, 5), r"failed in its forward on an input of shape \(1, 5\)"),
}  # fmt: skip


IMAGES = {
    "vgg11": ((1, 3, 16, 16), r"failed in features\.20, .*\(1, 3, 16, 16\).*too small"),
    "resnet18": ((1, 1, 64, 64), r"failed in conv1, Conv2d\(3, 64.*[Cc]hannel.* check the input"),
    "vit_b_16": ((1, 3, 32, 32), "failed in its forward .*Wrong image height"),
}
MODELS = [
    (nn.ReLU(), "The model ReLU has no parameters, so nothing has contexts"),
    (lambda x: x, r"contexts of a function: pass a torch\.nn\.Module, or use Graph"),
    (Graph({"f": [("i", "w")]}), "contexts of a Graph: pass a torch"),
    (nn.Linear, "contexts of a type"),
    (nn.LazyLinear(3), r"Parameter weight has no shape yet .*run the model once first"),
    (calls(lambda x: torch.ones(1, 3)), "No parameter of the model has a context"),
]
PARTS = [
    (lambda x: {"a": x, "b": x}, "c", r"no part 'c'; it offers \['a', 'b'\]"),
    (lambda x: {"a": x, "b": x}, 0, r"no part 0; it offers \['a', 'b'\]"),
    (lambda x: (x, x), 2, "no part 2; it offers 2 tensors"),
    (lambda x: (x, x), "a", "no part 'a'; it offers 2 tensors"),
    (lambda x: x, 0, "no part 0; it is one tensor"),
    (lambda x: None, 0, "no part 0"),
    (lambda x: (x, x), lambda made: made[3], r"output= .*IndexError"),
    (lambda x: {"a": None}, "a", "returns no tensor"),
]


def scattered(places):
    model = Calls(
        lambda self, x: (y := self.layer(x)).scatter_add(1, places(self, x), y),
        layer=nn.Linear(4, 4, device="meta"),
    )
    model.register_buffer("places", torch.empty(1, 4, dtype=torch.long, device="meta"))
    return model


MISFIT = {aten.relu: lambda count, x: iter([(x, count.reshape((2, 2)))])}
UNKNOWN = "scatter_add.*no counting rule: .* tried:"
OTHERS = [
    (scattered(lambda self, x: self.places), {}, f"{UNKNOWN} buffer places is on the meta device"),
    (scattered(lambda self, x: x.argsort(1)), {}, f"{UNKNOWN} its values depend on the model's"),
    (LINEAR, {"batch_norm": "both"}, "batch_norm='both' is not a convention: choose"),
    (calls(torch.relu), {"rules": MISFIT}, r"aten\.relu.*\(2, 2\).*\(1, 4\)"),
]
REFUSED = [  # model, inputs, options, message
    *((inside(forward), (1, 4), {}, message) for forward, message in FORWARDS.values()),
    # numbers of an example choose no path, even where all that computes them is known
    (inside(FORWARDS["if"][0]), torch.ones(1, 4), {}, FORWARDS["if"][1]),
    *((LINEAR, inputs, {}, message) for inputs, message in INPUTS.values()),
    *((catalog.build(f"torchvision:{name}"), *IMAGES[name][:1], {}, IMAGES[name][1])
      for name in IMAGES),
    *((model, (1, 4), {}, message) for model, message in MODELS),
    *((calls(made), (1, 4), {"output": output}, message) for made, output, message in PARTS),
    *((model, (1, 4), options, message) for model, options, message in OTHERS),
]  # fmt: skip


@pytest.mark.parametrize(("model", "inputs", "options", "message"), REFUSED)
def test_one_sentence_names_it(model, inputs, options, message):
    with pytest.raises(CountingError, match=message) as caught:
        count_contexts(model, inputs, **options)
    assert "\n" not in str(caught.value)


# Rules of one's own -----------------------------------------------------------------------------


@torch.library.custom_op("reuseprior_tests::scale_shift", mutates_args=())
def scale_shift(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return x * w[:, None, None] + b[:, None, None]


@scale_shift.register_fake
def _(x, w, b):
    return torch.empty_like(x)


SCALE_SHIFT = torch.ops.reuseprior_tests.scale_shift


def documented(count, x, w, b):  # as in the docstring of reuseprior/contexts/rules
    yield x, count
    yield w, count.sum(0, 2, 3).reshape(w.shape)
    yield b, count.sum(0, 2, 3).reshape(b.shape)


def test_a_custom_operator():
    layer = Calls(lambda self, x: scale_shift(x, self.w, self.b).sum((2, 3)), w=ones(3), b=ones(3))
    model = nn.Sequential(nn.Conv2d(1, 3, 1, bias=False), layer)
    with pytest.raises(CountingError, match=r"scale_shift\.default \(in 1\) has no counting rule"):
        count_contexts(model, (1, 1, 4, 5))
    given = count_contexts(model, (1, 1, 4, 5), exact=True, rules={SCALE_SHIFT: documented})
    assert SCALE_SHIFT.default not in RULES, "a rule for one count was registered"
    rule(SCALE_SHIFT.default, moves=True)(documented)
    try:
        assert op_metadata(SCALE_SHIFT.default) == OpMetadata(moves=True)
        again = count_contexts(model, (1, 1, 4, 5), exact=True)
        with pytest.raises(ValueError, match=r"scale_shift\.default has a counting rule.*rules="):
            rule(SCALE_SHIFT)(documented)
        with pytest.raises(TypeError, match="unexpected keyword argument 'linaer'"):
            rule(SCALE_SHIFT, linaer=True)
    finally:
        del RULES[SCALE_SHIFT.default], OP_METADATA[SCALE_SHIFT.default]
    assert op_metadata(SCALE_SHIFT.default) == OpMetadata()
    for counts in given, again:
        found = {p.name: p.counts.item() for p in counts.parameter_counts}
        assert found == {"0.weight": 20, "1.w": 20, "1.b": 20}


# Refused before anything runs -------------------------------------------------------------------


def mlp():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


@pytest.fixture
def mesh(tmp_path):
    """One process, as if it were several."""
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
def test_a_sharded_model(mesh):
    model = mlp()
    for layer in (model[0], model[2], model):
        fully_shard(layer, mesh=mesh)
    x = torch.randn(3, 4)
    before = model(x)
    with pytest.raises(CountingError, match=r"0\.weight is sharded .*before it is sharded"):
        count_contexts(model, (1, 4))
    assert torch.equal(model(x), before)


def codes():
    weight = nn.Parameter(torch.zeros(2, 4, dtype=torch.int8), requires_grad=False)
    return Calls(None, weight=weight)


def gptq():
    return Calls(None, qweight=nn.Buffer(torch.zeros(2, 4, dtype=torch.int32)))


def functional():
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_function(torch.ops.quantized.add_scalar.default, (x, 1)))
    return torch.fx.GraphModule(nn.Module(), graph)


KINDS = {
    "TorchScript": (lambda: torch.jit.script(mlp()),
        r"Module inner is in TorchScript.*count the model it was made from"),
    "dynamic": (lambda: torch.ao.quantization.quantize_dynamic(mlp()),
        r"Module inner\.0 is quantised \(Linear\)"),
    "by hand": (lambda: torch.ao.nn.quantized.Linear(4, 2),
        r"Module inner is quantised \(Linear\)"),
    "codes": (codes, r"Parameter inner\.weight is quantised \(Parameter of torch\.int8\)"),
    "gptq": (gptq, r"Module inner is quantised \(Calls\)"),
    "functional": (functional, r"Module inner is quantised"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_by_name(kind):
    build, message = KINDS[kind]
    called = []
    model = Calls(lambda self, x: called.append(x), inner=build(), plain=nn.Linear(4, 4)).train()
    state = {k: deepcopy(v) for k, v in model.plain.state_dict().items()}
    random = torch.get_rng_state()
    with pytest.raises(CountingError, match=message):
        trace_model(model, (1, 4))
    assert not called and model.training
    assert all(torch.equal(v, state[k]) for k, v in model.plain.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_what_may_be_quantised_later_counts():
    """Additions as in torchvision's networks that may be quantised: still in floating point."""
    add = torch.ao.nn.quantized.FloatFunctional()
    model = Calls(lambda self, x: self.add.add(x, self.layer(x)), add=add, layer=nn.Linear(4, 4))
    assert counted(model, (1, 4)) == {"layer.weight": [[1] * 4] * 4, "layer.bias": [1] * 4}
