"""A blueprint to look at: a tree that opens and closes, and the history of what was mutated.

Everything displays by itself in Jupyter and prints as text. The HTML holds no script; where
styles are stripped, as on GitHub, letters say what colours say elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import pandas as pd

from reuseprior.revolver.blueprints.blueprint import Blueprint, Path, where
from reuseprior.revolver.views.text_trees import Branch, counted, inside, lines, shapes, sizes

MARKS = {
    "S": "shared",
    "U": "unique",
    "@": "owned by this use",  # a batch norm of scope "use", and the blocks that contain it
    "F": "frozen",
    "M": "mutated",
}
HISTORY = "mutation_history"  # the key in meta, as in appendix C.5

# Every element bears its own style: of a notebook that it does not trust yet, JupyterLab keeps
# these and drops style sheets. A pill has both colours (Okabe and Ito's), for light and dark pages.
_COLOURS = {
    "S": "#56B4E9; color: #000",
    "U": "#E69F00; color: #000",
    "@": "#F0E442; color: #000",
    "F": "#0072B2; color: #FFF",
    "M": "#CC79A7; color: #000",
}
_PILL = "padding: 0 .35em; border-radius: .3em; font-weight: bold; background-color: "
_BELOW = (
    "list-style: none; margin: 0 0 0 .4em; padding: 0 0 0 .8em; "
    "border-left: 1px solid rgba(128, 128, 128, .5)"
)


@dataclass(frozen=True, repr=False)
class Tree:
    """A blueprint's blocks with their marks, names, shapes, parameters, uses and scores."""

    blueprint: Blueprint
    scores: Mapping[str, float] | None = None
    levels: int = 2

    def _repr_html_(self) -> str:
        places = _Places(self.blueprint, self.scores)
        marks = [f"{_pill(mark)} {MARKS[mark]}" for mark in places.marks]
        legend = f"<p>{' &nbsp; '.join(marks)}</p>"
        tree = _html_place(places, (), self.levels)
        return f"<div>{legend}{tree}</div>"

    def __str__(self) -> str:
        places = _Places(self.blueprint, self.scores)
        head = Branch("", "block", ("shape", "parameters", "uses", "score"))
        rows = lines([head, places.branch((), self.levels)])
        legend = "   ".join(f"{mark} {MARKS[mark]}" for mark in places.marks)
        return "\n".join([*rows, legend])

    __repr__ = __str__


def tree(
    blueprint: Blueprint, scores: Mapping[str, float] | None = None, *, levels: int = 2
) -> Tree:
    """A blueprint as a tree: opened in Jupyter, and printed, down to so many levels.

    ```python
    print(tree(blocks.conv((3, 32, 32), 16, kernel_size=7, stride=2)))
    #    block                 shape               parameters  uses  score
    # S  conv3_16_7_2_3_1_1_F  3×32×32 → 16×16×16       2,352     1
    # S shared   U unique   F frozen   M mutated
    ```

    A block's parameters are those of all blocks in it, each once; its uses are the places of the
    blueprint that hold its module. `scores`, by registered name, go before those in `meta`.
    """
    return Tree(blueprint, scores, levels)


def mutations(blueprint: Blueprint) -> pd.DataFrame:
    """The history of every mutated block (thesis, C.5): a row for each state, the last one now.

    ```python
    mutations(best.blueprint)[["place", "state", "kind"]]
    #   place state           kind
    # 0  conv     1           conv
    # 1  conv   now  ensemble_mean
    ```

    Columns: place, state ("1", "2", … and "now"), kind, name, input, output, unique, blocks.
    """
    rows = []
    for path, node in blueprint.walk():
        past = node.meta.get(HISTORY, [])
        states = [(str(n), state) for n, state in enumerate(past, 1)]
        for when, state in [*states, ("now", node.to_data())] if past else []:
            rows.append(
                {
                    "place": where(path),
                    "state": when,
                    "kind": state["kind"],
                    "name": state["name"],
                    "input": sizes(state["input_shape"]),
                    "output": sizes(state["output_shape"]),
                    "unique": state["unique"],
                    "blocks": _blocks(state),
                }
            )
    columns = ["place", "state", "kind", "name", "input", "output", "unique", "blocks"]
    return pd.DataFrame(rows, columns=columns)


class _Places:
    """What a tree says of each place of a blueprint, looked up by its path."""

    def __init__(self, blueprint: Blueprint, scores: Mapping[str, float] | None):
        scopes = blueprint.scopes()
        self.nodes = {path: node for path, node, _ in scopes}
        self.names = {path: name for path, _, name in scopes}
        self.scores = {} if scores is None else dict(scores)
        self.times = Counter(self.names.values())
        found = {mark for path in self.nodes for mark in self.marks_of(path)}
        self.marks = [mark for mark in MARKS if mark != "@" or mark in found]

    def marks_of(self, path: Path) -> str:
        node = self.nodes[path]
        owner = "U" if node.unique else "S" if self.names[path] == node.name else "@"
        return owner + "F" * node.freeze + "M" * (HISTORY in node.meta)

    def score(self, path: Path) -> float | None:
        return self.scores.get(self.names[path], self.nodes[path].meta.get("score"))

    def columns(self, path: Path) -> tuple[str, ...]:
        node, score = self.nodes[path], self.score(path)
        return (
            shapes(node),
            f"{node.parameters():,}",
            str(self.times[self.names[path]]),
            "" if score is None else f"{score:.3f}",
        )

    def branch(self, path: Path, levels: int) -> Branch:
        node = self.nodes[path]
        label = " ".join([*path[-1:], node.name])
        if levels or not node.children:
            below = tuple(self.branch((*path, role), levels - 1) for role in node.children)
        else:
            below = (Branch("", f"({counted(inside(node), 'block')})"),)
        return Branch(self.marks_of(path), label, self.columns(path), below)


def _html_place(places: _Places, path: Path, levels: int) -> str:
    node = places.nodes[path]
    size, parameters, times, score = places.columns(path)
    role = f"<b>{escape(path[-1])}</b> " if path else ""
    notes = [size, f"{parameters} parameters"]
    notes += [f"used {times}×"] * (times != "1")
    notes += [f"score {score}"] * bool(score)
    if HISTORY in node.meta:
        notes.append(f"was {node.meta[HISTORY][-1]['name']}")
    arguments = ", ".join(f"{key}={value}" for key, value in node.arguments.items())
    line = (
        f"{''.join(_pill(mark) for mark in places.marks_of(path))} {role}"
        f'<span title="{escape(arguments)}">{escape(node.name)}</span> '
        f'<span style="opacity: .75">· {escape(" · ".join(notes))}</span>'
    )
    if not node.children:
        return line
    below = "".join(
        f'<li style="padding-left: {0 if child.children else 1.05}em">'
        f"{_html_place(places, (*path, role), levels - 1)}</li>"
        for role, child in node.children.items()
    )
    opened = " open" if levels > 0 else ""
    summary = f'<summary style="cursor: pointer">{line}</summary>'
    return f'<details{opened}>{summary}<ul style="{_BELOW}">{below}</ul></details>'


def _pill(mark: str) -> str:
    return f'<code style="{_PILL}{_COLOURS[mark]}" title="{MARKS[mark]}">{mark}</code>'


def _blocks(state: dict) -> int:
    return 1 + sum(map(_blocks, state["children"].values()))
