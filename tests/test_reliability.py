"""docs/RELIABILITY.md and SECURITY.md promise nothing without a test that is there."""

import ast
import re

import pytest

from reuseprior import paths

PAGES = {name: (paths.ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
         for name in ("RELIABILITY", "SECURITY")}  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_every_promise_names_a_test_that_is_there(page):
    lines = [line for line in PAGES[page].splitlines() if line[:2] == "| "]
    promises = [line for line in lines if not line.startswith(("| promise", "| of |", "| ---"))]
    assert len(promises) > 20
    for line in promises:
        file, test = re.search(r"\| `(tests/\S+\.py)::(test_\w+)` \|$", line).groups()
        assert f"\ndef {test}(" in (paths.ROOT / file).read_text(encoding="utf-8"), line


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
    for path in paths.PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert list(calls(ast.parse(text))) == [], path
        if path.name != "cifar.py":
            assert not re.search(r"^\s*(import|from) (pickle|marshal|shelve)\b", text, re.M), path
