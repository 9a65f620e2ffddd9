"""Recorded runs on their way to the ledger: which bear on a printed number, and what they say.

A work describes the runs as evidence: the folder in `data/results`, what their `config.json` must
say, which is the printed protocol, and how the number follows from them. As long as no finished run
says all that, the number is still to come.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from reuseprior import paths, results
from reuseprior.press.ledger import Entry, Judgement, entry
from reuseprior.results import Run

# How a machine works a protocol off, or when it looks at test images, changes no printed setting.
_OF_A_MACHINE = frozenset(
    {"name", "workers", "compile", "channels_last", "precision", "checkpoint_every", "test_every"}
)


def settings(protocol: Mapping[str, object], printed: Mapping[str, object]) -> dict[str, object]:
    """What a run's protocol must say: that of a file, with what a source prints of the run."""
    values = {**protocol, **printed}
    return {key: value for key, value in values.items() if key not in _OF_A_MACHINE}


@dataclass(frozen=True)
class Evidence:
    """The runs that bear on one printed number.

    `value` makes the number, in the unit in which it is printed, of all runs of one seed (most
    often one), and `over` makes one number of those of all seeds. A seed counts from `runs` runs
    on; below `seeds` seeds there is no number yet.
    """

    experiment: str  # a folder of data/results or a pattern of such; none need be there
    config: Mapping[str, object]  # a part of a run's config.json, level by level
    value: Callable[[Sequence[Run]], float]
    over: Callable[[Sequence[float]], float] = fmean
    runs: int = 1
    seeds: int = 1


def runs_for(evidence: Evidence) -> dict[int, list[Run]]:
    """The finished runs at the printed protocol by their seed, as many a seed as are needed."""
    wanted = json.loads(json.dumps(evidence.config))  # as it is read: tuples are lists
    by_seed: dict[int, list[Run]] = {}
    for path in sorted(paths.RESULTS.glob(f"{evidence.experiment}/*/{results.CONFIG}")):
        config = results.read_json(path)
        if _says(config, wanted):
            run = Run.read(path.parent)
            if run.summary["state"] == "finished":
                by_seed.setdefault(config.get("seed"), []).append(run)
    whole = {seed: found for seed, found in by_seed.items() if len(found) >= evidence.runs}
    return dict(sorted(whole.items())) if len(whole) >= evidence.seeds else {}


def judge_runs(evidence: Evidence, waiting: str) -> Judgement:
    """Verdict, value and note: "recorded", the mean over seeds, and which seeds in which folder.

    Without runs at the printed protocol it is "not yet", and the note is `waiting`.
    """
    found = runs_for(evidence)
    if not found:
        return "not yet", None, waiting
    value = evidence.over([evidence.value(runs) for runs in found.values()])
    folders = sorted({run.folder.parent.name for runs in found.values() for run in runs})
    word = "seed" if len(found) == 1 else "seeds"
    note = f"{word} {', '.join(map(str, found))} in data/results/{' and '.join(folders)}"
    return "recorded", value, note


def recorded(row, column: str, evidence: Evidence, waiting: str) -> Entry:
    """The entry of one cell of a published table that only recorded runs can fill."""
    verdict, value, note = judge_runs(evidence, waiting)
    return entry(row, column, value, verdict, note)


def _says(config, wanted) -> bool:
    """Whether a configuration holds all that is wanted, level by level."""
    if not (isinstance(config, dict) and isinstance(wanted, dict)):
        return config == wanted
    return all(key in config and _says(config[key], value) for key, value in wanted.items())
