"""`python docs/metadata.py` writes what archives and readers on GitHub look for, from its sources.

That is `.zenodo.json` for Zenodo, `codemeta.json` for Software Heritage, and `codecheck.yml`, where
CODECHECK looks for the outputs of a work, each with the command that makes it; and `data/lines.md`,
which leads from the places where numbers are printed to the lines of code that compute them.
"""

import ast
import json
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache, partial
from importlib import import_module
from inspect import getsourcefile, unwrap
from os.path import relpath
from pathlib import Path

import yaml

from reuseprior import paths
from reuseprior.report import chapters, ledger, notebooks
from reuseprior.report.cells import Cells, Rule


def files() -> dict[str, str]:
    """Their texts, by name."""
    cited = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    article = next(work for work in cited["references"] if work["type"] == "article")
    doi = f"https://doi.org/{article['doi']}"
    about = {"description": project["description"], "keywords": project["keywords"]}
    zenodo = {
        "title": cited["title"], **about, "version": cited["version"], "license": cited["license"],
        "upload_type": "software", "access_right": "open", "creators": cited["authors"],
        "related_identifiers": [{
            "identifier": article["doi"], "scheme": "doi", "relation": "isSupplementTo",
            "resource_type": "publication-article",
        }],
    }  # fmt: skip
    codemeta = {
        "@context": "https://w3id.org/codemeta/3.0", "@type": "SoftwareSourceCode",
        "name": cited["title"], **about, "version": cited["version"],
        "license": f"https://spdx.org/licenses/{cited['license']}",
        "programmingLanguage": f"Python {project['requires-python']}",
        "author": [{"@type": "Organization", **author} for author in cited["authors"]],
        "softwareRequirements": project["dependencies"],
        "referencePublication": {
            "@type": "ScholarlyArticle", "@id": doi, "name": article["title"],
        },
    }  # fmt: skip
    codecheck = {
        "version": "https://codecheck.org.uk/spec/config/2.0/",
        "paper": {
            "title": article["title"], "reference": doi,
            "authors": [
                {"name": f"{a['given-names']} {a['family-names']}", "ORCID": a["orcid"][-19:]}
                for a in article["authors"]
            ],
        },
        "manifest": [
            {"file": "data/ledger.csv", "comment": "reuseprior audit: every printed number"},
            *(
                {"file": f"figures/{name}.svg", "comment": f"reuseprior reproduce {chapter.name}"}
                for chapter in chapters.found()
                for name in notebooks.figures(chapter.notebook)
            ),
        ],
    }  # fmt: skip
    told = {".zenodo.json": zenodo, "codemeta.json": codemeta}
    found = {n: json.dumps(d, indent=2, ensure_ascii=False) + "\n" for n, d in told.items()}
    text = yaml.safe_dump(codecheck, sort_keys=False, allow_unicode=True, explicit_start=True)
    return found | {"codecheck.yml": text, "data/lines.md": lines()}


# Lines of code ------------------------------------------------------------------------------------

_LINES = """\
# The lines behind the numbers

Written by `python docs/metadata.py`, of the code as it is here. For each place that prints numbers
of the ledger it links to the functions that make the values beside them, or to the line of a table
that has the arithmetic. `reuseprior why` says of a single number all that ran for it.

| printed at | numbers | made by |
| --- | --- | --- |
"""


def lines() -> str:
    """The page that leads from places of printed numbers to the functions that compute them."""
    links, numbers = defaultdict(dict), defaultdict(int)
    of = dict(_makers())
    for row in ledger.committed_rows():
        if row["id"] in of:
            numbers[row["where"]] += 1
            links[row["where"]][of[row["id"]]] = None
    rows = (f"| {where} | {numbers[where]} | {', '.join(links[where])} |\n" for where in links)
    return _LINES + "".join(rows)


def _makers() -> Iterator[tuple[str, str]]:
    """By id, a link to what makes a number's value."""
    rows = ledger.committed_rows()
    for chapter in (one for one in chapters.found() if one.entries):
        module = import_module(chapter.module)
        for identity, rule in module.PARTS.rules() if isinstance(module.PARTS, Cells) else ():
            if rule.function:
                yield identity, _function(getattr(module, rule.function))
            elif rule.kind in ("computed", "derived"):
                yield identity, _arithmetic(rule)
        for place, make in module.PARTS.items():
            for row in rows if not _of_cells(make) else ():
                if row["where"].startswith(place):
                    yield row["id"], _other(make, row["where"].removeprefix(f"{place}, "))


def _of_cells(make) -> bool:
    """Whether a part is made of a TOML's rules."""
    return isinstance(getattr(getattr(make, "func", None), "__self__", None), Cells)


def _other(make, name: str) -> str:
    """A link to a part's function, or to the derivation of a theorem."""
    if not isinstance(make, partial):
        return _function(make)
    blueprint = make.args[0]
    return next(link for of, link in _derivations() if of in (name, blueprint.prefix + name))


@cache
def _derivations() -> list[tuple[str, str]]:
    """The name of each derivation, and a link to the function that it is made of."""
    found = []
    for file in sorted((paths.PACKAGE / "chapters").glob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            for call in getattr(node, "decorator_list", ()):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "derived":
                    found.append((call.args[0].value, _link(node.name, file, node.lineno)))
    return found


@cache
def _function(function) -> str:
    """A link to the line that begins a function, below what decorates it."""
    plain = unwrap(function)
    file = Path(getsourcefile(plain))
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    (line,) = [
        n.lineno for n in nodes if isinstance(n, ast.FunctionDef) and n.name == plain.__name__
    ]
    return _link(plain.__name__, file, line)


def _arithmetic(rule: Rule) -> str:
    """A link to the line of a table that says a rule."""
    file, heading, pattern = re.fullmatch(r"(.*?), \[(.*)\]: '(.*)'", rule.at).groups()
    text = Path(file).read_text(encoding="utf-8")
    start = re.search(rf'^\["?{re.escape(heading)}"?\]', text, re.M).start()
    at = re.compile(rf'^"?{re.escape(pattern)}"? = ', re.M).search(text, start).start()
    return _link(Path(file).name, Path(file), text.count("\n", 0, at) + 1)


def _link(name: str, file: Path, line: int) -> str:
    return f"[{name}]({relpath(file, paths.ROOT / 'data')}#L{line})"


if __name__ == "__main__":
    for name, text in files().items():
        (paths.ROOT / name).write_text(text, encoding="utf-8")
