"""RELIABILITY.md promises nothing without a test that is there."""

import ast
import re

import pytest

from reuseprior import paths

PAGE = paths.ROOT / "RELIABILITY.md"
TESTS = re.findall(r"`(tests/\S+\.py)::(test_\w+)`", PAGE.read_text(encoding="utf-8"))


def test_every_promise_names_a_test():
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    promises = [line for line in lines if not line.startswith(("| promise", "| ---"))]
    assert len(promises) > 20
    for line in promises:
        assert re.search(r"\| `tests/\S+\.py::test_\w+` \|$", line), line


@pytest.mark.parametrize(("file", "test"), sorted(set(TESTS)))
def test_the_tests_of_the_promises_are_there(file, test):
    tree = ast.parse((paths.ROOT / file).read_text(encoding="utf-8"))
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
