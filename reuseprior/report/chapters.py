"""The chapters: `reuseprior/chapters/NAME.toml` says all that is not in the notebook itself.

```toml
notebook = "04-counting-contexts"         # in notebooks/
entries = "counting"                      # the module beside this file whose PARTS are judged
inputs = ["data/published/thesis/*.csv"]  # what it reads besides the modules that it imports

[numbers]                                 # what it is about: patterns of `where` in the ledger,
"thesis, table 4.3*" = "04-27"            # with the id of the notebook's cell that shows them
"thesis, section 4.7*" = ""               # no cell does

[quick]                                   # a profile: minutes on two cores, and the parameters
minutes = 0.5
parameters = {seed = 0}
```

Only the notebook and the profiles must be there. `last = true` lets a chapter run after all others
and with any of them; `products` names files that it leaves besides its copy and its figures, and
`records` those of runs that it makes, where they may be inputs as well. All files are patterns from
the repository's root. A chapter without `inputs` may read any data. A profile may say which `data`
sets it needs and on which `device` it takes its minutes: `data = ["mnist"]`, `device = "a GPU"`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from reuseprior import paths
from reuseprior.errors import UserError, did_you_mean, shown
from reuseprior.presets import Presets

PROFILES = ("quick", "full")


class ChapterError(UserError):
    """A chapter's file that cannot be used as it is, or a chapter that has none."""


@dataclass(frozen=True)
class Preset:
    """What a profile gives a notebook, and what it then takes."""

    minutes: float  # about; on two cores, or on the device
    parameters: Mapping[str, Any]
    data: tuple[str, ...] = ()  # sets that must be prepared, as `reuseprior data` calls them
    device: str = ""  # in words, where two cores will not do


@dataclass(frozen=True)
class Chapter:
    """A notebook and what its chapter says of it."""

    file: Path  # in reuseprior/chapters
    notebook: Path
    presets: Mapping[str, Preset]  # by profile
    entries: str = ""
    numbers: Mapping[str, str] = field(default_factory=dict)  # pattern of `where`: a cell's id
    inputs: tuple[str, ...] = ("data/**/*",)
    products: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    last: bool = False

    @property
    def name(self) -> str:
        """The chapter's name, as one types it."""
        return self.notebook.stem

    @property
    def module(self) -> str:
        """The dotted name of the module with its `entries`, or nothing where it has none."""
        folder = self.file.parent.relative_to(paths.PACKAGE.parent)
        return ".".join((*folder.parts, self.entries)) if self.entries else ""

    def is_about(self, where: str) -> bool:
        """Whether a number that is printed there belongs to the chapter."""
        return any(fnmatchcase(where, pattern) for pattern in self.numbers)

    def cell_of(self, where: str) -> str:
        """The id of the cell that shows the numbers printed there; empty if there is none."""
        cells = (cell for pattern, cell in self.numbers.items() if fnmatchcase(where, pattern))
        return next(cells, "")


def found() -> list[Chapter]:
    """All chapters in the order in which they run: by the notebook's name, then the last ones.

    Raises ChapterError for a file that says something wrong, for a notebook that two files name,
    and for one in `notebooks/` whose name begins with two digits and that no file names.
    """
    paths.checkout()
    folder = paths.PACKAGE / "chapters"
    owners: dict[str, Chapter] = {}
    for chapter in map(read, sorted(folder.glob("*.toml"))):
        other = owners.setdefault(chapter.name, chapter)
        if other is not chapter:
            raise ChapterError(
                f"{chapter.file} and {other.file} both name the notebook {chapter.name!r}: give "
                "one of them another"
            )
    for notebook in sorted(paths.NOTEBOOKS.glob("[0-9][0-9]-*.ipynb")):
        if notebook.stem not in owners:
            raise ChapterError(f"{notebook} belongs to no chapter: name it in a .toml in {folder}")
    if not owners:
        raise ChapterError(f"there are no notebooks in {paths.NOTEBOOKS}")
    return sorted(owners.values(), key=lambda chapter: (chapter.last, chapter.name))


def read(file: Path) -> Chapter:
    """The chapter that a file describes; ChapterError says what is wrong with it."""
    content, where = _TOML.read(file)
    _TOML.check_keys(content, (*_KINDS, *PROFILES), where)
    for key in ("notebook", *PROFILES):
        if key not in content:
            raise ChapterError(f"{where} has no {key!r}: {_MENDS.get(key, _MEND)}")
    fields = {key: _checked(f"{where}: {key}", kind, content[key]) for key, kind in _KINDS.items()
           if key in content}  # fmt: skip
    fields["notebook"] = _notebook(where, fields["notebook"])
    fields["presets"] = {name: _preset(f"{where}: {name}", content[name]) for name in PROFILES}
    module = file.parent / f"{fields.get('entries') or file.stem}.py"
    if "entries" in fields and (not fields["entries"] or not module.is_file()):
        raise ChapterError(
            f"{where}: entries is {fields['entries']!r}: name a module beside it, such as {module}"
        )
    return Chapter(file, **fields)


_TOML = Presets("chapter", "reuseprior.chapters", "", ChapterError)

# `list` stands for texts, `dict` for texts by name
_KINDS = {
    "notebook": str, "entries": str, "numbers": dict, "inputs": list, "products": list,
    "records": list, "last": bool,
}  # fmt: skip
_MEND = "add it with minutes = 1.0 and parameters = {}"
_MENDS = {"notebook": "add the name of a file in notebooks/, without .ipynb"} | {
    profile: f"add a table [{profile}] with minutes = 1.0 and parameters = {{}}"
    for profile in PROFILES
}


def _checked(key: str, kind: type, value):
    if kind is dict:
        _TOML.checked(key, kind, value)
        for pattern, cell in value.items():
            _TOML.checked(f"{key}: {pattern!r}", str, cell)
        return value
    if kind is not list:
        return _TOML.checked(key, kind, value)
    if type(value) is not list or not all(type(text) is str for text in value):
        raise ChapterError(f'{key} is {shown(value)}: it must be a list of texts, as ["data/*"]')
    for text in value:
        parts = PurePosixPath(text).parts
        if not parts or parts[0] == "/" or ".." in parts:
            raise ChapterError(f"{key} has {text!r}: begin it at the repository's root")
        if any("**" in part and part != "**" for part in parts):
            raise ChapterError(f"{key} has {text!r}: ** stands for folders and so by itself")
    return tuple(value)


def _notebook(where: str, name: str) -> Path:
    path = paths.NOTEBOOKS / f"{name}.ipynb"
    if not path.is_file():
        mend = did_you_mean(name, [p.stem for p in paths.NOTEBOOKS.glob("*.ipynb")])
        raise ChapterError(f"{where}: notebook is {name!r}, which {path.parent} lacks{mend}")
    return path


def _preset(where: str, content) -> Preset:
    _TOML.checked(where, dict, content)
    _TOML.check_keys(content, ("minutes", "parameters", "data", "device"), where)
    for key in ("minutes", "parameters"):
        if key not in content:
            raise ChapterError(f"{where} has no {key!r}: {_MEND}")
    minutes = _TOML.checked(f"{where}: minutes", float, content["minutes"], 0.0)
    parameters = _TOML.checked(f"{where}: parameters", dict, content["parameters"])
    if "profile" in parameters:
        raise ChapterError(f"{where}: parameters has 'profile': leave it to the table's name")
    data = _checked(f"{where}: data", list, content.get("data", []))
    return Preset(
        minutes, parameters, data, _checked(f"{where}: device", str, content.get("device", ""))
    )


def duration(minutes: float) -> str:
    """A time in the unit that fits it.

    >>> duration(0.5), duration(120), duration(4000)
    ('30 s', '2 h', '3 days')
    """
    for unit, length in (("days", 1440), ("h", 60), ("min", 1)):
        if minutes >= 1.5 * length or (unit == "min" and minutes >= 1):
            return f"{minutes / length:.0f} {unit}"
    return f"{round(60 * minutes, -1):.0f} s"
