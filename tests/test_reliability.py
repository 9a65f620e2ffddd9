"""RELIABILITY.md and SECURITY.md promise nothing without a test that is there."""

import ast
import re

import pytest

from reuseprior import paths

PAGES = {name: (paths.ROOT / f"{name}.md").read_text(encoding="utf-8")
         for name in ("RELIABILITY", "SECURITY")}  # fmt: skip
TESTS = {t for page in PAGES.values() for t in re.findall(r"`(tests/\S+\.py)::(test_\w+)`", page)}


@pytest.mark.parametrize("page", PAGES)
def test_every_promise_names_a_test(page):
    lines = [line for line in PAGES[page].splitlines() if line[:2] == "| "]
    promises = [line for line in lines if not line.startswith(("| promise", "| of |", "| ---"))]
    assert len(promises) > 20
    for line in promises:
        assert re.search(r"\| `tests/\S+\.py::test_\w+` \|$", line), line


@pytest.mark.parametrize(("file", "test"), sorted(TESTS))
def test_the_tests_of_the_promises_are_there(file, test):
    tree = ast.parse((paths.ROOT / file).read_text(encoding="utf-8"))
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


# what makes code of data, with the one place that may: CIFAR's pickles, which make arrays alone
CODE = {"eval", "exec", "loads", "load", "system", "popen"}
OWNERS = {"pickle", "marshal", "shelve", "os", "torch", "yaml", "joblib", "dill"}


def calls(tree):
    """Calls that make code of data: `eval(…)`, `pickle.loads(…)`, anything with `shell=True`."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(ast.Name("eval" | "exec" | "compile" as name)):
                yield name
            case ast.Call(ast.Attribute(ast.Name(owner), name)) if owner in OWNERS and name in CODE:
                yield f"{owner}.{name}"
            case ast.Call(keywords=keywords) if any(k.arg == "shell" for k in keywords):
                yield "shell="


def test_nothing_reads_code_from_data():
    slips = "eval(a)\npickle.loads(b)\nos.system(c)\nrun(d, shell=True)\ntorch.load(e)\n"
    assert len(list(calls(ast.parse(slips)))) == 5, "this would find none"
    for path in paths.PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert list(calls(ast.parse(text))) == [], path
        if path.name != "cifar.py":
            assert not re.search(r"^\s*(import|from) (pickle|marshal|shelve)\b", text, re.M), path
