"""How many small faults the tests find: `python benchmarks/mutants.py contexts --count 20`.

A mutant is one change to one function: an operator, a comparison, a constant, a condition or a
result. It is tried on the tests that bear its module's name, then on all of its room,
`tests/<room>`, without browsers, notebooks and long hauls. The same seed gives the same mutants of
the same package, so that two states of the tests compare: `--package` is one checkout, `--tests`
another. Nothing is changed in place.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
SWAPS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn,
    ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def changes(node):
    """The changes that can be made at a node: (what it is called, a function that makes it)."""
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPS:
        yield "operator", lambda: setattr(node, "op", SWAPS[type(node.op)]())
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        yield "comparison", lambda: node.ops.__setitem__(0, SWAPS[type(node.ops[0])]())
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield "constant", lambda: setattr(node, "value", node.value + 1)
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        yield "condition", lambda: setattr(node, "test", ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.Return) and node.value is not None:
        yield "return", lambda: setattr(node, "value", ast.Constant(None))


def mutants(files, count, seed):
    """(file, line, kind, mutated source), as many from each file as it has places, by chance."""
    places = []
    for file in files:
        functions = [
            n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.FunctionDef)
        ]
        total = sum(1 for f in functions for n in ast.walk(f) for _ in changes(n))
        places += [(file, k) for k in range(total)]
    for file, place in random.Random(seed).sample(places, min(count, len(places))):
        tree = ast.parse(file.read_text())
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
        every = [
            (n, kind, make) for f in functions for n in ast.walk(f) for kind, make in changes(n)
        ]
        node, kind, make = every[place]
        make()
        yield file, node.lineno, kind, ast.unparse(ast.fix_missing_locations(tree))


def is_found(work, room, module, seconds):
    """Whether a test fails, of the module first and then of its room; a hang is found too."""
    tests = work / "tests" / room
    everything = [tests] if tests.is_dir() else sorted((work / "tests").glob(f"test_{room}*.py"))
    command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider"]
    command += ["-m", "not (notebook or browser or soak)", "--hypothesis-profile=check"]
    env = os.environ | {"PYTHONPATH": str(work), "OMP_NUM_THREADS": "1"}
    for targets in (sorted(tests.rglob(f"test_{module}.py")), everything):
        if not targets:
            continue
        called = [*command, *map(str, targets)]
        try:
            run = subprocess.run(called, cwd=work, env=env, capture_output=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            return True
        if run.returncode not in (0, 5):  # 5: nothing to run
            return True
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rooms", nargs="+", help="folders or modules of reuseprior/")
    parser.add_argument("--count", type=int, default=20, help="mutants a room")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--package", type=Path, default=ROOT, help="checkout whose code is mutated")
    parser.add_argument("--tests", type=Path, default=ROOT, help="checkout whose tests are run")
    parser.add_argument("--seconds", type=float, default=600, help="a mutant's limit")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "checkout"
        ignored = shutil.ignore_patterns(".git", ".venv", "build", "__pycache__", ".hypothesis")
        shutil.copytree(options.package, work, ignore=ignored)
        shutil.rmtree(work / "tests")
        shutil.copytree(options.tests / "tests", work / "tests", ignore=ignored)
        for room in options.rooms:
            if is_found(work, room, "", options.seconds):
                sys.exit(f"{room}: its tests fail, or take too long, without any mutant")
            place = options.package / "reuseprior" / room
            files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
            found = 0
            for file, line, kind, source in mutants(files, options.count, options.seed):
                name = file.relative_to(options.package)
                (work / name).write_text(source)
                caught = is_found(work, room, file.stem, options.seconds)
                found += caught
                print(f"{'found ' if caught else 'missed'} {name}:{line} {kind}", flush=True)
                shutil.copy(file, work / name)
            print(f"{room}: {found} of {options.count} found", flush=True)


if __name__ == "__main__":
    main()
