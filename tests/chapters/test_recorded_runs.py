"""The first epoch or generation that trained of a recorded run gives the recorded numbers again."""

import json
import os
import subprocess
import sys

import pytest
import torch
from pytest import approx

from reuseprior import data, paths
from reuseprior.chapters import reuse_texts
from reuseprior.report.runs import INSTRUCTIONS, instructions
from reuseprior.results import Run, provenance
from tests.soak import drawn

# One run of each kind.
RUNS = {
    "ResNets": "train-cifar-resnet/resnet20-cifar-none-cifar10-seed0",
    "EfficientNetV2": "train-cpu-hours/efficientnetv2-b0-none-cifar10-seed1",
    "MNIST": "revolver/cpu-hours-mnist-evolve-seed0",
    "CIFAR-10": "revolver/cpu-hours-cifar10-evolve-seed0",
    "bytes": "reuse-texts/8x38-seed0",
}
OF_A_CLOCK = {"seconds", "images_per_second"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", drawn(RUNS, 2, seed=1))
def test_a_recorded_run_begins_the_same_again(kind):
    run = Run.read(paths.RESULTS / RUNS[kind])
    skip_where_it_cannot_be_repeated(run)
    wanted = INSTRUCTIONS[instructions(run)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.chapters.again", RUNS[kind]],
        cwd=paths.ROOT, env=os.environ | wanted, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    for now, (_, then) in zip(rows, run.metrics.iterrows(), strict=False):
        measured = now.keys() - OF_A_CLOCK
        assert len(measured) > 3
        for name in measured:
            if now[name] is None:
                assert then[name] != then[name], name  # NaN is an empty cell
            else:
                exact = isinstance(now[name], str)
                assert then[name] == (now[name] if exact else approx(now[name], rel=1e-6)), name
    assert rows[-1].get("batches", 1) > 0 and "seconds" in rows[-1]


def skip_where_it_cannot_be_repeated(run):
    here = provenance(seed=0, device="cpu", data_checksum=None)
    made = instructions(run)
    if (run.summary["device"], torch.cuda.is_available()) != (here["device"], False):
        pytest.skip(f"recorded on {run.summary['device']}, and this is {here['device']}")
    able = {"AVX2": ["AVX2"], "AVX512": ["AVX2", "AVX512"]}
    if made not in able.get(here["instructions"], []):
        pytest.skip(f"recorded with {made}, and this processor has {here['instructions']}")
    if run.config["data"] == "pydoc":
        if run.config["data_checksum"] != reuse_texts.documentation().checksum:
            pytest.skip("Python's documentation is another with this version")
        return
    try:
        data.load(run.config["data"])
    except data.DataError as error:
        pytest.skip(str(error))
