"""A cluster of one node in a folder: Debian's Slurm and munge, without a database daemon.

Its partitions are `low`, whose jobs are requeued where `high` needs the node.
"""

import os
import secrets
import shutil
import socket
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.conftest import until

CONFIGURED = Path("/etc/slurm/slurm.conf")  # where jobs, whose variables are other, look
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
CONFIG = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={place}/munge.socket
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=2000
PartitionName=low Nodes={host} Default=YES MaxTime=UNLIMITED PriorityTier=1 GraceTime=60 State=UP
PartitionName=high Nodes={host} MaxTime=UNLIMITED PriorityTier=9 State=UP
"""


def missing():
    """Of what the cluster needs, what is not installed."""
    found = {name: shutil.which(name, path=_path()) for name in NEEDED}
    return [name for name, place in found.items() if not place]


def _path():
    return f"{os.environ['PATH']}:/usr/sbin"


def _free():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def cluster(place):
    """Let Slurm's commands find a cluster that lasts as long as this."""
    if lacks := missing():
        pytest.skip(f"no {', '.join(lacks)}: apt-get install slurm-wlm munge")
    if os.getuid() or CONFIGURED.exists():
        pytest.skip(f"a node of Slurm needs root, and that there is no {CONFIGURED} yet")
    for name in ("state", "spool"):
        (place / name).mkdir(parents=True)
    place.chmod(0o755)
    key = place / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    config = place / "slurm.conf"
    told = {"host": socket.gethostname().partition(".")[0], "user": "root", "place": place}
    config.write_text(CONFIG.format(**told, ports=(_free(), _free()), cpus=os.cpu_count()))
    munge = [f"--{name}={place}/munge.{name}" for name in ("socket", "pid-file", "log-file")]
    munge += ["--seed-file", str(place / "munge.seed")]
    daemons = [
        ["munged", "--foreground", "--force", f"--key-file={key}", *munge],
        ["slurmctld", "-D", "-f", str(config)],
        ["slurmd", "-D", "-f", str(config)],
    ]
    with pytest.MonkeyPatch.context() as patch, ExitStack() as running:
        CONFIGURED.symlink_to(config)
        running.callback(CONFIGURED.unlink)
        patch.setenv("PATH", _path())
        for command in daemons:
            log = running.enter_context((place / f"{command[0]}.log").open("w"))
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            running.callback(_end, process)
            if command[0] == "munged":
                until((place / "munge.socket").exists, "munged did not start")
        until(lambda: "idle" in said("sinfo", "--noheader", "--format=%t"), "no node came up")
        running.callback(said, "scancel", "--user=root")
        yield


def said(*command):
    """What a command of Slurm's prints."""
    return subprocess.run(command, capture_output=True, text=True).stdout


def _end(process):
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
