"""The first epoch or generation that trained of a recorded run gives the recorded numbers again."""

import pytest
import torch

from reuseprior import data, paths, revolver
from reuseprior.models import Recipe
from reuseprior.results import Recording, Run, provenance
from reuseprior.training import Protocol, train

# One run of each kind; of several in order the first that is recorded.
TRAININGS = {
    "ResNets": ("train-cifar-resnet/resnet20-cifar-none-cifar10-seed0",),
    "EfficientNetV2": (
        "train-cpu-hours/efficientnetv2-b0-none-cifar10-seed0",
        "train-cpu/efficientnetv2-b0-none-cifar10-seed0",
    ),
}
SEARCHES = {
    "MNIST": ("revolver/cpu-hours-mnist-evolve-seed0", "revolver/cpu-mnist-evolve-seed0"),
    "CIFAR-10": ("revolver/cpu-hours-cifar10-evolve-seed0",),
}
OF_A_CLOCK = {"seconds", "images_per_second"}


class FirstRow(Exception):
    """The first epoch is done."""


@pytest.fixture
def recorded():
    """A function from places to the first run there; it leaves torch's threads as they were."""
    threads = torch.get_num_threads()

    def first(places):
        there = [place for place in places if (paths.RESULTS / place / "config.json").exists()]
        if not there:
            pytest.skip(f"not recorded yet: {', '.join(places)}")
        run = Run.read(paths.RESULTS / there[0])
        device = provenance(seed=0, device="cpu", data_checksum=None)["device"]
        if (run.summary["device"], torch.cuda.is_available()) != (device, False):
            pytest.skip(f"recorded on {run.summary['device']}, and this is {device}")
        torch.set_num_threads(run.summary["threads"])
        return run

    yield first
    torch.set_num_threads(threads)


def load(name):
    try:
        return data.load(name)
    except data.DataError as error:
        pytest.skip(str(error))


def agree(now, then):
    measured = set(now) - OF_A_CLOCK
    assert len(measured) > 3
    for name in measured:
        if now[name] is None:
            assert then[name] != then[name], name  # NaN is an empty cell
        elif isinstance(now[name], str):
            assert now[name] == then[name]
        else:
            assert now[name] == pytest.approx(then[name], rel=1e-6), name


@pytest.mark.slow
@pytest.mark.parametrize("kind", TRAININGS)
def test_the_first_epoch_of_a_training(recorded, kind, tmp_path, monkeypatch):
    run = recorded(TRAININGS[kind])

    def stop(self, row):
        raise FirstRow(row)

    monkeypatch.setattr(Recording, "append", stop)
    config = run.config
    with pytest.raises(FirstRow) as first:
        train(
            Recipe.recorded(config).build(), load(config["data"]), Protocol(**config["protocol"]),
            tmp_path / "again", seed=config["seed"], progress=False,
        )  # fmt: skip
    agree(first.value.args[0], run.metrics.iloc[0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", SEARCHES)
def test_the_first_generation_of_a_search_that_trained(recorded, kind):
    run = recorded(SEARCHES[kind])
    settings = revolver.Settings.from_data(run.config["settings"])
    search = revolver.Search.start(settings, load(run.config["data"]), seed=run.config["seed"])
    for _, then in run.metrics.iterrows():
        now = search.step()
        agree(now, then)
        if now["batches"]:
            break
    assert now["batches"] == then["batches"] > 0 and 0 < now["best_accuracy"] <= 1
