"""Chapters and trainings on a cluster: Snakemake's jobs here, and those of a Slurm of one node."""

import csv
import shutil
import subprocess
import sys

import pytest
import torch
from typer.testing import CliRunner

from reuseprior import paths, results
from reuseprior.cli import app
from reuseprior.report import campaign
from tests import slurm
from tests.conftest import until
from tests.report import house


def plan(*rows):
    """Let these be all planned runs: a name, data and epochs each."""
    tiny = "train_images=640 test_images=50 batch_size=32 width=0.25 epochs="
    with (paths.PACKAGE / "chapters" / "campaign.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["chapter", "run", "kind", "model", "sharing", "data", "protocol",
                        "changes", "seeds", "minutes", "device"])  # fmt: skip
        for name, data, epochs in rows:
            what = ["04-a", f"tiny/{name}", "train", "resnet20-cifar", "none", data, "quick"]
            lines.writerow([*what, f"{tiny}{epochs}", "0", "1", "cpu"])
    campaign._rows.cache_clear()


@pytest.fixture
def root(root, monkeypatch):
    monkeypatch.setenv("REUSEPRIOR_ROOT", str(paths.ROOT))
    monkeypatch.setenv("PYTHONPATH", str(paths.ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shutil.copy(house.REAL["NOTEBOOKS"] / "campaign.smk", paths.NOTEBOOKS)
    yield root
    campaign._rows.cache_clear()


def profile(text):
    folder = paths.ROOT / "mine"
    folder.mkdir()
    (folder / "config.yaml").write_text(text)
    return folder


def log_of(one):
    return (campaign.asked().parent / f"{one.place}.log").read_text()


@pytest.mark.slow
def test_runs_are_jobs_and_what_is_left_is_told(root, monkeypatch):
    monkeypatch.setenv("REUSEPRIOR_DATA", str(root / "nowhere"))
    plan(("net", "digits", 1), ("none", "cifar10", 1))
    submit = ["campaign", "--submit", str(profile("cores: 1\n")), "--hours", "1"]
    done = CliRunner().invoke(app, submit)
    assert done.exit_code == 1, done.output
    assert results.finished(paths.RESULTS / "tiny" / "net-seed0")
    (told,) = (line for line in done.stderr.splitlines() if line.startswith("left: "))
    assert "tiny/none-seed0" in told and "cifar10" in told and "; see " in told
    assert "these runs cannot be recorded: " in done.stderr


SLURM = """\
executor: slurm
jobs: 4
latency-wait: 20
slurm-status-command: squeue
slurm-requeue: true
slurm-init-seconds-before-status-checks: 5
slurm-no-account: true
default-resources:
  mem_mb: 500
  slurm_partition: low
"""


@pytest.fixture
def cluster(root, tmp_path_factory):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    with slurm.cluster(tmp_path_factory.mktemp("slurm")):
        yield profile(SLURM)


@pytest.mark.soak
def test_two_trainings_are_taken_away_and_end_the_same(root, cluster):
    plan(("a", "digits", 12), ("b", "digits", 12))
    folders = [paths.RESULTS / "tiny" / f"{name}-seed0" for name in ("a", "b")]
    submit = [sys.executable, "-m", "reuseprior", "campaign", "--submit", str(cluster)]
    with subprocess.Popen([*submit, "--hours", "1"], cwd=root) as process:
        until(lambda: all((f / "metrics.csv").exists() for f in folders), "no run began")
        other = ["sbatch", "--partition=high", "--exclusive", "--output=/dev/null"]
        subprocess.run([*other, "--wrap", "sleep 5"], check=True)
    assert process.returncode == 0
    for folder, one in zip(folders, campaign.planned(), strict=True):
        run = results.Run.read(folder)
        assert run.summary["state"] == "finished" and len(run.metrics) == 12
        assert "continue it with --resume" in log_of(one)
        threads = torch.get_num_threads()
        torch.set_num_threads(run.summary["threads"])  # a job has one, and sums in other orders
        one.start(paths.ROOT / "undisturbed", progress=False)
        torch.set_num_threads(threads)
        whole = results.Run.read(one.folder(paths.ROOT / "undisturbed"))
        clock = ["seconds", "images_per_second"]
        assert run.metrics.drop(columns=clock).equals(whole.metrics.drop(columns=clock))


@pytest.mark.soak
def test_a_job_ends_at_its_limit_and_the_next_goes_on(root, cluster, monkeypatch):
    plan(("a", "digits", 120))
    (one,) = campaign.planned()
    write, soon = campaign.write_json, {"seconds": 40}
    monkeypatch.setattr(campaign, "write_json", lambda path, told: write(path, told | soon))
    assert campaign.submit([one], cluster, None, hours=1) == []
    assert results.finished(one.folder()) and "continue it with --resume" in log_of(one)
