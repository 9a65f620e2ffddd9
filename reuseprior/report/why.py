"""Why a number of the ledger is what it is: from what is printed to the lines that made it.

`trace` computes numbers once more and notes for each which lines ran, which files were read, which
conventions were compared and which models were counted. coverage.py notes the lines, in a context
a number and a context a cached result, which counts for whoever asked for it. `tell` puts that
beside what `data/ledger.csv` and the TOMLs of `data/published` say.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import pkgutil
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import count
from math import isclose
from pathlib import Path
from types import FunctionType, MappingProxyType
from typing import Any

import msgspec
import numpy as np
import pandas as pd

import reuseprior
from reuseprior import files, paths, results
from reuseprior.errors import UserError, did_you_mean
from reuseprior.report import chapters, ledger

TRACE = "trace.json"  # in build/
MOST = 10  # layers, functions and files that are shown
NEAR = 1e-7  # data/ledger.csv has eight digits


class WhyError(UserError):
    """A number that is not in the ledger, or a trace that is missing or of other code."""


# Tracing ------------------------------------------------------------------------------------------


class _Trail:
    """Which contexts of coverage.py a number needs, and what was read and counted in each."""

    def __init__(self, switch: Callable[[str], None]):
        self.switch, self.now, self._numbers = switch, "", count()
        self.needs: dict[str, set[str]] = defaultdict(set)
        self.read: dict[str, set[str]] = defaultdict(set)
        self.quantities: dict[str, list[dict]] = defaultdict(list)
        self.layers: dict[str, list[tuple]] = defaultdict(list)
        self.said: dict[str, dict] = defaultdict(dict)

    def to(self, context: str) -> None:
        self.switch(context)
        self.now = context

    @contextmanager
    def within(self, context: str) -> Iterator[None]:
        before = self.now
        self.to(context)
        try:
            yield
        finally:
            self.to(before)

    def cached(self, function: Callable, known: Callable[..., dict]) -> Callable:
        """A function whose results are kept, each with the context in which it was computed."""

        @functools.wraps(function)
        def call(*args, **options):
            place = known(*args)
            key = (args[1:] if known is _own else args, *sorted(options.items()))
            if key not in place:
                context = f"{getattr(function, '__qualname__', function)} {next(self._numbers)}"
                with self.within(context):
                    place[key] = context, function(*args, **options)
            context, value = place[key]
            self.needs[self.now].add(context)
            return value

        return call

    def hear(self, event: str, args: tuple) -> None:
        """Of Python's audit events, those that tell what a number is made of."""
        if event == "open" and isinstance(args[0], str) and "r" in (args[1] or "r"):
            self.read[self.now].add(args[0])
        elif event == "reuseprior.cell":
            self.to(f"= {args[0]}")
            if len(args) > 1:
                self.said[args[0]] |= {"rule": args[1].removeprefix(f"{paths.ROOT}/")}
        elif event == "reuseprior.interpretations":
            self.said[args[0]] |= {
                "interpretations": [[float(r.value), r.convention, r.contradicted] for r in args[1]]
            }
        elif event == "reuseprior.quantities":
            self.quantities[self.now].append(vars(args[0]))
        elif event == "reuseprior.counts":
            self.layers[self.now].append(_weights(*args))


def _own(one, *_) -> dict:
    return one.__dict__.setdefault(" traced", {})


def _weights(counts) -> tuple[float, list[tuple[str, float]]]:
    """A model's total surprisal, and the tensors with the greatest shares of it."""
    each = counts.parameter_counts
    logs = [np.logaddexp2.reduce(one.finite) + np.log2(one.multiplicity) for one in each]
    total = float(np.logaddexp2.reduce(logs))
    bits = {one.name: float(np.sum(total - one.finite)) * one.multiplicity for one in each}
    every = sum(bits.values())
    most = sorted(bits.items(), key=lambda item: -item[1])[:MOST]
    return every, [(name, of / (every or 1.0)) for name, of in most]


class _Property:
    """A cached property that tells at every use where its value was computed."""

    def __init__(self, trail: _Trail, name: str, function: Callable):
        self._name, self._function = name, function
        self._call = trail.cached(lambda one, _: function(one), _own)

    def __get__(self, one, owner=None):
        if one is None:
            return self
        held = one.__dict__.get(self._name, self)
        return self._call(one, self._name) if held is self else held

    def __set__(self, one, value):
        one.__dict__[self._name] = value


def _replace_caches(trail: _Trail) -> None:
    """Let every cache of the package tell `trail` of its uses."""
    kinds, new = type(functools.cache(len)), {}

    def traced(one):
        if id(one) not in new:  # several modules have the same function
            place: dict = {}
            new[id(one)] = one, trail.cached(one.__wrapped__, lambda *_: place)
        return new[id(one)][1]

    for module in list(sys.modules.values()):
        if module is None or not module.__name__.startswith("reuseprior"):
            continue
        for name, one in list(vars(module).items()):
            if isinstance(one, kinds):
                setattr(module, name, traced(one))
            elif isinstance(one, FunctionType) and one.__defaults__:
                one.__defaults__ = tuple(
                    traced(d) if isinstance(d, kinds) else d for d in one.__defaults__
                )
            elif isinstance(one, type) and one.__module__ == module.__name__:
                for its, value in list(vars(one).items()):
                    if isinstance(value, kinds):
                        setattr(one, its, traced(value))
                    elif isinstance(getattr(value, "__func__", None), kinds):
                        setattr(one, its, type(value)(traced(value.__func__)))
                    elif isinstance(value, functools.cached_property):
                        setattr(one, its, _Property(trail, its, value.func))


def trace(places: Sequence[str] = (), progress: Callable = iter) -> Path:
    """Compute the numbers printed at these places (all by default), and leave `build/trace.json`.

    In a process of its own, as the package's caches are replaced. Raises as `ledger.collect`.
    """
    from coverage import Coverage

    for module in pkgutil.walk_packages(reuseprior.__path__, "reuseprior."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    lines = Coverage(
        data_file=None, config_file=False, source=[str(paths.PACKAGE)], omit=[__file__]
    )
    trail = _Trail(lines.switch_context)
    _replace_caches(trail)
    listening = [trail.hear]
    sys.addaudithook(lambda event, args: [hear(event, args) for hear in listening] and None)
    lines.start()
    try:
        entries = list(progress(_each(trail, places)))
    finally:
        lines.stop()
        listening.clear()  # a hook cannot be taken away, nor can the caches
        trail.switch = lambda context: None
    if not entries:
        raise WhyError(f"no number is printed at {places}: nothing was traced")
    return _write(lines.get_data(), trail, [entry.id for entry in entries])


def _each(trail: _Trail, places: Sequence[str]) -> Iterator[ledger.Entry]:
    """The entries, what ran before each counted for it where no cell was announced."""
    for place, make in ledger.chosen(places):
        entries, number = iter(make()), count()
        while True:
            between = f"{place} {next(number)}"
            trail.to(between)
            entry = next(entries, None)
            if entry is None:
                break
            trail.needs[f"= {entry.id}"].add(between)
            yield entry


def _write(lines, trail: _Trail, ids: Sequence[str]) -> Path:
    """The trace as JSON: contexts are shared, so numbers name them."""
    ran: dict[str, dict[str, list[int]]] = defaultdict(dict)
    for file in lines.measured_files():
        name = Path(file).relative_to(paths.PACKAGE.parent).as_posix()
        for line, contexts in lines.contexts_by_lineno(file).items():
            for context in contexts:
                ran[context].setdefault(name, []).append(line)
    for identity in ids:
        ran.setdefault(f"= {identity}", {})
    rules = {f"= {i}": trail.said[i].get("rule", "") for i in ids if i in trail.said}
    ran = {c: with_named(lines, rules.get(c, "")) for c, lines in ran.items()}
    data = paths.RESULTS.parent
    read = {
        context: sorted(Path(name).relative_to(data.parent).as_posix() for name in names)
        for context, every in trail.read.items()
        if (names := [name for name in every if Path(name).is_relative_to(data)])
    }
    content = {
        "code": _code(),
        "commit": results.commit(),
        "numbers": {i: trail.said.get(i, {}) for i in ids},
        "lines": ran,
        "needs": {context: sorted(needed) for context, needed in trail.needs.items()},
        "read": read,
        "quantities": trail.quantities,
        "layers": trail.layers,
    }
    content["entered"] = [[*one, n] for one, n in Trace(content).drawn().items()]
    path = paths.BUILD / TRACE
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, msgspec.json.encode(content))
    return path


def _code() -> str:
    """A digest of the package, of what is printed, and of the list of recorded runs."""
    digest = hashlib.sha256()
    every = [file for folder in (paths.PACKAGE, paths.PUBLISHED) for file in folder.rglob("*.*")]
    for file in sorted({*every, paths.RESULTS / results.DIGESTS}):
        if file.suffix != ".pyc" and file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()


# A number's trail ---------------------------------------------------------------------------------


class Trace:
    """What `trace` left, each number with the contexts that it needs."""

    def __init__(self, said: Mapping[str, Any]):
        self._said = said

    @classmethod
    def load(cls) -> Trace:
        """Raises WhyError where there is none, or of other code."""
        path, command = paths.BUILD / TRACE, "`reuseprior audit --trace`"
        try:
            said = msgspec.json.decode(path.read_bytes())
        except (OSError, msgspec.DecodeError) as error:
            raise WhyError(f"{path} is missing or damaged: make it with {command}") from error
        if said["code"] != _code():
            raise WhyError(f"{path} is of other code: make it anew with {command}")
        return cls(said)

    @property
    def numbers(self) -> Mapping[str, dict]:
        """What is said of each number that was traced."""
        return self._said["numbers"]

    @property
    def commit(self) -> str | None:
        """The code that was traced, `-dirty` where it was edited; None without git."""
        return self._said["commit"]

    def contexts(self, identity: str) -> set[str]:
        """All that a number needs, what its cached results need included."""
        needed, left = set(), [f"= {identity}"]
        while left:
            if (context := left.pop()) not in needed:
                needed.add(context)
                left += self._said["needs"].get(context, ())
        return needed

    def lines(self, identity: str) -> dict[str, set[int]]:
        """The lines that ran for a number, by file; those that made what they name besides."""
        by_file: dict[str, set[int]] = defaultdict(set)
        for context in self.contexts(identity):
            for file, lines in self._said["lines"].get(context, {}).items():
                by_file[file].update(lines)
        return by_file

    def functions(self, identity: str) -> list[tuple[str, str, int]]:
        """File, name and first line of each function that ran for a number."""
        return [
            (file, name, first)
            for file, lines in sorted(self.lines(identity).items())
            for name, first, last in _functions(file)
            if not lines.isdisjoint(range(first + 1, last + 1))
        ]

    def drawn(self) -> Counter[tuple[str, str, int]]:
        """How many of a drawn hundred of all numbers enter each function."""
        drawn = sorted(self.numbers, key=lambda i: hashlib.sha256(i.encode()).digest())[:100]
        return Counter(one for i in drawn for one in self.functions(i))

    @functools.cached_property
    def entered(self) -> Counter[tuple[str, str, int]]:
        """The same, as it was counted when the trace was left."""
        return Counter({(file, name, line): n for file, name, line, n in self._said["entered"]})

    def read(self, identity: str) -> list[str]:
        """The files in data/ that were read for a number."""
        contexts = self.contexts(identity)
        return sorted({name for c in contexts for name in self._said["read"].get(c, ())})

    def quantities(self, identity: str, value: float) -> tuple[str, dict[str, float]] | None:
        """Which quantity a number is, and all of its model; None for what is no quantity."""
        column = identity.rpartition("/")[2]
        for quantities in self._noted("quantities", identity):
            for name in [column] if column in quantities else FORMULAS:
                if _near(quantities[name], value):
                    return name, quantities
        return None

    def layers(self, identity: str, surprisal: float) -> list[tuple[str, float]]:
        """The tensors that weigh most in the model of this total surprisal, with their shares."""
        every = self._noted("layers", identity)
        return next((layers for total, layers in every if _near(total, surprisal)), [])

    def _noted(self, what: str, identity: str) -> Iterator:
        for context in sorted(self.contexts(identity)):
            yield from self._said[what].get(context, ())


def _near(value: float | None, other: float) -> bool:
    return value is not None and isclose(value, other, rel_tol=NEAR)


@functools.cache
def _functions(file: str) -> Sequence[tuple[str, int, int]]:
    """Name, first and last line of each function of a file, methods by their class."""

    def walk(node: ast.AST, before: str) -> Iterator[tuple[str, int, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{before}{child.name}"
                if not isinstance(child, ast.ClassDef):
                    yield name, child.lineno, child.end_lineno
                yield from walk(child, f"{name}.")

    return list(walk(_tree(file), ""))


Lines = tuple[str, frozenset[int]]  # a file and some of its lines


def with_named(ran: Mapping[str, Iterable[int]], derivation: str = "") -> dict[str, list[int]]:
    """Lines by file, and those that made what they name, or a derivation, as it was imported."""
    by_file: dict[str, set[int]] = defaultdict(set)
    left = [(file, frozenset(lines)) for file, lines in ran.items()]
    left += _derivations().get(derivation, [])
    while left:
        file, lines = left.pop()
        by_file[file].update(lines)
        names = {one for line in lines for one in _named(file).get(line, ())}
        left += [one for one in names if not one[1] <= by_file[one[0]]]
    return {file: sorted(lines) for file, lines in by_file.items()}


@functools.cache
def _tree(file: str) -> ast.Module:
    return ast.parse((paths.PACKAGE.parent / file).read_bytes())


def _lines(file: str, node: ast.AST) -> Lines:
    first = min((one.lineno for one in getattr(node, "decorator_list", ())), default=node.lineno)
    return file, frozenset(range(first, node.end_lineno + 1))


def _by_derived(node: ast.AST) -> str:
    """The name of the derivation that a function is made into, as it is imported."""
    for call in getattr(node, "decorator_list", ()):
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "derived":
            return call.args[0].value
    return ""


@functools.cache
def _derivations() -> Mapping[str, list[Lines]]:
    """The lines of the chains of each derivation."""
    files = sorted((paths.PACKAGE / "chapters").glob("*.py"))
    names = [file.relative_to(paths.PACKAGE.parent).as_posix() for file in files]
    every = ((name, node) for name in names for node in _tree(name).body)
    return {of: [_lines(name, node)] for name, node in every if (of := _by_derived(node))}


@functools.cache
def _made(file: str) -> Mapping[str, Lines | str]:
    """By name, the lines of what a file makes as it is imported; of a module, its file."""
    by_name: dict[str, Lines | str] = {}
    tree = _tree(file)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    for node in (node for body in (tree.body, *(c.body for c in classes)) for node in body):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
            by_name |= dict.fromkeys(names, _lines(file, node))
        elif _by_derived(node):
            by_name[node.name] = _lines(file, node)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("reuseprior"):
            for one in node.names:
                module = _file(f"{node.module}.{one.name}")
                source = module or _made(_file(node.module)).get(one.name)
                if source:
                    by_name[one.asname or one.name] = source
    return by_name


def _file(module: str) -> str:
    """Of a module, from the folder of the package; nothing where there is none."""
    path = module.replace(".", "/")
    every = (f"{path}.py", f"{path}/__init__.py")
    return next((one for one in every if (paths.PACKAGE.parent / one).is_file()), "")


@functools.cache
def _named(file: str) -> Mapping[int, set[Lines]]:
    """By line, the lines that made what it names: constants, and derivations."""
    by_line, by_name = defaultdict(set), _made(file)
    for node in ast.walk(_tree(file)):
        name, of = getattr(node, "id", getattr(node, "attr", "")), by_name
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = by_name.get(node.value.id)
            of = _made(module) if isinstance(module, str) else by_name  # else it may be of a class
        if isinstance(one := of.get(name), tuple):
            by_line[node.lineno].add(one)
    return by_line


# Where values come from ---------------------------------------------------------------------------

ORIGINS = ("recomputed", "read back", "typed")
"""By `make reproduce` itself, from recorded runs, from a source."""


def origin(row: Mapping[str, str], trace: Trace) -> str:
    """Which of `ORIGINS` the value is that is shown beside a printed number, or for want of one."""
    undecided = row["kind"] == "measured" and row["verdict"] in ("open", "erratum")
    if undecided or row["kind"] in ("quoted", "setting"):
        return "typed"
    runs = any(name.startswith("data/results/") for name in trace.read(row["id"]))
    return "read back" if runs else "recomputed"


def manifest(trace: Trace) -> pd.DataFrame:
    """How many numbers of each chapter have which of `ORIGINS`; the last chapter's are all.

    The share is that of the recomputed in what is not typed, in per cent.
    """
    rows = [row for row in ledger.committed_rows() if row["id"] in trace.numbers]
    of = [(row["where"], origin(row, trace)) for row in rows]
    counts = {
        chapter.name: Counter(o for where, o in of if chapter.is_about(where))
        for chapter in chapters.found()
    }
    table = pd.DataFrame.from_dict(counts, "index", columns=list(ORIGINS)).fillna(0).astype(int)
    shown = table["recomputed"] + table["read back"]
    return table.assign(share=(100 * table["recomputed"] / shown).round(1))


# Telling ------------------------------------------------------------------------------------------


def find(words: Sequence[str]) -> list[dict[str, str]]:
    """The rows of the ledger that an id, or words of place and id, say.

    Raises WhyError where there is none.
    """
    rows = ledger.committed_rows()
    said = " ".join(words)
    if exact := [row for row in rows if row["id"] == said]:
        return exact
    words = [re.compile(rf"(?<!\w){re.escape(word)}(?!\w)") for word in said.casefold().split()]
    texts = [" ".join(row[c] for c in ("id", "where")).casefold() for row in rows]
    matching = [r for r, t in zip(rows, texts, strict=True) if all(w.search(t) for w in words)]
    if not matching:
        mend = did_you_mean(said, [row["id"] for row in rows])
        raise WhyError(
            f"no number of the ledger is {said!r}{mend or ''}: give an id of data/ledger.csv, or "
            "words of its place and id such as 'table 4.3 P_G'"
        )
    return matching


FORMULAS = MappingProxyType({
    "P_G": "log2(total_surprisal · input_nodes / (input_nodes + output_nodes + weight_nodes))",
    "P_G_spread": "log2(parameters · (expected_spread + 1) · input_nodes / (input_nodes + "
    "output_nodes + weight_nodes))",
})  # fmt: skip


def tell(row: Mapping[str, str], trace: Trace | None) -> Iterator[str]:
    """Why a number is what it is, line by line; without a trace, what is committed says."""
    mark = ledger.MARKS[row["verdict"]]
    yield f"{row['id']}: {row['where']}"
    table = row["typed"].split(";")[0]  # theorems are typed in none
    yield f"  printed   {row['printed']}" + f"   ({table} in data/published)" * bool(table)
    computed = row["computed"] or "–"
    interval = f", interval {row['interval']}" if row["interval"] else ""
    yield f"  computed  {computed}   {mark} {row['kind']}, {row['verdict']}{interval}"
    if row["note"]:
        yield f"  note      {row['note']}"
    identity = row["id"]
    if trace is None or identity not in trace.numbers:
        yield "  `reuseprior audit --trace` records which lines and files it is made of"
        return
    said = trace.numbers[identity]
    if "rule" in said:
        yield f"  said by   {said['rule']}"
    for value, convention, contradicted in said.get("interpretations", ()):
        ruled_out = f"; the text rules it out: {contradicted}" if contradicted else ""
        yield f"  gives     {value:.8g}   {convention or 'as the text says'}{ruled_out}"
    if computed != "–" and (named := trace.quantities(identity, float(computed))):
        name, quantities = named
        yield from _of_model(name, quantities)
        yield "  layers    share of the total surprisal, the greatest"
        for layer, share in trace.layers(identity, quantities["total_surprisal"]):
            yield f"    {share:6.1%}  {layer}"
    yield from _of_files(trace.read(identity))
    rare = sorted(trace.functions(identity), key=lambda one: trace.entered[one])
    at = f" at {trace.commit}" if trace.commit else ""
    yield f"  made by   {len(rare)} functions{at}, those first that few other numbers enter"
    for file, name, line in rare[: 2 * MOST]:
        yield f"    {file}:{line} {name}"


def _of_model(name: str, quantities: Mapping[str, float]) -> Iterator[str]:
    """The formula of a number, in words and with its numbers."""
    if formula := FORMULAS.get(name):
        yield f"  formula   {name} = {formula}"
        for each in sorted(quantities, key=len, reverse=True):
            formula = formula.replace(each, f"{quantities[each]:,.8g}")
        yield f"            = {formula}"


def _of_files(names: Sequence[str]) -> Iterator[str]:
    """Recorded runs by folder, and the tables that were read."""
    runs = Counter(str(Path(n).parent) for n in names if n.startswith("data/results/"))
    tables = [n for n in names if not n.startswith("data/results/")]
    for kind, every in {"runs": [*runs], "tables": tables}.items():
        for i, name in enumerate(every[:MOST]):
            yield f"  {kind if not i else '':8}  {name}"
        if len(every) > MOST:
            yield f"            … and {len(every) - MOST} more"
