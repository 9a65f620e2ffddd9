"""A repository of a test's own: the package's modules, and no works, notebooks or data."""

import json
import shutil
import subprocess

import nbformat

from reuseprior import paths

REAL = {name: getattr(paths, name) for name in ("PACKAGE", "NOTEBOOKS")}
SCREENSHOTS = paths.BUILD / "screenshots"
PLACES = {
    "NOTEBOOKS": "notebooks",
    "FIGURES": "figures",
    "BUILD": "build",
    "PUBLISHED": "data/published",
    "RESULTS": "data/results",
    "PACKAGE": "reuseprior",
    "ROOT": "",
}


def build(root, monkeypatch):
    """Let `paths` lead to a repository in `root`; its package is linked, so that kernels find it.

    Snakefile and profiles are the real ones.
    """
    for name, place in PLACES.items():
        monkeypatch.setattr(paths, name, root / place)
    for place in (paths.PUBLISHED, paths.NOTEBOOKS, paths.PACKAGE / "chapters"):
        place.mkdir(parents=True, exist_ok=True)
    for path in REAL["PACKAGE"].iterdir():
        if path.name not in ("chapters", "__pycache__"):
            (paths.PACKAGE / path.name).symlink_to(path)
    (paths.PACKAGE / "chapters" / "__init__.py").touch()
    shutil.copytree(REAL["NOTEBOOKS"] / "profiles", paths.NOTEBOOKS / "profiles")
    shutil.copy(REAL["NOTEBOOKS"] / "Snakefile", paths.NOTEBOOKS)


OPENED = "opened.log"
SITE = f"""
import os, sys
from pathlib import Path
log = os.open(Path(__file__).with_name("{OPENED}"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[1] in ("r", "rb"):
        os.write(log, (os.path.abspath(arguments[0]) + "\\n").encode())
if any("ipykernel" in word for word in sys.orig_argv):
    sys.addaudithook(hook)
    if "KEPT" in os.environ:
        from tests.report import kept
        kept.keep(Path(os.environ["KEPT"]))
"""


def apart(root, monkeypatch):
    """Let `paths` lead to the repository in another root, with figures and build folder there.

    Kernels write down there which files they open.
    """
    for name in ("data", "notebooks"):
        if not (root / name).exists():
            (root / name).symlink_to(paths.ROOT / name)
    for name in ("FIGURES", "BUILD", "NOTEBOOKS"):
        monkeypatch.setattr(paths, name, root / name.lower())
    monkeypatch.setattr(paths, "PUBLISHED", root / "data" / "published")
    monkeypatch.setattr(paths, "ROOT", root)
    (root / "sitecustomize.py").write_text(SITE)
    monkeypatch.setenv("PYTHONPATH", str(root))


def checkout(root):
    """A copy in `root` of what a reader may change by running chapters, committed to git there."""
    for name in ("notebooks", "data", "figures"):
        shutil.copytree(paths.ROOT / name, root / name)
    for name in (".gitignore", "jupyter_server_config.py"):
        shutil.copy(paths.ROOT / name, root)
    git(root, "init", "--quiet")
    git(root, "add", ".")
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    git(root, *author, "commit", "--quiet", "--message", "As it is")
    return root


def screenshot(browser, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    path = SCREENSHOTS / f"{name}.png"
    assert browser.save_screenshot(str(path)) and path.stat().st_size > 10_000


def git(root, *arguments):
    """What git says in a folder."""
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def notebook(name, *texts, tags=("parameters",), kernel="python3", folder=None):
    """Write a notebook, whose first cells of code have these tags; returns the file.

    A text that begins with one of #*< is Markdown.
    """
    new = {True: nbformat.v4.new_markdown_cell, False: nbformat.v4.new_code_cell}
    cells = [new[text.startswith(("#", "*", "<"))](text) for text in texts]
    code = (cell for cell in cells if cell.cell_type == "code")
    for tag, cell in zip(tags, code, strict=False):
        cell.metadata["tags"] = [tag]
    metadata = {"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}}
    path = (folder or paths.NOTEBOOKS) / f"{name}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    return path


def chapter(name, *, last=False, **given):
    """Write the file of a notebook's chapter; returns it.

    `given` are keys with their values, or a profile's text instead of one minute and no parameters.
    """
    profiles = {p: given.pop(p, "minutes = 1\nparameters = {}") for p in ("quick", "full")}
    lines = [f"{key} = {_toml(value)}" for key, value in (("notebook", name), *given.items())]
    lines += ["last = true"] * last
    lines += [f"\n[{profile}]\n{text}" for profile, text in profiles.items()]
    file = paths.PACKAGE / "chapters" / f"{name.replace('-', '_')}.toml"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def _toml(value):
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(k)} = {json.dumps(v)}' for k, v in value.items())}}}"
    return json.dumps(value)
