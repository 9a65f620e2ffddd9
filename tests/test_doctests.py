"""The examples of every docstring run, and print what they say."""

import ast
import doctest
import importlib
import pkgutil

import pytest
import torch
import torchvision
from torch import nn

import reuseprior
from reuseprior import contexts, models
from reuseprior.contexts.graph import per_layer
from reuseprior.revolver import blocks

# What a reader has imported besides, and what an example leaves for the reader to have: an example
# that speaks of these is not run.
IMPORTED = {"torch": torch, "nn": nn, "torchvision": torchvision}
IMPORTED |= {"blocks": blocks, "per_layer": per_layer}
READERS = {"model", "shape", "traced", "fig", "runs", "settings", "dataset"}

MODULES = [
    module.name
    for module in pkgutil.walk_packages(reuseprior.__path__, "reuseprior.")
    if not module.name.endswith("__main__")
]


class AsPrinted(doctest.OutputChecker):
    """An example that shows no output may have any."""

    def check_output(self, want, got, optionflags):
        return not want or super().check_output(want, got, optionflags)


def is_sketch(test):
    """Whether an example uses a name of the reader's that none before it gave a value."""
    given = set()
    for example in test.examples:
        names = [n for n in ast.walk(ast.parse(example.source)) if isinstance(n, ast.Name)]
        used = {n.id for n in names if isinstance(n.ctx, ast.Load)}
        if used & READERS - given:
            return True
        given |= {n.id for n in names if isinstance(n.ctx, ast.Store)}
    return False


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    public = {k: v for room in (contexts, models) for k, v in vars(room).items() if k[0] != "_"}
    names = public | IMPORTED | vars(module)
    runner = doctest.DocTestRunner(
        AsPrinted(), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    said = []
    for test in doctest.DocTestFinder().find(module, name, globs=names):
        if not is_sketch(test):
            runner.run(test, out=said.append)
    assert not runner.summarize(verbose=False).failed, "".join(said)
