"""Whether trails lead to the lines that make a number: `python benchmarks/trails.py --count 40`.

Each of `mutants.py`'s one-line changes to the package is tried on the numbers that are computed,
derived or proved at some places, one number by itself. Those that then come out otherwise, or not
at all, ought to be those whose trail in `build/trace.json` holds the changed line: precision is the
share of the held that change, recall the share of the changed that are held. Lines are drawn that
some of these numbers hold. A process is forked for each, and nothing is changed in place.
"""

import argparse
import ast
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from importlib import import_module
from pathlib import Path

from mutants import ROOT, changes

# Places with numbers of every kind that take some seconds together
PLACES = (
    "thesis, table 4.3", "thesis, appendix A", "thesis, caption of figure 4", "nnmass, table 2",
    "npas, table 4", "bidart, table 5.1",
)  # fmt: skip
LATE = []  # numbers that took too long
KINDS = ("computed", "derived", "proved")
CELL = "reuseprior.cell"  # the event that announces a number
SECONDS = 20  # of a processor for a number; a change that lets several run longer is no test


def statement(tree, line):
    """The lines of the smallest statement around a line; of one with a body, those before that."""
    around = [
        n for n in ast.walk(tree) if isinstance(n, ast.stmt) and n.lineno <= line <= n.end_lineno
    ]
    if not around:  # a decorator
        return {line}
    least = max(around, key=lambda n: n.lineno)
    body = getattr(least, "body", None)
    return set(range(least.lineno, body[0].lineno if body else least.end_lineno + 1))


def mutants(held, seed):
    """(file, line, kind, source, who holds it), each line once, by chance."""
    places = []
    for file in sorted({file for file, _ in held}):
        tree = ast.parse((ROOT / file).read_text())
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
        every = [(n, *c) for f in functions for n in ast.walk(f) for c in changes(n)]
        for k, (node, *_) in enumerate(every):
            who = set().union(*(held.get((file, n), ()) for n in statement(tree, node.lineno)))
            places += [(file, node.lineno, k, who)] if who else []
    random.Random(seed).shuffle(places)
    for file, line, k, who in list({place[:2]: place for place in places}.values()):
        tree = ast.parse((ROOT / file).read_text())
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
        _, kind, make = [(n, *c) for f in functions for n in ast.walk(f) for c in changes(n)][k]
        make()
        yield file, line, kind, ast.unparse(ast.fix_missing_locations(tree)), who


def forked(function, *given):
    """What a function gives, in a process of its own; nothing where it does not end well."""
    read, write = os.pipe()
    if not (child := os.fork()):
        status = 1
        try:
            with os.fdopen(write, "w") as pipe:
                json.dump(function(*given), pipe)
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    return json.loads(said) if os.waitpid(child, 0)[1] == 0 else None


def alone(make, *given):
    """What a function gives, or what it fails with: one number's failure is not another's."""

    def late(*_):
        LATE.append(given)
        raise TimeoutError if len(LATE) < 3 else SystemExit

    signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        return make(*given)
    except Exception as error:  # whatever a change leads to
        return type(error).__name__
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def values(package, only):
    """What each number at these places comes to, with the package in a folder."""
    sys.path.insert(0, str(package))
    cells, ledger = (import_module(f"reuseprior.report.{name}") for name in ("cells", "ledger"))
    found, announced = {}, []
    sys.addaudithook(lambda e, given: announced.append(given[0]) if e == CELL else None)
    of_theorem, of_cell = cells._of_derivation, cells.Cells._made

    def made(*given):
        *_, row, column = given
        one = alone(of_cell, *given)
        if isinstance(one, ledger.Cell):  # by itself, not by its column
            one = alone(next, ledger.judged([one]))
        found[ledger.identity(row["id"], column)] = str(one)

    def derived(*given):
        found[announced[-1]] = str(alone(of_theorem, *given))
        return "holds", ""

    cells.Cells._made, cells._of_derivation = made, derived
    for _, make in ledger.chosen(only):
        alone(list, make())
    return found


def trails(numbers):
    """For those of these numbers that are of a kind, file and line of all that makes them."""
    sys.path.insert(0, str(ROOT))
    why, ledger = (import_module(f"reuseprior.report.{name}") for name in ("why", "ledger"))
    trace = why.Trace.load()
    rows = [row["id"] for row in ledger.committed_rows() if row["kind"] in KINDS]
    return {i: {f: [*n] for f, n in trace.lines(i).items()} for i in rows if i in numbers}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="places, as `reuseprior audit` takes them")
    options = parser.parse_args()
    only = options.only or PLACES
    os.environ["REUSEPRIOR_ROOT"] = str(ROOT)
    for name in ("torch", "torchvision", "sympy", "scipy.stats", "pandas", "networkx"):
        import_module(name)  # once, for all forks
    started = time.perf_counter()
    right = forked(values, ROOT, only)
    traced = forked(trails, right)
    held = defaultdict(set)
    for number in traced:
        for file, lines in traced[number].items():
            for line in lines:
                held[file, line].add(number)
    ours = set().union(*held.values())
    print(f"{len(ours)} numbers, {time.perf_counter() - started:.0f} s", flush=True)
    tried, sums = 0, Counter()
    for file, line, kind, source, who in mutants(held, options.seed):
        with tempfile.TemporaryDirectory() as folder:
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / "reuseprior", f"{folder}/reuseprior", ignore=ignored)
            (Path(folder) / file).write_text(source)
            found = forked(values, folder, only)
        if found is None:  # its modules are not imported, or hang: another is drawn
            continue
        changed = {number for number in ours if found.get(number) != right[number]}
        counts = {"both": who & changed, "held": who - changed, "changed": changed - who}
        sums.update({name: len(which) for name, which in counts.items()})
        sums["in vain"] += 0 if changed else len(who)
        told = ", ".join(f"{name} {len(which)}" for name, which in counts.items())
        some = ", ".join(sorted(counts["held"])[:2] + sorted(counts["changed"])[:2])
        print(f"{file}:{line} {kind}: {told}; {some}", flush=True)
        if (tried := tried + 1) == options.count:
            break
    both, held = sums["both"], sums["both"] + sums["held"]
    told = f"recall {both / (both + sums['changed']):.3f}, precision {both / held:.3f}"
    some = f"{both / (held - sums['in vain']):.3f} of those that change any number"
    print(f"{tried} mutants: {told}, {some}")


if __name__ == "__main__":
    main()
