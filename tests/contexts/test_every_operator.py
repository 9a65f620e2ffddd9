"""Every operator that torch calls core has a rule or a reason, and is named in one place."""

import ast
from collections import Counter
from pathlib import Path

import pytest
import torch

import reuseprior
from reuseprior.contexts.rules import RULES, is_pointwise, op_metadata, overloads
from tests.contexts.test_rules import CASES, UNHEEDED, traced

aten = torch.ops.aten
PACKAGE = Path(reuseprior.__file__).parent

BY_ITSELF = """
    as_strided col2im diagonal flip index_put masked_scatter reflection_pad1d reflection_pad2d
    reflection_pad3d repeat replication_pad2d replication_pad3d scatter_add select_scatter
    slice_scatter
"""
WITHOUT_RULE = {
    "makes constants": """
        arange empty empty_strided full rand randn randperm scalar_tensor
    """,
    "gives a number to Python, which the tracer answers from constants or refuses": """
        _local_scalar_dense sym_is_contiguous sym_numel sym_size sym_storage_offset sym_stride
    """,
    "makes a result whose shape depends on data": "nonzero",
    "leaves what it adds without values": "resize_",
    "is taken apart before it is traced": "adaptive_avg_pool1d avg_pool1d",
    "is a gradient's step, which no forward pass takes": """
        _adaptive_avg_pool2d_backward avg_pool2d_backward convolution_backward
        embedding_dense_backward max_pool2d_with_indices_backward native_group_norm_backward
        native_layer_norm_backward
    """,
}


@pytest.mark.slow
@pytest.mark.filterwarnings(*UNHEEDED)
def test_every_core_operator_has_a_rule_or_a_reason():
    known = (name.partition("::") for name in torch._C._dispatch_get_all_op_names())
    names = {name.partition(".")[0] for space, _, name in known if space == "aten"}
    packets = [getattr(aten, name) for name in sorted(names)]
    core = {f for p in packets for f in overloads(p) if torch.Tag.core in f.tags}
    without = {f for f in core - RULES.keys() if not is_pointwise(f)}
    missing = {f.overloadpacket.__name__ for f in without}
    reasons = " ".join(WITHOUT_RULE.values()).split()
    assert len(core) > 150 and missing == {*BY_ITSELF.split(), *reasons}
    traces = (traced(name).trace for name in CASES if name.startswith(("move", "sum of")))
    functions = {o.function for trace in traces for o in trace.operators}
    packets = {getattr(f, "overloadpacket", f).__name__ for f in functions}
    met = {name.removesuffix("_") for name in packets}
    assert met >= {*BY_ITSELF.split()}


ORDINARY = {"all", "log", "log2 mean count"}  # a convention, an axis and a column, too


def operators_named(tree: ast.AST):
    """Names of operators in a module: attributes of `aten`, and strings of nothing but names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("aten"):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = node.value.split()
            if all(hasattr(aten, word) for word in words) and node.value not in ORDINARY:
                yield from words


def test_each_operator_is_named_once():
    """In the rooms that know operators: contexts, and whoever reads a trace."""
    named = Counter()
    for file in sorted(PACKAGE.rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        if file.is_relative_to(PACKAGE / "contexts") or "contexts.trace" in source:
            named.update(operators_named(ast.parse(source)))
    with_rules = {f.overloadpacket.__name__ for f in RULES if hasattr(f, "overloadpacket")}
    assert with_rules <= {*named, *(f"{name}_" for name in named)}
    shaped = {"add", "sub", "mul", "div", "mean", "sum", "addmm", "mm"}  # tracer.SHAPED_AS
    assert {name for name in with_rules if named[name] > 1} == shaped
    assert all(named[name] == 2 for name in shaped)


MOVES = {
    "view": (aten.view.default, [12]), "transpose": (aten.transpose.int, 0, 1),
    "select": (aten.select.int, 0, 1), "flip": (aten.flip.default, [0]),
    "roll": (aten.roll.default, [1], [1]), "diagonal": (aten.diagonal.default,),
    "index": (aten.index.Tensor, [torch.tensor([2, 0])]), "repeat": (aten.repeat.default, [2, 1]),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVES)
def test_what_moves_only_moves(name):
    operator, *arguments = MOVES[name]
    x = torch.arange(12.0).reshape(3, 4)
    assert op_metadata(operator).moves
    assert set(operator(x, *arguments).flatten().tolist()) <= set(x.flatten().tolist())
