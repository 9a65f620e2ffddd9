"""A notebook to begin a study of one's own models with."""

from __future__ import annotations

import json
from pathlib import Path

from reuseprior import files
from reuseprior.report import notebooks
from reuseprior.report.notebooks import NotebookError

CELLS = (  # the kind of each cell, and its text
    (
        "markdown",
        """# {title}

Models of your own, compared without training. Put them into the next cell and run all: each is \
run once, on tensors without data, and its *contexts* are counted, the paths from the uses of its \
parameters to its outputs. That takes seconds for networks of usual size.""",
    ),
    (
        "code",
        """import copy

from torch import nn

import reuseprior as rp

wide = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
deep = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(),
                     nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
models = {{"wide": wide, "deep": deep}}
# the input's; for token ids torch.empty((1, 128), dtype=torch.long, device="meta")
shape = (1, 1, 28, 28)""",
    ),
    (
        "markdown",
        """## Which ranks first?

$P'_G$ is the thesis's estimate from expected spread (equation 4.8), $P_G$ that from total \
surprisal (equation 4.7), both in bits and greater for larger inputs. A rank is a guess: chapter 6 \
of this project tests how good it is beside counting parameters or multiply-adds.""",
    ),
    ("code", "compared = rp.compare(models, shape)\ncompared"),
    ("code", "compared.plot()"),
    (
        "markdown",
        """## Where do the contexts live?

From the left: log2 contexts of each tensor's parameters in the order of the model, from the least \
to the greatest; the tensor's share of the total surprisal; how many parameters have so many \
contexts.""",
    ),
    ("code", 'counts = compared["deep"].counts\ncounts'),
    ("code", "counts.plot()"),
    (
        "markdown",
        """## What feeds what?

A row a layer. A line on the left joins layers that do not follow one another, a dotted one those \
that use the same tensor.""",
    ),
    ("code", "counts.draw()"),
    (
        "markdown",
        """## What does sharing change?

Equal layers made one: fewer parameters, each with the contexts of all its uses.""",
    ),
    (
        "code",
        """shared = copy.deepcopy(deep)
rp.sharing.tie(shared, rp.sharing.equal_layers)
rp.compare({{**models, "deep, shared": shared}}, shape)""",
    ),
    ("code", "rp.count_contexts(shared, shape).draw()"),
)


def write(path: Path) -> None:
    """Write the notebook; NotebookError for a file that is there, or another ending than .ipynb."""
    if path.suffix != ".ipynb":
        raise NotebookError(f"{path} is no name of a notebook: end it in .ipynb")
    if path.exists():
        raise NotebookError(f"{path} is there already: choose another name")
    if not path.parent.is_dir():
        raise NotebookError(f"there is no folder {path.parent} for {path.name}: make it first")
    title = path.stem.replace("-", " ").capitalize()
    cells = [_cell(i, kind, text.format(title=title)) for i, (kind, text) in enumerate(CELLS)]
    content = {"cells": cells, "metadata": notebooks.METADATA, "nbformat": 4, "nbformat_minor": 5}
    files.write(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def _cell(position: int, kind: str, text: str) -> dict:
    source = text.splitlines(keepends=True)
    cell = {"cell_type": kind, "id": f"study-{position:02}", "metadata": {}, "source": source}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})
