"""Settings with which `make lab` starts Jupyter; by hand: `--config=jupyter_server_config.py`."""

from pathlib import Path

from reuseprior.report import notebooks


def tidy(path: str, model: dict, contents_manager) -> None:
    """Save a chapter without what JupyterLab adds of this machine, so that git stays clean."""
    if model["type"] == "notebook" and Path(path).parent.name == "notebooks":
        notebooks.tidy(model["content"])


c.ContentsManager.pre_save_hook = tidy  # noqa: F821, Jupyter gives `c`
