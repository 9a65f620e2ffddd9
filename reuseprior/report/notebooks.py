"""Notebooks as files: their parameters, what they draw, what they depend on, how they are saved.

Everything here is read from the file; nothing is run.
"""

from __future__ import annotations

import ast
import json
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import metadata
from itertools import accumulate
from pathlib import Path
from typing import Any

from reuseprior import files, paths, schemas
from reuseprior.errors import UserError
from reuseprior.report import chapters

METADATA = {
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    "language_info": {"name": "python"},
}
"""What a saved notebook says of itself: nothing that differs between machines."""

CELL_METADATA = {"tags", "jupyter", "scrolled"}
"""What a saved cell may say of itself: its tags, and how JupyterLab folds it."""

LIVE = "live"
"""The tag of a cell that shows what was trained while the notebook ran: no two processors agree."""

LONGEST_CELL = 30  # lines; longer work belongs in the package, where it gets a test

LONGEST_OUTPUT = 35  # rows or lines, about a screen; longer ones are to scroll by themselves

_DATA_KINDS = {".csv", ".json", ".toml"}


class NotebookError(UserError):
    """A notebook that cannot be used as it is."""


@dataclass(frozen=True)
class Parameter:
    """A line of the cell tagged `parameters`; without a plain value, `default` is `...`."""

    type: str
    default: Any = ...


def read(path: Path) -> dict:
    """A notebook's JSON; raises NotebookError where it is none."""
    try:
        return schemas.read(path.read_bytes(), schemas.Notebook)
    except (OSError, schemas.SchemaError) as error:
        raise NotebookError(f"{path} is not a notebook that can be read: {error}") from error


def source(cell: Mapping) -> str:
    """A cell's text, which notebooks keep as a list of lines or as one string."""
    return "".join(cell["source"])


def text(said: str, identity: str) -> dict:
    """A cell of text."""
    return {"cell_type": "markdown", "id": identity, "metadata": {}, "source": said}


def first_line(code: str) -> str:
    """The first line that is not a comment, by which an error names a cell."""
    lines = [line.strip() for line in code.splitlines()]
    return next((line for line in lines if line and not line.startswith("#")), "")


def tags(cell: Mapping) -> list[str]:
    """A cell's tags."""
    return cell["metadata"].get("tags", [])


# Parameters --------------------------------------------------------------------------------------


def parameters(path: Path) -> dict[str, Parameter]:
    """Type and default by name, from the annotations and values of the parameters cell.

    Python's parser instead of papermill's `inspect_notebook`, which misses any parameter whose
    comment holds an equals sign. Raises NotebookError unless exactly one cell is tagged.
    """
    tagged = [c for c in read(path)["cells"] if "parameters" in tags(c)]
    if len(tagged) != 1:
        raise NotebookError(
            f"{path.stem} has {len(tagged)} cells tagged `parameters`: tag exactly one"
        )
    by_name = {}
    for statement in _parsed(path.stem, "the cell tagged `parameters`", source(tagged[0])).body:
        match statement:
            case ast.AnnAssign(ast.Name(name), ast.Name(type_name), ast.expr() as value):
                by_name[name] = Parameter(type_name, _literal(value))
            case ast.Assign([ast.Name(name)], value):
                default = _literal(value)
                kind = ast.unparse(value) if default is ... else type(default).__name__
                by_name[name] = Parameter(kind, default)
    return by_name


def _literal(value: ast.expr) -> Any:
    try:
        return ast.literal_eval(value)
    except ValueError:  # a call, a name
        return ...


def _parsed(chapter: str, place: str, text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError) as error:  # a null byte is no SyntaxError in older Pythons
        raise NotebookError(f"{place} of {chapter} is not plain Python: {error}") from error
    except RecursionError as error:
        raise NotebookError(f"{place} of {chapter} is nested too deep to be read") from error


# What a notebook depends on ----------------------------------------------------------------------


def digest(path: Path) -> str:
    """A hash of what is written in a notebook; its outputs do not count."""
    written = [(c["cell_type"], source(c), tags(c)) for c in read(path)["cells"]]
    return sha256(json.dumps(written).encode()).hexdigest()


def inputs(path: Path, patterns: Iterable[str]) -> list[Path]:
    """Files that a notebook depends on besides itself, sorted.

    These are the modules of this package that it imports, directly or through others, the other
    files beside them (a style, protocols), and those that the patterns find from the repository's
    root. A pattern that finds modules stands for their imports as well.
    """
    named = [p for pattern in patterns for p in _root(pattern).glob(pattern) if p.is_file()]
    code = [p for p in named if p.suffix == ".py"]
    data = [p for p in named if p.suffix in _DATA_KINDS and not p.name.startswith(".")]
    for cell in read(path)["cells"]:
        if cell["cell_type"] == "code":
            code.extend(_imported(_python(path, cell)))
    modules = _closure(code)
    beside = [p for folder in {m.parent for m in modules} for p in _beside(folder)]
    return sorted({*modules, *beside, *data})


def _root(pattern: str) -> Path:
    # the package that runs, which need not lie beside the notebooks
    return paths.PACKAGE.parent if pattern.startswith(f"{paths.PACKAGE.name}/") else paths.ROOT


def _python(path: Path, cell: Mapping) -> str:
    # what a kernel reads as commands is left out: it runs them, or says that it cannot
    text = re.sub(r"^\s*[%!].*$", "", source(cell), flags=re.MULTILINE)
    _parsed(path.stem, f"the cell {text.strip().partition(chr(10))[0]!r}", text)
    return text


def _closure(waiting: Iterable[Path]) -> set[Path]:
    waiting, reached = list(waiting), set()
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting.extend(_imported(module.read_text(encoding="utf-8")))
    return reached


def _imported(text: str) -> Iterator[Path]:
    """Modules of this package that a text of Python imports, at its top or inside a function."""
    return (path for name in imported_names(text) for path in _module(name))


@cache
def imported_names(text: str) -> tuple[str, ...]:
    """All dotted names that a text of Python imports, of modules and of what is in them."""
    names = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(aliases):
                names += [alias.name for alias in aliases]
            case ast.ImportFrom(str() as module, aliases, 0):
                names += [f"{module}.{alias.name}" for alias in aliases]
    return tuple(names)


def _module(name: str) -> Iterator[Path]:
    """The file of a dotted name and those of the packages above it, which an import runs too."""
    first, *rest = name.split(".")
    places = accumulate(rest, Path.joinpath, initial=paths.PACKAGE)
    files = (file for place in places for file in (place / "__init__.py", place.with_suffix(".py")))
    if first == paths.PACKAGE.name:
        yield from filter(Path.is_file, files)  # of a function or a class there is none


def _beside(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        # what a chapter's file says of parameters and inputs is told by itself
        is_chapter = path.suffix == ".toml" and folder == paths.PACKAGE / "chapters"
        if path.name.startswith((".", "__")) or path.suffix == ".py" or is_chapter:
            continue
        if path.is_file():
            yield path
        elif not (path / "__init__.py").exists():
            yield from _beside(path)


# Figures -----------------------------------------------------------------------------------------


def figures(path: Path) -> dict[str, str]:
    """Caption by name of the figures that a notebook saves.

    The name is read from `plotting.save(fig, "fig-4-1-contexts")`, the caption is the paragraph in
    italics that opens the next cell of text, or nothing. Raises NotebookError where a name is not
    written out.
    """
    drawn, uncaptioned = {}, []
    for cell in read(path)["cells"]:
        if cell["cell_type"] == "code":
            uncaptioned += saved_figures(path, cell)
        elif cell["cell_type"] == "markdown" and uncaptioned:
            caption = re.match(r"\*(?!\*)(.+?)\*(?:\n\n|\Z)", source(cell).strip(), re.DOTALL)
            drawn |= dict.fromkeys(uncaptioned, caption[1] if caption else "")
            uncaptioned = []
    return drawn | dict.fromkeys(uncaptioned, "")


def saved_figures(path: Path, cell: Mapping) -> Iterator[str]:
    for node in ast.walk(ast.parse(_python(path, cell))):
        match node:
            case ast.Call(ast.Attribute(ast.Name("plotting"), "save"), arguments):
                match arguments:
                    case [_, ast.Constant(str() as name)]:
                        yield name
                    case _:
                        raise NotebookError(
                            f"{path.stem} saves a figure whose name is computed: write it out, as "
                            'in plotting.save(fig, "fig-4-1-contexts")'
                        )


def drawn_with() -> str:
    """The libraries, of those here, that the looks of a figure depend on."""
    return " and ".join(f"{name} {metadata.version(name)}" for name in ("matplotlib", "torch"))


def gallery(drawn_with: str) -> str:
    """The page `figures/README.md`: every figure with its caption and its notebook.

    It says what the figures were drawn with, as `drawn_with` has it. Raises NotebookError where
    two notebooks save a figure under one name, or one has no caption.
    """
    owners: dict[str, tuple[Path, str]] = {}
    for path in (chapter.notebook for chapter in chapters.found()):
        for name, caption in figures(path).items():
            if not caption:
                raise NotebookError(
                    f"figure {name} of {path.stem} has no caption: open the text below it with "
                    "a paragraph in italics"
                )
            if name in owners:
                other = owners[name][0].stem
                raise NotebookError(f"{other} and {path.stem} both save figure {name}")
            owners[name] = path, caption
    places = paths.NOTEBOOKS.relative_to(paths.ROOT)
    parts = [_GALLERY.format(drawn_with=drawn_with)]
    for name, (path, caption) in sorted(owners.items(), key=lambda item: _numbered(item[0])):
        link = f"[{path.stem}](../{places}/{path.name})"
        parts.append(
            f"## {name}\n\n![{name}]({name}.svg)\n\n{caption} {link}, [PNG]({name}.png).\n"
        )
    return "\n".join(parts)


_GALLERY = """\
# Figures

Made by `make notebooks`, and this page with them: change the notebooks, not this page. Each figure
is here as SVG and PNG, drawn for one column (3.4 in) or a page (7 in), readable in grey and by the
colour-blind. Drawn with {drawn_with}. A figure is drawn anew only where
that can be seen, as other processors round otherwise.
"""


def _numbered(name: str) -> tuple:
    """Figures of the thesis first, then tables, theorems and what has no number; 4-10 after 4-2."""
    kinds = ("fig", "table", "theorem", "theorems")
    parts = name.split("-")
    kind = kinds.index(parts[0]) if parts[0] in kinds else len(kinds)
    return kind, [(int(p), "") if p.isdigit() else (0, p) for p in parts]


# Saving ------------------------------------------------------------------------------------------


def save(path: Path, executed: Path) -> bool:
    """Put the outputs of an executed copy into a notebook; True if that changed it.

    Only outputs and execution counts come from the copy, so that two runs give the same bytes, on
    any processor: a picture that looks as before stays, and so do the outputs of a cell tagged
    `live`, which shows what was trained while the notebook ran. To renew these, clear them.
    Raises NotebookError if the copy was made of other cells.
    """
    notebook, copy = read(path), read(executed)
    if [source(c) for c in notebook["cells"]] != [source(c) for c in copy["cells"]]:
        raise NotebookError(
            f"{executed} was not made from {path} as it is with its own parameters: reproduce it"
        )
    for cell, ran in zip(notebook["cells"], copy["cells"], strict=True):
        if cell["cell_type"] == "code":
            if not {"execution_count", "outputs"} <= ran.keys():
                raise NotebookError(f"{executed} has a code cell without outputs: reproduce it")
            cell["execution_count"] = ran["execution_count"]
            if not (LIVE in tags(cell) and cell["outputs"]):
                cell["outputs"] = _unchanged_pictures(cell["outputs"], ran["outputs"])
        cell["source"] = source(cell).splitlines(keepends=True)
    tidy(notebook)
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    before = path.read_bytes()
    if before == text.encode():
        return False
    files.write(path, text.encode())
    return True


def _unchanged_pictures(before: list[dict], now: list[dict]) -> list[dict]:
    """The new outputs, with the old pictures where the new ones look alike."""
    from reuseprior import plotting

    for old, new in zip(before, now, strict=False):
        pictures = ["".join(one.get("data", {}).get("image/png", "")) for one in (old, new)]
        if all(pictures) and plotting.looks_alike(*map(b64decode, pictures)):
            new["data"]["image/png"] = old["data"]["image/png"]
    return now


def tidy(notebook: dict) -> None:
    """Leave out of a notebook's metadata what differs between machines and runs, or tools.

    `jupyter_server_config.py` has JupyterLab do so before it saves: opening a chapter then changes
    nothing in git, whatever the Python is called there.
    """
    for cell in notebook["cells"]:
        cell["metadata"] = {k: v for k, v in cell["metadata"].items() if k in CELL_METADATA and v}
        for output in cell.get("outputs", ()):
            for kind, size in output.get("metadata", {}).items():
                if kind.startswith("image/"):  # JupyterLab writes 672 where Python does 672.0
                    whole = {k: int(v) for k, v in size.items() if float(v).is_integer()}
                    output["metadata"][kind] = size | whole
    notebook["metadata"] = METADATA


def slips(path: Path) -> list[str]:
    """What a committed notebook must not have, a sentence each; an empty list where all is well."""
    notebook = read(path)
    sentences = (
        [] if notebook["metadata"] == METADATA else ["its metadata is not that of all notebooks"]
    )
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    if [cell["execution_count"] for cell in code] != list(range(1, len(code) + 1)):
        sentences.append("it was not saved from one run of all cells in order")
    for cell in notebook["cells"]:
        if strange := sorted(cell["metadata"].keys() - CELL_METADATA):
            sentences.append(f"{_told(cell)} has the metadata {', '.join(strange)}")
        if cell["cell_type"] == "code":
            sentences += [f"{_told(cell)} {slip}" for slip in _slips(cell)]
    return sentences


# on one machine only; base64 and links hold slashes too, but not after such a character
_ABSOLUTE = re.compile(r"(?<![\w.:/-])(/(home|Users|root|tmp|var|mnt)/\w|[A-Z]:\\\\)")

# how pandas ends a series, which it does not show as a table
_SERIES = re.compile(r"^(\w.*, )?dtype: \w+$", re.MULTILINE)

# what a figure is where nothing draws it
_FIGURE = re.compile(r"<\w+ size [\d.]+x[\d.]+ with \d+ Axes>")


def _slips(cell: Mapping) -> Iterator[str]:
    text, outputs = source(cell), cell["outputs"]
    if text.count("\n") >= LONGEST_CELL:
        yield f"has more than {LONGEST_CELL} lines"
    if re.search(r"^\s*[%!]", text, re.MULTILINE):
        yield "has a magic, at which a kernel may leave the rest of the cell out"
    if text.rstrip().endswith(";"):
        yield "ends in a semicolon, which silences a value in one tool and not in another"
    if re.search(r"""["']\.{1,2}/""", text):
        yield "has a relative path, which depends on who runs it: take it from reuseprior.paths"
    if LIVE in tags(cell) and "plotting.save(" in text:
        yield "is live, and saves a figure, which would change with the processor: only show it"
    shown = [text]
    for output in outputs:
        if output["output_type"] == "error" or output.get("name") == "stderr":
            yield "was saved with an error or a warning"
        data = output.get("data", {"text/plain": output.get("text", "")})
        if "image/svg+xml" in data:
            yield "shows an SVG, which differs each run: show PNG"
        if "image/png" not in data and _FIGURE.match("".join(data.get("text/plain", ""))):
            yield "shows a figure as text: draw it as plotting.Picture"
        if {*data} == {"text/plain"} and _SERIES.search("".join(data["text/plain"])):
            yield "prints a series with its dtype: show a table, by to_frame()"
        longest = max(_length(data), default=0)
        if longest > LONGEST_OUTPUT and not cell["metadata"].get("scrolled"):
            yield f"shows {longest} rows or lines and does not fold them: save it as `scrolled`"
        shown += ["".join(value) for kind, value in data.items() if kind.startswith("text/")]
    shown = "\n".join(shown)
    if str(paths.ROOT) in shown or _ABSOLUTE.search(shown):
        yield "shows a path of one machine"


def _length(data: Mapping) -> Iterator[int]:
    """Rows of a table, or lines of a text, as they are shown."""
    table = "".join(data.get("text/html", ""))
    if "<table" in table:
        yield table.count("<tr")
    elif {*data} == {"text/plain"}:
        yield "".join(data.get("text/plain", "")).count("\n")


def _told(cell: Mapping) -> str:
    text = source(cell)
    line = first_line(text) if cell["cell_type"] == "code" else text.strip().partition("\n")[0]
    return f"cell ({line})"
