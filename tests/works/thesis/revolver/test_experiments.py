"""What the recorded searches say."""

import pandas as pd

from reuseprior.works.thesis import revolver as work


def test_the_table_of_results_is_read_from_the_searches():
    runs = work.runs()
    table = work.results_table(runs)
    for run in runs:
        assert table.test[run.name] == 100 * run.summary["test_accuracy"]
        assert run.commits and not any(commit.endswith("-dirty") for commit in run.commits)
    assert {"mnist", "cifar10"} <= set(table.data)


def test_the_share_of_a_kernel_size_counts_shared_convolutions():
    rows = [("conv", 3, 2), ("conv", 1, 5), ("conv", 1, 2), ("conv", 3, 1), ("deconv", 3, 9)]
    modules = pd.DataFrame(rows, columns=["kind", "kernel_size", "individuals"])
    assert work.kernel_share(modules) == 1 / 3
    assert work.kernel_share(modules, individuals=1) == 2 / 4


def test_a_recorded_search_says_the_command_that_repeats_it():
    run, *_ = work.searches("cifar10")["random"]
    assert work.repeat(run) == (
        "reuseprior evolve cpu-hours-cifar10-random --seed 0 --output "
        f"build/again/{run.name}  # commit {run.summary['commits'][0][:7]}"
    )
