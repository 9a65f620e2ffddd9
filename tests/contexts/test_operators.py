"""Operators beside those with a rule of their own: what torch tags, takes apart or solves."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

from reuseprior.contexts import count_contexts, multiply_adds, record_model
from tests.contexts.zoo import Calls, counted, ones

SPECIAL = """
    digamma entr erfcx i0e i1 log_ndtr ndtri spherical_bessel_j0 gammaln bessel_j1 expit sinc
""".split()


@pytest.mark.parametrize("name", SPECIAL)
def test_what_torch_tags_as_pointwise_needs_no_rule(name):
    model = Calls(lambda self, x: getattr(torch.special, name)(x * self.w), w=ones(3))
    assert counted(model) == {"w": [1, 1, 1]}


ACTIVATIONS = (
    nn.Softsign, nn.Tanhshrink, nn.Softshrink, nn.Hardshrink, nn.LogSigmoid, nn.Mish, nn.SELU,
    nn.CELU, nn.Hardswish, nn.ReLU6, nn.PReLU, nn.RReLU,
    lambda: nn.Softmin(-1), lambda: nn.Threshold(0.1, 2),
)  # fmt: skip


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activation_is_one_step(activation):
    model = nn.Sequential(nn.Linear(3, 3, bias=False), activation())
    assert counted(model)["0.weight"] == [[1] * 3] * 3


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
    "dot": (product(lambda self, x: x[0] @ self.w, w=(8,)), 8),
    "addmv": (product(lambda self, x: torch.addmv(self.b, self.w, x[0]), w=(5, 8), b=(5,)), 40),
    "outer": (product(lambda self, x: torch.addr(self.b, x[0], self.w), w=(5,), b=(8, 5)), 40),
    "addbmm": (product(lambda self, x: torch.addbmm(self.b, x[:, None], self.w), w=(1, 8, 5),
                       b=(1, 5)), 40),
    "distances": (product(lambda self, x: torch.cdist(x, self.w), w=(5, 8)), 40),
    "distances within": (product(lambda self, x: F.pdist(x.view(4, 2) * self.w), w=(2,)), 12),
    "bilinear": (product(lambda self, x: F.bilinear(x, x, self.w), w=(5, 8, 8)), 320),
    "cross": (product(lambda self, x: torch.linalg.cross(x[:, :3], self.w), w=(1, 3)), 6),
    "linear": (product(lambda self, x: F.linear(x, self.w), w=(5, 8)), 40),
    "einsum": (product(lambda self, x: torch.einsum("bi,oi->bo", x, self.w), w=(5, 8)), 40),
    "norm": (product(lambda self, x: F.layer_norm(x, (8,), self.w), w=(8,)), 0),
}  # fmt: skip


@pytest.mark.parametrize("kind", PRODUCTS)
def test_multiply_adds(kind):
    model, right = PRODUCTS[kind]
    assert multiply_adds(record_model(model, (1, 8))) == right


@pytest.mark.parametrize("mode", ["constant", "replicate", "reflect", "circular"])
@pytest.mark.parametrize("around", [(-1, 2), (2, -1), (-2, -2), (1, 1), (0, -3)])
def test_padding_that_crops(mode, around):
    model = Calls(lambda self, x: F.pad((x * self.w)[None], around, mode=mode), w=ones(6))
    kept = F.pad(torch.arange(1.0, 7.0)[None, None], around, mode=mode).flatten().int().tolist()
    assert counted(model, (1, 6)).get("w") == [kept.count(i) for i in range(1, 7)]


@pytest.mark.parametrize("unitriangular", [False, True])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("upper", [False, True])
def test_triangular_solves(upper, left, unitriangular):
    """Which entries of a solution depend on which of the triangle, by torch's derivative."""

    def solve(matrix, right):
        return torch.linalg.solve_triangular(
            matrix, right, upper=upper, left=left, unitriangular=unitriangular
        )

    torch.manual_seed(0)
    matrix, right = torch.rand(3, 3) + torch.eye(3), torch.rand(3, 3)
    jacobians = torch.autograd.functional.jacobian(solve, (matrix, right))
    w, b = ((j.abs() > 1e-9).sum((0, 1)).tolist() for j in jacobians)
    model = Calls(lambda self, x: solve(self.w, self.b * x), w=ones(3, 3), b=ones(3, 3))
    assert counted(model, (1, 3, 3)) == {"w": w, "b": b}


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
@pytest.mark.parametrize("multiply", [torch.matmul, torch.mm, torch.spmm, torch.sparse.mm])
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


def test_a_table_of_numbers_is_no_mask():
    model = Calls(lambda self, x: x * (self.w * torch.arange(3).sin()), w=ones(3))
    assert counted(model) == {"w": [1, 1, 1]}


def test_zeros_to_begin_with_are_no_mask():
    model = Calls(
        lambda self, x: x @ self.w + torch.zeros(1, 3) @ self.v, w=ones(3, 3), v=ones(3, 3)
    )
    assert counted(model) == {"w": [[1] * 3] * 3, "v": [[1] * 3] * 3}
