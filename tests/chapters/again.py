"""Begin a recorded run again and say what comes: a process of its own, for its instructions.

    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 python -m tests.chapters.again EXPERIMENT/RUN

What torch and oneDNN compute with is settled when they are loaded. Each row goes to standard output
as JSON: the first epoch of a training, the generations of a search up to the first that trained.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch

from reuseprior import data, paths, revolver
from reuseprior.report import campaign
from reuseprior.results import Recording, Run


class FirstRow(Exception):
    """The first epoch is done."""


def main():
    run = Run.read(paths.RESULTS / sys.argv[1])
    torch.set_num_threads(run.summary["threads"])
    for row in searched(run) if "settings" in run.config else trained(run):
        print(json.dumps(row), flush=True)


def trained(run):
    def stop(_, row):
        raise FirstRow(row)

    place = run.folder.relative_to(paths.RESULTS).as_posix()
    (planned,) = (one for one in campaign.planned() if one.place == place)
    with TemporaryDirectory() as folder, patch.object(Recording, "append", stop):
        try:
            planned.start(Path(folder), progress=False)
        except FirstRow as first:
            yield first.args[0]


def searched(run):
    settings = revolver.Settings.from_data(run.config["settings"])
    given = data.load(run.config["data"])
    search = revolver.Search.start(settings, given, seed=run.config["seed"])
    for _ in run.metrics.index:
        row = search.step()
        yield row
        if row["batches"]:
            return


if __name__ == "__main__":
    main()
