"""Recorded trainings: what may be compared, what is said of it, and what the ledger needs."""

import re
import shlex
from dataclasses import asdict
from itertools import pairwise

import pandas as pd
import pytest

from reuseprior import data, paths
from reuseprior.chapters import sharing_runs
from reuseprior.cli.app import parse_settings
from reuseprior.report import campaign
from reuseprior.results import CONFIG, ResultError, Run, read_json
from reuseprior.training import Protocol
from tests.chapters import runs
from tests.chapters.runs import rewrite

CPU = Protocol.load("cpu")


@pytest.fixture
def folder(root):
    return root / "train-cpu"


def record(
    folder, model="b0", sharing="none", seed=0, *, state="finished", metrics=None, **changes
):
    """A run as the trainer writes it; `changes` go to the protocol or to the configuration."""
    own = {key: changes.pop(key) for key in list(changes) if key in vars(CPU)}
    config = {
        "model": f"efficientnetv2-{model}", "sharing": sharing, "data": "cifar10", "classes": 10,
        "images": {"train": 50_000, "test": 10_000}, "data_checksum": "c", "seed": seed,
        "parameters": 1, "protocol": vars(CPU) | own,
    } | changes  # fmt: skip
    place = folder / f"{config['model']}-{sharing}-{len(list(folder.glob('*')))}"
    measured = {"test_accuracy": 0.5, "processes": 1, "threads": 1, "images_per_second": 1.0}
    return runs.record(place, config, metrics, state=state, **measured)


def set_in(words):
    """What a command, split into words, sets."""
    return parse_settings(value for key, value in pairwise(words) if key == "--set")


def test_only_finished_runs_of_the_tables_models_on_the_data_are_read(folder):
    kept = record(folder)
    record(folder, seed=1, state="interrupted")
    record(folder, seed=1, data="digits", classes=3)
    other = record(folder, seed=2)
    for model in ({"model": "resnet50-v1"}, {}):
        rewrite(other, lambda c, model=model: {k: c[k] for k in c if k != "model"} | model)
        assert [run.folder for run in sharing_runs.runs("cpu", "cifar10")] == [kept]


UNLIKE = [
    ({"epochs": 3, "seed": 1}, r"protocol\.epochs = 3 and efficientnetv2-b0-none-0 beside it"),
    ({"model": "s", "width": 1.0}, r"protocol\.width = 1\.0 and .* beside it has 0\.25: move"),
    ({"seed": 1, "image_size": 32}, r"protocol\.image_size = 32 and"),
    ({"seed": 1, "images": {"train": 9, "test": 10_000}}, r"images\.train = 9 and"),
    ({"seed": 1, "data_checksum": "d"}, "data_checksum = d and"),
    ({}, "are the same model and seed: keep one"),
]


@pytest.mark.parametrize(("changes", "sentence"), UNLIKE)
def test_runs_that_were_not_trained_alike_are_refused(folder, changes, sentence):
    record(folder)
    record(folder, **changes)
    with pytest.raises(ResultError, match=sentence) as caught:
        sharing_runs.runs("cpu", "cifar10")
    assert "\n" not in str(caught.value)


def test_a_model_may_have_image_sizes_of_its_own_and_what_a_package_did_not_know_is_at_rest(folder):
    record(folder)
    record(folder, "s", image_size=300, test_image_size=384)
    old = record(folder, seed=1)
    rewrite(old, lambda config: (config["protocol"].pop("test_every") and config) or config)
    assert len(sharing_runs.runs("cpu", "cifar10")) == 3


def test_without_runs_one_sentence_says_how_to_make_them(folder):
    message = r"train-cpu is finished: make one with `reuseprior train efficientnetv2-b0 --data ci"
    for _ in range(2):
        with pytest.raises(ResultError, match=message):
            sharing_runs.runs("cpu", "cifar10")
        record(folder, state="interrupted")


def test_curves_and_tables_are_of_every_width_and_tell_them_apart(root):
    """What equal cost is judged by is seen; the runs of one width need not say it."""
    metrics = {"epoch": [1, 2], "test_accuracy": [0.4, 0.5]}
    record(root / "train-cpu", width=0.25, metrics=metrics)
    record(root / "train-cpu,width=0.5", width=0.5, metrics=metrics)
    record(root / "train-cpu,image_size=96", image_size=96)
    record(root / "train-cpuless")
    narrow, wide = found = sharing_runs.at_all_widths("cpu", "cifar10")
    assert sharing_runs.names([narrow]) == sharing_runs.names([wide]) == ["V2-B0"]
    both = ["V2-B0, width 0.25", "V2-B0, width 0.5"]
    assert sharing_runs.names(found) == both
    assert list(sharing_runs.curves(found).model.unique()) == both
    assert sorted(sharing_runs.trained(found).model) == both


def test_recipes_are_compared_by_images_held_out(root):
    assert sharing_runs.recipes("cpu-hours").empty
    plan = asdict(Protocol.load("cpu-hours", model="efficientnetv2-b0"))
    blind = {"validation": 0.0, "test_every": 1, "epochs": 6, "gradient_clip": 1.0}
    images = {"train": 45_000, "test": 5000}
    place = root / "recipe-cpu-hours"
    record(place, data="cifar10 without its test images", images=images, protocol=plan | blind)
    record(place, images=images, protocol=plan, state="interrupted")
    (only,) = sharing_runs.recipes("cpu-hours").to_dict("records")
    assert only.pop("recipe") and only == {
        "model": "V2-B0", "otherwise": "epochs=6 gradient_clip=1.0", "seed": 0,
        "held out": 5000, "accuracy": 50.0,
    }  # fmt: skip
    (again,) = map(sharing_runs.repeat, sharing_runs.comparisons("cpu-hours"))
    words = shlex.split(again.partition("  #")[0])
    assert words[:2] == ["OMP_NUM_THREADS=1", "ATEN_CPU_CAPABILITY=avx2"] and "--blind" in words
    assert words[words.index("--data") + 1] == "cifar10"
    sighted = {"validation": 0.1, "test_every": 0}  # which --blind changes
    meant = Protocol(**plan | blind | sighted)
    assert Protocol.load("cpu-hours").changed(set_in(words)) == meant


def test_how_often_a_run_looked_at_the_test_images_is_counted(folder):
    def run(seen, **images):
        metrics = pd.DataFrame({"test_accuracy": seen})
        return Run("r", folder / "r", {"images": images}, metrics, {})

    once, often = run([None, 0.5], validation=5000), run([0.4, 0.5])
    table = sharing_runs.looks([once, once, often]).set_index("looks")
    assert table.loc[1].tolist() == ["train-cpu", 5000, 2]
    assert table.loc[2].tolist() == ["train-cpu", 0, 1]


def test_every_recorded_run_is_there_to_be_repeated(root):
    ours = ("train-cpu", "train-cpu-hours,width=0.5", "train-cifar-resnet,image_size=56")
    kept = {record(root / name) for name in ours}
    kept.add(record(root / "train-cpu-hours", data="cifar100", classes=100))
    record(root / "train-cpu-hours", state="interrupted")
    record(root / "train-thesis")
    rewrite(record(root / "train-cpu", model="other"), lambda _: {"data": ""})
    found = sharing_runs.all_recorded()
    assert {run.folder for run in found} == kept
    again = {sharing_runs.repeat(run).split(" --output ")[1] for run in found}
    assert len(again) == len(kept)  # none in the place of another


def test_the_names_of_tables_lead_to_models_and_back(folder):
    record(folder, "s", "all_but_bn")
    resnet = record(folder, sharing="all_but_bn", seed=1)
    rewrite(resnet, lambda config: config | {"model": "resnet56-cifar"})
    found = {
        sharing_runs.label(run.config): run.config for run in sharing_runs.runs("cpu", "cifar10")
    }
    assert sorted(found) == ["ResNet-56-shared", "V2-S-shared"]
    for name, config in found.items():
        assert sharing_runs.recipe_of(name) == (config["model"], config["sharing"])


def cycle(gained):
    """The course of 30 epochs that flattens as the rate falls to zero: 0.9 − gained·(1 − x)²."""
    return [0.9 - gained * (1 - i / 30) ** 2 for i in range(1, 31)]


COURSES = [  # accuracies, what the last tenth gained, whether it has settled
    ([0.5 + 0.01 * i for i in range(20)], 2.0, False),  # rises to the end
    (cycle(0.4), 0.4, True),
    (cycle(0.8), 0.8, False),  # it flattens too, and gains more than the error of 0.42
    ([0.7] * 9, float("nan"), False),  # too few epochs to say
]


@pytest.mark.parametrize(("course", "gain", "stopped"), COURSES)
def test_a_model_has_settled_when_its_last_tenth_gains_less_than_the_error(course, gain, stopped):
    run = of_course(course)
    assert sharing_runs.last_gain(run) == pytest.approx(gain, nan_ok=True)
    assert sharing_runs.settled([run]) == [run] * stopped


def of_course(course, model="resnet20-cifar", width=1.0):
    metrics = pd.DataFrame({"validation_accuracy": course, "test_accuracy": [None] * len(course)})
    config = {
        "model": model, "sharing": "none", "protocol": {"width": width},
        "images": {"validation": 5000},
    }  # fmt: skip
    return Run("r", paths.ROOT, config, metrics, {})


def test_seeds_of_a_model_are_compared_together_or_not_at_all():
    """One by one, those that chance put high at the end would be dropped. The error is 0.42."""
    still, rising = ([0.9 - gain] * 18 + [0.9] * 2 for gain in (0.001, 0.006))
    mean = [of_course(still), of_course(rising)]  # of 0.35
    others = [of_course(still, width=0.5), of_course(rising, "resnet56-cifar")]
    more = [of_course(rising, width=0.5)] * 2  # with the still one, 0.43
    assert sharing_runs.settled([*mean, *others]) == [*mean, others[0]]
    assert sharing_runs.settled([*mean, *others, *more]) == mean


@pytest.mark.slow
def test_live_runs_are_recorded_where_they_are_read_and_go_on(root, monkeypatch):
    digits = data.load("digits")
    short = CPU.changed(
        {"epochs": 1, "train_images": 64, "test_images": 50, "image_size": 8, "test_image_size": 8}
    )
    monkeypatch.setattr(Protocol, "load", lambda *_, **__: short)
    options = {"seed": 0, "progress": False}
    alone = sharing_runs.live("cpu", "digits", root=None, **options)
    assert list(alone.index) == ["V2-b0", "V2-b0-shared"] and not list(root.iterdir())
    table = sharing_runs.live("cpu", "digits", root=root, **options)
    assert table.equals(alone)
    found = sharing_runs.runs("cpu", "digits")
    assert [sharing_runs.label(run.config) for run in found] == ["V2-B0-shared", "V2-B0"]
    assert [run.config["classes"] for run in found] == [digits.classes] * 2
    for run in found:
        next(run.folder.glob("*.safetensors")).unlink()  # as a finished run is committed
    monkeypatch.setattr(campaign, "train", None)  # another training would fail
    assert sharing_runs.live("cpu", "digits", root=root, **options).equals(table)


def models(*rows):
    table = pd.DataFrame(rows, columns=["model", "seeds", "accuracy", "sd"])
    return table.assign(params=[50, 100])


# seeds, accuracy and standard deviation of two models; what is said. The p of Welch's test are
# scipy's on samples with these means and deviations.
NAN = float("nan")
ORDERINGS = [
    ((3, 96.0, 0.1), (3, 95.0, 0.1), r"scores above V2-B0 .* 3 and 3 seeds, p = 0\.00026\), as in"),
    ((3, 95.0, 0.1), (3, 96.0, 0.1), r"scores below V2-B0 .* so this protocol does not show"),
    # 2.8 standard errors apart, which over two seeds each is nothing
    ((2, 96.0, 0.5), (2, 95.0, 0.05), r"cannot be told apart from V2-B0 .*, p = 0\.21\), so this"),
    ((1, 96.0, NAN), (3, 90.0, 0.1), "one seed of V2-S-shared cannot tell"),
    ((1, 96.0, NAN), (1, 90.0, NAN), "one seed of V2-S-shared and of V2-B0 can"),
    ((2, 96.0, 0.0), (2, 90.0, 0.0), "cannot be told apart .* no spread over seeds to measure"),
]


@pytest.mark.parametrize(("high", "low", "said"), ORDERINGS)
def test_what_seeds_can_tell_apart(high, low, said):
    table = models(("V2-S-shared", *high), ("V2-B0", *low))
    sentence = sharing_runs.ordering(table, "V2-S-shared", "V2-B0")
    assert re.search(said, sentence), sentence
    assert sentence.startswith("V2-S-shared, with 50% fewer parameters, ")


def test_a_model_without_a_settled_run_is_not_compared():
    table = models(("V2-B0", 2, 96.0, 0.1), ("V2-B0-shared", 2, 90.0, 0.1))
    sentence = sharing_runs.ordering(table, "V2-S-shared", "V2-B0")
    assert sentence == "V2-S-shared and V2-B0: no settled run of V2-S-shared to compare."
    none = sharing_runs.ordering(sharing_runs.trained([]), "V2-S-shared", "V2-B0")
    assert none.endswith("no settled run of V2-S-shared and of V2-B0 to compare.")


def test_a_recorded_run_says_the_command_that_repeats_it():
    run = sharing_runs.runs("cpu", "cifar10")[0]
    command = sharing_runs.repeat(run)
    machine = "OMP_NUM_THREADS=1 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2"
    begin = "reuseprior train efficientnetv2-b0 --sharing all_but_bn --data cifar10 --protocol cpu"
    last = f"--output build/again/train-cpu/{run.name}  # commit {run.summary['commit'][:7]}"
    assert command.startswith(f"{machine} {begin} ") and command.endswith(f"--seed 0 {last}")


def test_a_repeated_run_has_its_settings_whatever_became_of_the_file(folder, monkeypatch):
    """A run that changed a setting, which the protocol's file then took over."""
    place = record(folder, weight_decay=0.5, ema_decay=0.0, compile=True)
    for file in (CPU, CPU.changed({"weight_decay": 0.5})):
        monkeypatch.setattr(Protocol, "load", lambda *_, file=file, **__: file)
        command = sharing_runs.repeat(Run.read(place))
        ours = Protocol(**read_json(place / CONFIG)["protocol"])
        assert CPU.changed(set_in(shlex.split(command, comments=True))) == ours
        assert "# commit unknown" in command
