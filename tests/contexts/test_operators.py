"""Operators beside the table of rules: energies, costs, matrices, zeros that are certain."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

from reuseprior import quantities
from reuseprior.contexts import count_contexts, counting, fingerprint, multiply_adds, trace_model
from tests.contexts.zoo import Calls, counted, ones


class Energy(nn.Module):
    """Returns the gradient of an energy."""

    def __init__(self, activation):
        super().__init__()
        self.first, self.last, self.activation = nn.Linear(2, 4), nn.Linear(4, 1), activation

    def forward(self, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            energy = self.last(self.activation(self.first(x))).sum()
            return torch.autograd.grad(energy, x, create_graph=True)[0]


DIFFERENTIABLE = (
    F.relu, F.gelu, F.elu, F.softplus, F.silu, F.leaky_relu, F.hardtanh, F.mish, F.hardswish,
    F.logsigmoid, F.selu, F.celu, torch.sigmoid, torch.tanh, F.softshrink, F.relu6,
)  # fmt: skip


@pytest.mark.parametrize("activation", DIFFERENTIABLE)
def test_energies_of_every_activation(activation):
    found = counted(Energy(activation), (1, 2))
    of_tanh = counted(Energy(torch.tanh), (1, 2))
    assert found.keys() == of_tanh.keys()
    if activation not in (F.silu, F.mish, F.logsigmoid):  # whose derivatives take several steps
        assert found["first.weight"] == of_tanh["first.weight"]


def product(forward, **shapes):
    return Calls(forward, **{name: ones(*shape) for name, shape in shapes.items()})


PRODUCTS = {  # of an input (1, 8)
    "vector": (product(lambda self, x: x @ self.w, w=(8,)), 8),
    "matrix and vector": (product(lambda self, x: self.w @ x[0], w=(5, 8)), 40),
    "outer": (product(lambda self, x: torch.addr(self.b, x[0], self.w), w=(5,), b=(8, 5)), 40),
    "addbmm": (product(lambda self, x: torch.addbmm(self.b, x[:, None], self.w), w=(1, 8, 5),
                       b=(1, 5)), 40),
    "distances": (product(lambda self, x: torch.cdist(x, self.w), w=(5, 8)), 40),
    "distances within": (product(lambda self, x: F.pdist(x.view(4, 2) * self.w), w=(2,)), 12),
    "bilinear": (product(lambda self, x: F.bilinear(x, x, self.w), w=(5, 8, 8)), 320),
    "cross": (product(lambda self, x: torch.linalg.cross(x[:, :3], self.w), w=(1, 3)), 6),
    "einsum": (product(lambda self, x: torch.einsum("bi,oi->bo", x, self.w), w=(5, 8)), 40),
    "norm": (product(lambda self, x: F.layer_norm(x, (8,), self.w), w=(8,)), 0),
}  # fmt: skip


@pytest.mark.parametrize("kind", PRODUCTS)
def test_multiply_adds(kind):
    model, right = PRODUCTS[kind]
    assert multiply_adds(trace_model(model, (1, 8))) == right


WHOLE = {
    "cholesky": torch.linalg.cholesky, "qr": lambda a: torch.linalg.qr(a)[0],
    "lu": lambda a: torch.linalg.lu_factor(a)[0], "eigenvalues": torch.linalg.eigvalsh,
    "inverse": torch.linalg.inv, "power": lambda a: torch.linalg.matrix_power(a, 2),
    "pinv": torch.linalg.pinv, "exponential": torch.linalg.matrix_exp,
}  # fmt: skip


@pytest.mark.parametrize("kind", WHOLE)
def test_functions_of_a_matrix_count(kind):
    model = Calls(lambda self, x: x @ WHOLE[kind](self.w).real.reshape(-1, 1)[:3], w=ones(3, 3))
    (w,) = count_contexts(model, (1, 3), exact=True).parameter_counts
    assert np.all(np.broadcast_to(w.counts, w.shape) > 0) or kind == "power"


# Factors that are certain to be zero ------------------------------------------------------------

EDGES = torch.tensor([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])
KEPT = {
    "dense": lambda edges: edges, "weighted alike": lambda edges: edges / 2,
    "coordinates": torch.Tensor.to_sparse, "rows": torch.Tensor.to_sparse_csr,
    "columns": torch.Tensor.to_sparse_csc,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("multiply", [torch.matmul, torch.spmm])
@pytest.mark.parametrize("kind", KEPT)
def test_paths_follow_a_graphs_edges_however_it_is_kept(kind, multiply):
    layer = nn.Linear(2, 2, bias=False)
    model = Calls(lambda self, x: multiply(self.edges, self.layer(x)), layer=layer)
    model.register_buffer("edges", KEPT[kind](EDGES))
    assert counted(model, (3, 2)) == {"layer.weight": [[4, 4]] * 2}


class Masked(nn.Linear):
    def forward(self, x):
        self.weight.data *= self.mask
        return super().forward(x)


def pruned(layer):
    prune.custom_from_mask(layer, "weight", MASK)
    return layer


def masked():
    layer = Masked(2, 2, bias=False)
    layer.register_buffer("mask", MASK)
    return layer


MASK = torch.tensor([[1.0, 0], [1, 1]])
BEHIND = {
    "pruned": pruned(nn.Linear(2, 2, bias=False)),
    "masked in place": masked(),
    "multiplied": Calls(lambda self, x: F.linear(x, self.weight * MASK), weight=ones(2, 2)),
    "bools": Calls(lambda self, x: F.linear(x, self.weight * MASK.bool()), weight=ones(2, 2)),
    "scaled": Calls(lambda self, x: F.linear(x, MASK * 3 * self.weight), weight=ones(2, 2)),
    "tril": Calls(lambda self, x: F.linear(x, self.weight.tril()), weight=ones(2, 2)),
}


@pytest.mark.parametrize("kind", BEHIND)
def test_weights_behind_a_mask_have_no_contexts(kind):
    found = counted(nn.Sequential(nn.Linear(2, 2, bias=False), BEHIND[kind]), (1, 2))
    first, (_, own) = found.pop("0.weight"), *found.items()
    assert own == [[1, 0], [1, 1]] and (first == [[2, 2], [1, 1]] or kind == "tril")


def test_numbers_and_zeros_to_begin_with_are_no_mask():
    def forward(self, x):
        return x @ (self.w * torch.arange(9.0).sin().view(3, 3)) + torch.zeros(1, 3) @ self.v

    model = Calls(forward, w=ones(3, 3), v=ones(3, 3))
    assert counted(model) == {"w": [[1] * 3] * 3, "v": [[1] * 3] * 3}


def test_the_fingerprint_holds_every_file_of_the_rules(monkeypatch, tmp_path):
    """A changed rule voids the counts kept under the old one."""
    folder = tmp_path / "contexts"
    shutil.copytree(Path(counting.__file__).parent, folder)
    shutil.copy(quantities.__file__, tmp_path)
    traced = trace_model(nn.Linear(2, 2), (1, 2))

    def now():
        counting._code.cache_clear()
        return fingerprint(traced)

    monkeypatch.setattr(counting, "__file__", str(folder / "counting.py"))
    before = now()
    with (folder / "rules" / "windows.py").open("a") as file:
        file.write("# changed")
    assert now() != before
    monkeypatch.undo()
    assert now() == before
