"""Whether trails lead to the lines that make a number: `python benchmarks/trails.py --count 40`.

Lines of the package are drawn that the trail in `build/trace.json` of some number holds. Each of
`mutants.py`'s changes to a line, by itself and at most four, is tried on the numbers that are
computed, derived or proved at one place that holds it and at three others, one number by itself.
The line makes the numbers that then come out otherwise, or not at all, in any of its changes; these
ought to be those whose trail holds it. Recall is the share of the changed that are held, precision
that of the held that are changed. A process is forked for each, and nothing is changed in place.

A line is asked, not a single change, as some changes are none: a `<` that becomes a `<=` where no
two are equal. What is left of precision is bounded by what a trail is. It says which lines ran, and
what ran for all quantities of a model need not reach each of them; and a line may run that finds
all in order, as what refuses bad input does, or whose result is one of two that give the same.
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

# Places with numbers of every kind
PLACES = (
    "thesis, table 4.3", "thesis, table 4.4", "thesis, table 5.1", "thesis, table 5.2",
    "thesis, table 5.3", "thesis, table 5.4", "thesis, theorems", "thesis, appendix A",
    "thesis, caption of figure 4", "nnmass, table 2", "nnmass, theorems", "npas, table 4",
    "bidart, table 5.1",
)  # fmt: skip
TRIED = 4  # places, and changes to a line, at most
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


def changed_sources(file, line):
    """(kind, source) of each change that can be made at a line of a function."""
    every = list(places(ast.parse((ROOT / file).read_text())))
    for k in (k for k, (at, *_) in enumerate(every) if at == line):
        tree = ast.parse((ROOT / file).read_text())
        _, kind, make = list(places(tree))[k]
        make()
        yield kind, ast.unparse(ast.fix_missing_locations(tree))


def places(tree):
    """(line, kind, a function that makes the change), each once."""
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    nodes = {id(n): n for f in functions for n in ast.walk(f)}.values()
    return ((n.lineno, *change) for n in nodes for change in changes(n))


def drawn(held, chance):
    """(file, line, who holds it) by chance, of lines at which a change can be made."""
    found = []
    for file in sorted({file for file, _ in held}):
        tree = ast.parse((ROOT / file).read_text())
        for line in sorted({line for line, *_ in places(tree)}):
            who = set().union(*(held.get((file, n), ()) for n in statement(tree, line)))
            found += [(file, line, who)] if who else []
    chance.shuffle(found)
    return found


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
    """For those of these numbers that are of a kind: their place, and all lines that make them."""
    sys.path.insert(0, str(ROOT))
    why, ledger = (import_module(f"reuseprior.report.{name}") for name in ("why", "ledger"))
    trace = why.Trace.load()
    of = {row["id"]: row["where"] for row in ledger.committed_rows() if row["kind"] in KINDS}
    every = {i: {f: [*n] for f, n in trace.lines(i).items()} for i in of if i in numbers}
    return {i: (of[i], lines) for i, lines in every.items()}


def tried(file, source, only):
    """What the numbers at these places come to with a file changed."""
    with tempfile.TemporaryDirectory() as folder:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "reuseprior", f"{folder}/reuseprior", ignore=ignored)
        (Path(folder) / file).write_text(source)
        return forked(values, folder, only)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40, help="lines")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="places, as `reuseprior audit` takes them")
    options = parser.parse_args()
    only, chance = options.only or PLACES, random.Random(options.seed)
    os.environ["REUSEPRIOR_ROOT"] = str(ROOT)
    for name in ("torch", "torchvision", "sympy", "scipy.stats", "pandas", "networkx"):
        import_module(name)  # once, for all forks
    started = time.perf_counter()
    right = forked(values, ROOT, only)
    traced = forked(trails, right)
    held, at = defaultdict(set), defaultdict(set)
    for number, (where, its) in traced.items():
        for place in filter(where.startswith, only):
            at[place].add(number)
        for file, lines in its.items():
            for line in lines:
                held[file, line].add(number)
    print(f"{len(traced)} numbers, {time.perf_counter() - started:.0f} s", flush=True)
    sums, lines, mutants = Counter(), 0, 0
    for file, line, holders in drawn(held, chance):
        of = sorted(at, key=lambda place: chance.random())
        of.sort(key=lambda place: not at[place] & holders)
        of = [of[0], *chance.sample(of[1:], min(TRIED, len(of)) - 1)]
        ours = set().union(*(at[place] for place in of))
        who, changed, kinds = holders & ours, set(), []
        sources = list(changed_sources(file, line))
        for kind, source in chance.sample(sources, min(TRIED, len(sources))):
            found = tried(file, source, of)
            if found is None:  # its modules are not imported, or hang: it is no test
                continue
            kinds.append(kind)
            changed |= {number for number in ours if found.get(number) != right[number]}
            if who <= changed:
                break
        if not kinds:
            continue
        counts = {"both": who & changed, "held": who - changed, "changed": changed - who}
        sums.update({name: len(which) for name, which in counts.items()})
        sums["in vain"] += 0 if changed else len(who)
        lines, mutants = lines + 1, mutants + len(kinds)
        told = ", ".join(f"{name} {len(which)}" for name, which in counts.items())
        some = ", ".join(sorted(counts["held"])[:2] + sorted(counts["changed"])[:2])
        print(f"{file}:{line} {', '.join(kinds)}: {told}; {some}", flush=True)
        both, all_held = sums["both"], sums["both"] + sums["held"]
        told = f"recall {both / (both + sums['changed'] or 1):.3f}, precision {both / all_held:.3f}"
        some = f"{both / (all_held - sums['in vain'] or 1):.3f} of lines that change any number"
        print(f"{lines} lines, {mutants} changes: {told}, {some}", flush=True)
        if lines == options.count:
            break


if __name__ == "__main__":
    main()
