"""Trainings that are stopped and taken up, and those of two processes."""

import os
import signal
import socket
import subprocess
import sys
from itertools import count

import pytest
import torch

from reuseprior import paths
from reuseprior.results import Run
from reuseprior.training import Interrupted, checkpoint


def measured(run):
    """What a run measured, without the clock."""
    return run.metrics.drop(columns=["images_per_second", "seconds"])


def stopping(model, batch, by=signal.SIGTERM):
    """Let a model tell its own process to stop in its n-th batch, as somebody outside might."""
    numbers = count(1)

    def tell(module, _):
        if module.training and next(numbers) == batch:
            os.kill(os.getpid(), by)

    model.register_forward_pre_hook(tell)
    return model


def check_resumed(fit, build, folder, whole, batch, by=signal.SIGTERM, message="stopped in epoch"):
    """`fit(folder, model)` stopped in a batch ends as `whole`, a model and its run, bit for bit."""
    before = signal.getsignal(by)
    with pytest.raises(Interrupted, match=message):
        fit(folder, stopping(build(), batch, by))
    assert signal.getsignal(by) is before
    assert Run.read(folder).summary["state"] == "interrupted"
    again = build()
    with torch.no_grad():  # what it begins with does not matter
        for parameter in again.parameters():
            parameter.zero_()
    found = fit(folder, again, resume=True)
    model, run = whole
    assert measured(found).equals(measured(run))
    for key in run.summary.keys() | found.summary.keys():
        if key.startswith(("test_", "best_", "epochs", "state", "reason")):
            assert found.summary[key] == run.summary[key], key
    held = [checkpoint.load(r.folder / checkpoint.NAME)[0] for r in (found, run)]
    for one, other in (held, (again.state_dict(), model.state_dict())):
        assert one.keys() == other.keys()
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


# As torchrun starts them, but that the second is a fork of the first, which has imported
# everything. One thread: a forked process waits for ever for those that its parent had.
TWO = """
import os, signal, sys
sys.path.insert(0, {root!r})
import {module} as module

rank = 0 if os.fork() else 1
signal.alarm({limit})
os.environ |= {{"RANK": str(rank), "LOCAL_RANK": str(rank)}}
module.{call}
module.torch.distributed.destroy_process_group()
if rank:
    os._exit(0)
assert os.wait()[1] == 0
"""
LIMIT = 300  # seconds, after which processes end themselves by an alarm


def in_two_processes(module, call):
    """Let two processes call a function of a module."""
    code = TWO.format(root=str(paths.ROOT), module=module, call=call, limit=LIMIT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    place |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | place, timeout=LIMIT)
