"""Long hauls: the cases that are drawn for every run, and the others, which `make soak` runs."""

import random

import pytest


def drawn(cases, count, seed=0):
    """All `cases` as parameters (a tuple for several), all but `count` of them marked `soak`.

    Which ones is drawn by a fixed seed, since the processes of a run must collect the same tests.
    """
    cases = [case if isinstance(case, tuple) else (case,) for case in cases]
    every_run = random.Random(seed).sample(range(len(cases)), count)
    return [
        pytest.param(*case, marks=() if k in every_run else pytest.mark.soak)
        for k, case in enumerate(cases)
    ]
