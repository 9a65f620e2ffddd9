"""A training stopped and taken up must end as one that nobody disturbed."""

import os
import signal
from itertools import count

import pytest
import torch

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
