"""The house: ground ← methods ← report ← chapters ← command line, and no circle among modules."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter

import pytest

from reuseprior import paths
from reuseprior.report.notebooks import imported_names

NAME = paths.PACKAGE.name


def dotted(path):
    """The name of a module, `reuseprior.report.ledger`, or of a package, `reuseprior.report`."""
    parts = path.relative_to(paths.PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path): path for path in paths.PACKAGE.rglob("*.py")}
ROOMS = ("report", "chapters", "cli")
GROUND = ("errors", "files", "paths", "presets", "quantities", "results", "plotting", "schemas")


def imports(path):
    """The modules of this package that a module names in its imports, type-only ones included.

    `from package import name` is the module of that name where there is one, and else the package.
    """
    for name in imported_names(path.read_text(encoding="utf-8")):
        while name not in MODULES and "." in name:
            name = name.rpartition(".")[0]
        if name in MODULES and name != dotted(path):
            yield name


@cache
def graph():
    return {name: set(imports(path)) for name, path in MODULES.items()}


@cache
def trees():
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES.values()}


def room(module):
    """The room of a module if it is one of ROOMS, "ground" for GROUND, or else "methods"."""
    first = module.split(".")[1] if "." in module else NAME
    return first if first in ROOMS else "ground" if first in (*GROUND, NAME) else "methods"


def test_imports_are_absolute():
    """Relative ones would escape the reading of imports, here and in the batch."""
    for path, tree in trees().items():
        for node in ast.walk(tree):
            assert not (isinstance(node, ast.ImportFrom) and node.level), path


def test_no_circle():
    TopologicalSorter(graph()).prepare()  # its CycleError names the modules


ARROWS = {  # what a room may import besides itself; the command line is imported by nobody
    "ground": set(),
    "methods": {"ground"},
    "report": {"ground", "methods"},
    "chapters": {"ground", "methods", "report"},
    "cli": {"ground", "methods", "report", "chapters"},
}


SOURCE_OF = dict.fromkeys(("counting", "sharing", "sharing_runs", "energy", "theorems"), "thesis")
SOURCE_OF |= {"closed_forms": "thesis", "accuracy": "beyond", "nn_mass_theorems": "nn_mass"}
SOURCE_OF |= {"revolver_print": "revolver"}


def test_arrows():
    """A chapter may use its own runs and theorems, and another of the same source."""
    chapters = {m: m.split(".")[2] for m in MODULES if m.startswith(f"{NAME}.chapters.")}
    source = {m: SOURCE_OF.get(name, name.split("_r")[0]) for m, name in chapters.items()}
    for module in graph().keys() - {f"{NAME}.__main__"}:
        allowed = ARROWS[room(module)] | {room(module)}
        for other in graph()[module]:
            is_foreign = {module, other} <= source.keys() and source[module] != source[other]
            assert room(other) in allowed and not is_foreign, f"{module} → {other}"


UNUSED = (  # by a count; sympy is there because torch takes it for every convolution
    "torch._dynamo", "torchvision", "pandas", "matplotlib", "scipy", "timm", "transformers",
    "papermill", "snakemake",
)  # fmt: skip
HEAVY = ("torch", "numpy", "sympy", *UNUSED)
COMMAND = "import sys; sys.argv = ['reuseprior', {}]; from reuseprior.cli import main; main()"
LIGHT = [  # what is run, and which modules it must not load
    ("import reuseprior.results", ("torch", "pandas")),
    (COMMAND.format("'--help'"), HEAVY),
]
OF_SECONDS = [
    ("import reuseprior.proofs, reuseprior.chapters.theorems", ("torch",)),
    ("import reuseprior.training, reuseprior.revolver", ("torch._dynamo", "torchvision")),
    (COMMAND.format("'count', 'resnet20-cifar'"), UNUSED),
    (COMMAND.format("'rank', '--no-cache', 'efficientnetv2-b0', '--image-size', '32'"), UNUSED),
]
LIGHT += [pytest.param(*case, marks=pytest.mark.slow) for case in OF_SECONDS]


@pytest.mark.parametrize(("code", "heavy"), LIGHT)
def test_nothing_heavy_is_loaded(code, heavy):
    watch = f"import atexit, sys; heavy = {heavy}; loaded = lambda: {{*heavy}} & {{*sys.modules}}\n"
    watch += "atexit.register(lambda: sys.stderr.write(' '.join(loaded())))\n"
    done = subprocess.run([sys.executable, "-c", watch + code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


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
    for path, tree in trees().items():
        assert list(calls(tree)) == [], path
        imported = imported_names(path.read_text(encoding="utf-8"))
        readers = {name.partition(".")[0] for name in imported} & {"pickle", "marshal", "shelve"}
        assert not readers or path.name == "cifar.py", path
