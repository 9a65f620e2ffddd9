"""What the recorded searches say."""

from types import SimpleNamespace

import pandas as pd
import pytest

from reuseprior.chapters import revolver
from reuseprior.chapters import revolver as work


def test_the_table_of_results_is_read_from_the_searches():
    runs = work.runs()
    table = work.results_table(runs)
    for run in runs:
        assert table.test[run.name] == 100 * run.summary["test_accuracy"]
        accuracies = work.tables_of(run, "trainings").accuracy
        last = {120: 19, 108: 17, 60: 9}[len(accuracies)]  # as 200 of 1,280
        assert table["mean validation"][run.name] == 100 * accuracies[-last:].mean()
        assert run.commits and not any(commit.endswith("-dirty") for commit in run.commits)
    assert {"mnist", "cifar10"} <= set(table.data)


def test_networks_count_by_how_often_they_were_trained_and_when_they_were_born(monkeypatch):
    trained = {"individual": [1, 1, 2, 1, 3], "accuracy": [0.1, 0.5, 0.9, 0.7, 0.2]}
    born = {"child": [1, 2, 3], "operator": ["initial", "random", "mutation"]}
    tables = {"trainings": trained, "lineage": born}
    monkeypatch.setattr(revolver, "tables_of", lambda run, name: pd.DataFrame(tables[name]))
    monkeypatch.setattr(revolver, "last_trainings", lambda trainings: 4)
    run = SimpleNamespace(name="one")
    found = work.by_times_trained([run], most=3).one
    assert list(found) == pytest.approx([57.5, 60, 70, float("nan")], nan_ok=True)
    best = work.first_and_later([run]).loc["one"]
    assert list(best) == pytest.approx([70, 90, 20])


def test_the_searches_without_focus_differ_by_the_newborn_alone():
    """An audit's own numbers: genetic less random, by how many trainings are too few to count."""
    audited = {
        "mnist": [-16.0, -9.2, -2.4, -1.3, 0.4, 0.5],
        "cifar10": [-1.1, 0.4, 1.8, 2.7, 2.7, 3.1],
    }
    old = [run for run in work.runs() if not run.config["settings"].get("focus", False)]
    for data, expected in audited.items():
        means = [
            work.by_times_trained(
                run for run in old if run.config["data"] == data and run.summary["mode"] == mode
            ).mean(axis=1)
            for mode in ("evolve", "random")
        ]
        assert list(means[0] - means[1]) == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("data", ["mnist", "cifar10"])
def test_searches_of_a_seed_begin_with_the_same_population(data):
    """Which is why they are compared in pairs."""
    first = {}
    for runs in work.searches(data).values():
        for run in runs:
            lineage = work.tables_of(run, "lineage").query("operator == 'initial'")
            first.setdefault(run.config["seed"], []).append(lineage.parameters.tolist())
    assert any(len(begun) == 2 for begun in first.values())
    for begun in first.values():
        assert all(one == begun[0] for one in begun)
    assert len({str(begun[0]) for begun in first.values()}) == len(first)


def test_untrained_populations_hold_what_is_drawn():
    table, *_ = tables = revolver.untrained("cpu-hours-cifar10-random", 3)
    assert len(tables) == 3 and not table.equals(tables[1])
    assert set(table[table.kind == "conv"].kernel_size) == {1, 3}
    assert table.individuals.max() <= 8 and (table.individuals > 1).any()


def test_the_share_of_a_kernel_size_counts_shared_convolutions():
    rows = [("conv", 3, 2), ("conv", 1, 5), ("conv", 1, 2), ("conv", 3, 1), ("deconv", 3, 9)]
    modules = pd.DataFrame(rows, columns=["kind", "kernel_size", "individuals"])
    assert work.kernel_share(modules) == 1 / 3
    assert work.kernel_share(modules, individuals=1) == 2 / 4


def test_a_recorded_search_says_the_command_that_repeats_it():
    run, *_ = work.searches("cifar10")["random"]
    assert work.repeat(run) == (
        "OMP_NUM_THREADS=1 ATEN_CPU_CAPABILITY=avx512 reuseprior evolve cpu-hours-cifar10-random "
        f"--seed 0 --output build/again/{run.name}  # commit {run.summary['commits'][0][:7]}"
    )
