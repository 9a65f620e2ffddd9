"""What cannot be counted is refused by its name before anything runs, and left as it was."""

from copy import deepcopy

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from reuseprior.contexts import CountingError, count_contexts, record_model
from tests.contexts.zoo import Calls, counted


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
    "TorchScript": (lambda: torch.jit.script(mlp()), r"Module inner is in TorchScript"),
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
        record_model(model, (1, 4))
    assert not called and model.training
    assert all(torch.equal(v, state[k]) for k, v in model.plain.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_what_may_be_quantised_later_counts():
    """Additions as in torchvision's networks that may be quantised: still in floating point."""
    add = torch.ao.nn.quantized.FloatFunctional()
    model = Calls(lambda self, x: self.add.add(x, self.layer(x)), add=add, layer=nn.Linear(4, 4))
    assert counted(model, (1, 4)) == {"layer.weight": [[1] * 4] * 4, "layer.bias": [1] * 4}
