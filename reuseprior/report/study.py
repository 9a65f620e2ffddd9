"""A notebook to begin a study of one's own models with: `study.ipynb`, beside this file."""

from __future__ import annotations

import json
from pathlib import Path

from reuseprior import files
from reuseprior.report import notebooks
from reuseprior.report.notebooks import NotebookError


def write(path: Path) -> None:
    """Write the notebook; NotebookError for a file that is there, or another ending than .ipynb."""
    if path.suffix != ".ipynb":
        raise NotebookError(f"{path} is no name of a notebook: end it in .ipynb")
    if path.exists():
        raise NotebookError(f"{path} is there already: choose another name")
    if not path.parent.is_dir():
        raise NotebookError(f"there is no folder {path.parent} for {path.name}: make it first")
    notebook = notebooks.read(Path(__file__).with_suffix(".ipynb"))
    first, *_ = notebook["cells"]
    title = path.stem.replace("-", " ").capitalize()
    first["source"] = [line.replace("{title}", title) for line in first["source"]]
    files.write(path, (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode())
