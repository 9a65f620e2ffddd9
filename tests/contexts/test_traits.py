"""What is known of an operator is said once, where its rule is."""

import ast
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import nn

import reuseprior
from reuseprior.contexts import RULES, counting, fingerprint, record_model, rule, traits
from reuseprior.contexts.record import Node, Operator
from reuseprior.contexts.rules import TRAITS, Traits

aten = torch.ops.aten
PACKAGE = Path(reuseprior.__file__).parent
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
    """In the rooms that know operators: contexts, and whoever reads a record."""
    named = Counter()
    for file in sorted(PACKAGE.rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        if file.is_relative_to(PACKAGE / "contexts") or "contexts.record" in source:
            named.update(operators_named(ast.parse(source)))
    with_rules = {f.overloadpacket.__name__ for f in RULES if hasattr(f, "overloadpacket")}
    assert with_rules <= {*named, *(f"{name}_" for name in named)}
    shaped = {"add", "sub", "mul", "div", "mean", "sum", "addmm", "mm"}  # recorder.SHAPED_AS
    assert {name for name in with_rules if named[name] > 1} == shaped
    assert all(named[name] == 2 for name in shaped)


def test_traits_stand_beside_the_rule():
    operator = SHIFT.default
    assert traits(operator) == Traits()
    try:
        rule(SHIFT, linear=True, moves=True)(lambda count, x: iter([(x, count)]))
        assert traits(operator) == Traits(linear=True, moves=True)
    finally:
        RULES.pop(operator), TRAITS.pop(operator)
    with pytest.raises(TypeError, match="unexpected keyword argument 'linaer'"):
        rule(SHIFT, linaer=True)


@torch.library.custom_op("reuseprior_tests::shift", mutates_args=())
def shift(x: torch.Tensor) -> torch.Tensor:
    return x.roll(1)


SHIFT = torch.ops.reuseprior_tests.shift


def test_layers_say_where_input_and_weight_stand():
    for operator in RULES:
        known = traits(operator)
        assert not known.layer or known.factors
        assert known.groups is None or known.layer


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
    assert traits(operator).moves
    assert set(operator(x, *arguments).flatten().tolist()) <= set(x.flatten().tolist())


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
    shortened = [f for f in RULES if traits(f).meta and f._overloadname == "default"]
    assert len(shortened) > 5
    for operator in shortened:
        own = operator(x.clone(), *arguments.get(operator.overloadpacket.__name__, ()))
        made = traits(operator).meta(x)
        for a, b in [(own, made)] if isinstance(own, torch.Tensor) else [(own[0], made[0])]:
            assert (a.shape, a.dtype, a.stride()) == (b.shape, b.dtype, b.stride()), operator


def test_a_call_knows_its_name_its_place_and_whether_parameters_went_in():
    leaf, other = Node((2, 3)), Node((2, 3), has_parameters=True)
    for second in (leaf, other):
        call = Operator(aten.add.Tensor, (leaf, second), {}, "a.b", [(2, 3)])
        assert call.results[0].has_parameters is (second is other)
    assert (call.name, call.place) == ("add", "a.b")


def test_the_fingerprint_holds_every_file_of_the_rules(monkeypatch, tmp_path):
    """A changed rule voids the counts kept under the old one."""
    folder = tmp_path / "contexts"
    shutil.copytree(PACKAGE / "contexts", folder)
    shutil.copy(PACKAGE / "quantities.py", tmp_path)
    recorded = record_model(nn.Linear(2, 2), (1, 2))

    def now():
        counting._code.cache_clear()
        return fingerprint(recorded)

    monkeypatch.setattr(counting, "__file__", str(folder / "counting.py"))
    before = now()
    with (folder / "rules" / "windows.py").open("a") as file:
        file.write("# changed")
    assert now() != before
    monkeypatch.undo()
    assert now() == before
