"""The runs that chapters want, in the order of their worth, and what makes them.

They stand in `chapters/campaign.csv`: a row is a run of some `seeds`; `run` says where in
`data/results` it lies, less the seed, and `kind` what is made of the columns from `model` to
`changes`. `minutes` are those of one core of the machine that made the recorded ones: of the
fastest alike, or in proportion to multiply-adds of another run of the protocol, or empty where no
run says.

```python
for one in left("13-affine-vae", protocol="cpu"):
    one.start(root)
```
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from math import ceil, isnan, nan
from pathlib import Path
from types import ModuleType

from reuseprior import data, paths
from reuseprior.models import ModelConfig, catalog
from reuseprior.report.runs import options
from reuseprior.results import finished, make_folder, write_json
from reuseprior.revolver import Search
from reuseprior.training import Protocol, train

KINDS = {
    "train": "report.campaign:train_planned",  # a model of the catalogue by a protocol
    "evolve": "report.campaign:evolve_planned",  # a search by a preset
    "survey": "chapters.beyond.survey:start",  # public models, counted
    "nn-mass": "chapters.nn_mass_runs:start",  # a network of a grid
    "affine": "chapters.affine_runs:start",  # a model of a case at a scale, trained and turned
    "encoder": "chapters.classformer_runs:start_training",
    "schedules": "chapters.classformer_runs:start_search",
    "front": "chapters.classformer_runs:start_comparison",
    "next-byte": "chapters.reuse_texts:start",  # a small transformer on bytes of text
}
"""The function of the package that makes a planned run of each kind in a folder."""


@dataclass(frozen=True)
class Planned:
    """A run that a chapter wants, and what makes it."""

    chapter: str  # the name of its notebook
    run: str
    kind: str
    model: str
    sharing: str
    data: str
    protocol: str
    changes: str  # KEY=VALUE with spaces between
    seed: int | None
    minutes: float  # NaN where it is not known
    device: str  # cpu or gpu

    @property
    def place(self) -> str:
        """Its experiment and name, with the seed."""
        return self.run if self.seed is None else f"{self.run}-seed{self.seed}"

    @property
    def changed(self) -> dict[str, object]:
        """What `changes` sets."""
        pairs = (change.split("=") for change in self.changes.split())
        return {key: _value(text) for key, text in pairs}

    @property
    def command(self) -> str:
        """What makes it, and goes on where it was stopped."""
        if self.kind == "evolve":
            return f"reuseprior evolve {self.protocol} --seed {self.seed} --resume"
        if self.kind != "train":
            return f"reuseprior campaign {self.place} --start"
        shared = "" if self.sharing == "none" else f" --sharing {self.sharing}"
        command = f"reuseprior train {self.model}{shared} --data {self.data}"
        command += f" --protocol {self.protocol}{options(self.changed)} --seed {self.seed}"
        if not self.run.startswith("train-"):  # where `train` records it by itself
            command += f" --output data/results/{self.place}"
        return f"{command} --resume"

    def folder(self, root: Path | None = None) -> Path:
        """Where it is recorded; `root` is `data/results` if not given."""
        return (paths.RESULTS if root is None else root) / self.place

    def folders(self, root: Path | None = None) -> list[Path]:
        """All that it records, the first in `folder`; its kind's module names more by `beside`."""
        beside = getattr(self._function[0], "beside", lambda *_: ())
        return [self.folder(root), *beside(self, root)]

    def finished(self, root: Path | None = None) -> bool:
        """Whether all that it records is there."""
        return all(map(finished, self.folders(root)))

    def start(self, root: Path | None = None, *, progress: bool = True) -> None:
        """Make it, or go on with it; nothing where it is finished."""
        if not self.finished(root):
            getattr(*self._function)(self, root, progress=progress)

    @property
    def _function(self) -> tuple[ModuleType, str]:
        module, _, name = KINDS[self.kind].partition(":")
        return import_module(f"reuseprior.{module}"), name


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


@cache
def _rows() -> tuple[Planned, ...]:
    with (paths.PACKAGE / "chapters" / "campaign.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return tuple(
        Planned(**row, seed=seed and int(seed), minutes=float(minutes or nan))
        for row in rows
        for minutes in [row.pop("minutes")]
        for seed in row.pop("seeds").split() or [None]
    )


def planned(chapter: str | None = None, **columns: str) -> Iterator[Planned]:
    """All planned runs, or those of a chapter with these values in columns: `kind="train"`."""
    wanted = columns if chapter is None else {"chapter": chapter, **columns}
    for one in _rows():
        if all(getattr(one, column) == value for column, value in wanted.items()):
            yield one


def left(chapter: str | None = None, root: Path | None = None, **columns: str) -> list[Planned]:
    """The planned runs that are not finished, as `planned` chooses them."""
    return [one for one in planned(chapter, **columns) if not one.finished(root)]


# On a cluster, a job a run ------------------------------------------------------------------------


def asked() -> Path:
    """What `submit` was asked for, beside what its jobs say; `notebooks/campaign.smk` reads it."""
    return paths.BUILD / "campaign" / "asked.json"


def submit(runs: Sequence[Planned], profile: Path, root: Path | None, *, hours: float) -> list[str]:
    """Make runs through Snakemake by a profile, a job a run, each of no more than so many hours.

    A job that comes to its end or is taken away is submitted again, and goes on where it stopped.
    Returns what is left all the same: a sentence each, with the last words of its job.
    """
    for one in runs:
        for kind in ("done", "log"):
            (asked().parent / f"{one.place}.{kind}").unlink(missing_ok=True)
    minutes = max(ceil(60 * hours), 1)
    tries = max(10.0 if isnan(one.minutes) else 2 * one.minutes / minutes for one in runs)
    make_folder(asked().parent)
    write_json(asked(), {
        "runs": [one.place for one in runs], "root": str(paths.RESULTS if root is None else root),
        "minutes": minutes, "seconds": 60 * minutes - min(6 * minutes, 600),
        "retries": 3 + ceil(tries),
    })  # fmt: skip
    command = ["--snakefile", str(paths.NOTEBOOKS / "campaign.smk"), "--profile", str(profile)]
    subprocess.run([sys.executable, "-m", "snakemake", *command], cwd=paths.ROOT)
    return [f"{one.place}: {_last_words(one)}" for one in runs if not one.finished(root)]


def _last_words(one: Planned) -> str:
    log = asked().parent / f"{one.place}.log"
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    said = [line.strip() for line in lines if line.strip()]
    return f"{said[-1]}; see {log}" if said else "its job has not begun: see what Snakemake says"


# What makes the kinds that every chapter has ------------------------------------------------------


def config(one: Planned, classes: int) -> dict[str, object]:
    """What the `config.json` of a planned training will say of how the model is built."""
    plan = Protocol.load(one.protocol, model=one.model).changed(one.changed)
    built = {"model": one.model, "sharing": one.sharing, "seed": one.seed, "classes": classes}
    return built | {"data": one.data, "protocol": asdict(plan)}


def train_planned(one: Planned, root: Path | None = None, *, progress: bool = True) -> None:
    """Train a model of the catalogue as `reuseprior train` does."""
    images = data.load(one.data)
    about = config(one, images.classes)
    model_config, plan = ModelConfig.recorded(about), Protocol(**about["protocol"])
    with catalog.told_in_a_sentence(one.model):
        model = model_config.build()
    train(model, images, plan, one.folder(root), seed=one.seed, about=model_config.about(),
          resume=True, progress=progress)  # fmt: skip


def evolve_planned(one: Planned, root: Path | None = None, *, progress: bool = True) -> None:
    """Search as `reuseprior evolve` does."""
    from tqdm.auto import tqdm

    images = data.load(one.data)
    search = Search.start(one.protocol, images, one.folder(root), seed=one.seed, resume=True)
    total = search.settings.generations - search.generation
    for _ in tqdm(search, total=total, disable=not progress, unit="generation"):
        pass
    search.finish()
