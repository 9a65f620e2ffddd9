import gc
import json
import os
import random
import shutil
import signal
from dataclasses import replace
from itertools import pairwise
from weakref import WeakSet

import pytest
import torch

from reuseprior import revolver as rv
from reuseprior.results import Run
from reuseprior.revolver import blocks, strategies
from reuseprior.revolver import search as searching
from reuseprior.revolver import search as trainer
from reuseprior.revolver.population import update_scores
from reuseprior.revolver.space import learning_rate
from reuseprior.revolver.state import CurrentGeneration
from reuseprior.training import Interrupted
from tests.revolver.searches import DIGITS, SPACE, small, table, weights
from tests.training.runs import in_two_processes

MODES = ("random", "evolve", "random_warmup", "random_warmup_evolve")


def run(settings=None, folder=None, seed=0):
    search = rv.Search.start(settings or small(), DIGITS, folder, seed=seed)
    for _ in search:
        pass
    return search


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_modes(mode):
    search = run(small(mode=mode, generations=4))
    warmup = 2 if "warmup" in mode else 0
    assert [row["generation"] for row in search.rows] == list(range(1 - warmup, 5))
    assert [row["phase"] for row in search.rows] == ["warmup"] * warmup + ["training"] * 4
    for row in search.rows[:warmup]:
        assert row["best_accuracy"] is None and row["batches"] == 0
        assert row["coefficient"] == 32.0  # held constant, whether or not anybody was found
    operators = {entry["operator"] for entry in search.lineage if entry["generation"] > 0}
    words = {word for operator in operators for word in operator.split("+")}
    if mode.endswith("evolve"):
        assert words & {"crossover", "mutation", "copyover"}
        assert words <= {"crossover", "mutation", "copyover", "immigration"}
    else:
        assert words == {"random"}
    assert {entry["generation"] for entry in search.trainings} == {1, 2, 3, 4}


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search of eight generations, not finished."""
    return run(small(generations=8), tmp_path_factory.mktemp("searched") / "run")


@pytest.fixture
def again(searched, tmp_path):
    """The same, to be changed."""
    copied = shutil.copytree(searched.log.folder, tmp_path / "run")
    return rv.Search.resume(copied, DIGITS)


def test_the_rows_say_what_happened(searched):
    search = searched
    for row in search.rows:
        turns = [t for t in search.trainings if t["generation"] == row["generation"]]
        assert len(turns) + row["failures"] == 2
        assert row["batches"] == sum(turn["batches"] for turn in turns)
        assert row["best_accuracy"] == max(turn["accuracy"] for turn in turns)
        assert row["mean_loss"] == sum(turn["loss"] for turn in turns) / 2
        born = [entry for entry in search.lineage if entry["generation"] == row["generation"]]
        assert row["replaced"] == len(born)
    last = search.rows[-1]
    sharing = search.population.sharing()
    assert last["sharing_factor"] == sharing.factor
    assert last["distinct_parameters"] == sharing.distinct
    accuracies = [turn["accuracy"] for turn in search.trainings]
    assert last["moving_average"] == pytest.approx(sum(accuracies) / len(accuracies))
    assert [entry["child"] for entry in search.lineage] == list(range(len(search.lineage)))
    assert search.table.shape == (8, len(last))


def test_the_coefficient_moves_by_success_and_failure():
    search = rv.Search.start(small(generations=3, mode="random"), DIGITS, seed=0)
    before = search.state.coefficient
    search.step()
    assert search.state.coefficient == pytest.approx(before * 1.005 ** search.rows[0]["replaced"])
    for individual in search.population:  # nobody can be fitter than this
        individual.blueprint.meta["score"] = 1e-9
    before = search.state.coefficient
    search.state.current = search._begin()
    assert search.state.current.replaced == 0
    assert search.state.coefficient == pytest.approx(before * 0.985**6)  # two slots, three passes
    search.state.coefficient = 0.001
    search._begin()
    assert search.state.coefficient == 0.001


def test_the_best_is_a_trained_one_and_keeps_its_weights(again):
    search, folder = again, again.log.folder
    best = search.best()
    top = max(search.trainings, key=lambda turn: (turn["accuracy"], -turn["loss"]))
    assert (best.number, best.generation) == (top["individual"], top["generation"])
    assert (best.accuracy, best.loss) == (top["accuracy"], top["loss"])
    model = search.best_model()
    loss, accuracy = search.trainer.validate(model)
    assert (loss, accuracy) == (best.loss, best.accuracy)  # though its modules were trained on
    assert sum(p.numel() for p in model.parameters()) == best.blueprint.parameters()
    summary = search.finish().summary
    assert summary["state"] == "finished" and summary["generations"] == 8
    assert summary["test_accuracy"] == search.trainer.test(model, search.data.test)[1]
    assert summary["parameters"] == best.blueprint.parameters()
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "metrics.csv", "summary.json", "trainings.csv", "lineage.csv",
        "modules.csv", "blueprints.json", "checkpoint.safetensors",
    }  # fmt: skip
    shown = json.loads((folder / "blueprints.json").read_text())["best_by_validation"]
    assert shown["blueprint"] == best.blueprint.to_data()
    before = (folder / "summary.json").read_bytes()
    assert rv.Search.resume(folder, DIGITS).finish().summary == summary
    assert (folder / "summary.json").read_bytes() == before


def turn_of(search, slot):
    """Give an individual one turn, in a generation of its own."""
    current = CurrentGeneration(search.generation + 1, 0, [slot], len(search.trainings))
    search.state.current = current
    search.step()
    return search.population[slot]


def test_remembered_are_those_whose_modules_others_trained_since(tmp_path):
    search = rv.Search.start(small(generations=9), DIGITS, tmp_path / "run", seed=0)
    shared = {slot: set(one.modules) for slot, one in enumerate(search.population)}
    a, b = next(
        (a, b) for a in shared for b in shared if a != b
        and any(search.population[a].modules[n].parameters for n in shared[a] & shared[b])
    )  # fmt: skip
    first = turn_of(search, a)
    assert search.summary()["remembered"] == []  # nobody else was trained
    turn_of(search, b)
    (only,) = search.summary()["remembered"]  # b's own turn was the last that its modules had
    now = search.trainer.validate(search.registry.build(first.blueprint))[1]
    assert only == {"individual": first.number, "when_trained": first.accuracy, "now": now}
    beside = shutil.copytree(tmp_path / "run", tmp_path / "beside")
    again = rv.Search.resume(beside, DIGITS)
    assert again.summary()["remembered"] == [only]
    again.state.trained_by = None  # as after a checkpoint that does not say
    assert again.summary()["remembered"] is None
    turn_of(search, a)
    (other,) = search.summary()["remembered"]
    assert other["individual"] == search.population[b].number


def test_an_individual_that_forgot_everything_ends_no_search(again, monkeypatch):
    search, before = again, again.summary()["remembered"]
    lost = next(one for one in search.population if one.number == before[0]["individual"])
    validate = search.trainer.validate

    def broken(module):
        if module is search.registry.build(lost.blueprint, lost.scopes):
            raise trainer.TurnFailed("the loss is nan")
        return validate(module)

    monkeypatch.setattr(search.trainer, "validate", broken)
    summary = search.finish().summary
    assert summary["state"] == "finished"
    assert summary["remembered"] == [before[0] | {"now": None}, *before[1:]]


def test_no_best_before_the_first_training():
    search = rv.Search.start(small(), DIGITS)
    with pytest.raises(rv.SearchError, match="no individual was trained yet, after generation 0"):
        search.best()
    assert "test_accuracy" not in search.summary()


def test_14_training_validation_and_test_images_are_disjoint():
    parts, first = {}, 0
    for name in ("train", "test"):  # every image its own number, in the first pixels
        images = getattr(DIGITS, name)
        numbers = torch.arange(first, first := first + len(images))
        pixels = images.images.clone()
        pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = numbers % 256, numbers // 256
        parts[name] = replace(images, images=pixels)
    search = rv.Search.start(small(train_images=0, test_images=0), replace(DIGITS, **parts))
    trained, held_out = search.trainer._batches._images, search.trainer._held_out._images
    assert len(trained) + len(held_out) == len(DIGITS.train) and len(held_out) == 144
    every = torch.cat((trained, held_out, search.data.test.images))[:, 0, 0, :2].tolist()
    assert len({tuple(pixels) for pixels in every}) == len(every)


def test_9_training_changes_what_is_shared_and_nothing_else():
    search = rv.Search.start(small(population=8, generations=5), DIGITS)
    search.step()
    for _ in range(3):
        before = weights(search)
        search.state.current = search._begin()  # searching and building change no weight
        assert unchanged(before, weights(search))
        slot = search.state.current.left[0]
        search.state.current.left = [slot]
        before = weights(search)
        with torch.random.fork_rng():
            search._take_turn(trainer.Stop())
        held = set(search.population[slot].modules)
        changed = {key for key, value in weights(search).items() if value != before[key]}
        assert changed and {key.rpartition(":")[0] for key in changed} <= held
        leaves = {key for key in before if key.rpartition(":")[0] in held}
        assert {key for key in leaves if key.endswith(":weight")} <= changed


def unchanged(before, after):
    """Whether the weights that are there still are as they were."""
    return all(after[name] == value for name, value in before.items() if name in after)


@pytest.mark.slow
def test_7_replacements_leave_no_trace():
    search = rv.Search.start(small(population=6, keep_modules=4), DIGITS)
    seen = WeakSet()
    for number in range(60):
        breeder, found = search._breeder(), None
        if number % 5 == 0:
            found = strategies.genetic_search(breeder, search.population, float("inf"))
        found = found or breeder.generate()
        search._place(number % 6, found, generation=1)
        search._collect()
        seen.update(search.registry.modules.values())
        update_scores(found.blueprint.scopes(), 1.0, search.population.scores)
    del found
    gc.collect()
    modules = search.registry.modules
    living = {name for individual in search.population for name in individual.modules}
    assert living <= set(modules) and len(set(modules) - living) <= 4
    assert set(seen) <= set(modules.values())  # nothing else holds one that was left out
    assert set(search.population.scores) <= set(modules)
    search.registry.collect(search.population.blueprints())
    assert set(search.registry.modules) == living


@pytest.mark.slow
def test_two_searches_in_one_process_do_not_meet():
    alone = [run(small(generations=2), seed=seed) for seed in (0, 1)]
    both = [rv.Search.start(small(generations=2), DIGITS, seed=seed) for seed in (0, 1)]
    random.seed(1), torch.manual_seed(1)
    state = torch.get_rng_state()
    for _ in range(2):
        for search in both:
            search.step()
    assert torch.equal(torch.get_rng_state(), state)
    for one, other in zip(alone, both, strict=True):
        assert table(one) == table(other) and weights(one) == weights(other)
    assert table(alone[0]) != table(alone[1])


def break_turns(monkeypatch, how, turns):
    """Let another function be the loss in some turns."""
    train = trainer.Trainer.train

    def broken(trainer_, turn, *arguments):
        with monkeypatch.context() as patch:
            if turn.number in turns:
                patch.setattr(blocks.Session, "loss", how)
            return train(trainer_, turn, *arguments)

    monkeypatch.setattr(trainer.Trainer, "train", broken)


def nan(session, outputs, labels):
    return outputs.sum() * float("nan")


def out_of_memory(session, outputs, labels):
    raise torch.OutOfMemoryError("CUDA out of memory.\n Tried to allocate 2 GiB")


FAILURES = [
    (nan, "the loss is nan"),
    (out_of_memory, "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("how", "reason"), FAILURES)
def test_who_cannot_be_trained_is_replaced_and_noted(tmp_path, monkeypatch, how, reason):
    break_turns(monkeypatch, how, turns=(3, 6))
    search = run(small(generations=4, mode="random"), tmp_path)
    assert [row["failures"] for row in search.rows] == [0, 1, 1, 0]
    assert all(torch.isfinite(t).all() for t in search.registry.state()[0].values())
    notes = sorted((tmp_path / "failures").iterdir())
    assert len(notes) == 2
    note = json.loads(notes[0].read_text())
    assert note["generation"] == 2 and note["reason"].startswith(reason)
    failed = rv.Individual.from_data(note["individual"])
    rv.check(failed.blueprint)
    assert failed.number not in [individual.number for individual in search.population]
    assert failed.number not in [t["individual"] for t in search.trainings if t["generation"] > 1]
    assert search.rows[1]["replaced"] + 1 == sum(e["generation"] == 2 for e in search.lineage)


def test_who_has_nothing_to_train_is_replaced(tmp_path):
    settings = small(generations=1, population=3, sample=3, replacements=1, mode="random")
    search = rv.Search.start(settings, DIGITS, tmp_path)
    for individual in search.population:
        search.registry.freeze(individual.blueprint)
    row = search.step()  # one of the three is replaced before training
    assert row["replaced"] == 1 and row["failures"] == 2
    notes = [json.loads(path.read_text()) for path in (tmp_path / "failures").iterdir()]
    assert [note["reason"] for note in notes] == ["all its modules are frozen"] * 2


@pytest.mark.slow
def test_when_nobody_can_be_trained_the_search_says_so_and_weights_are_as_they_were(monkeypatch):
    break_turns(monkeypatch, nan, turns=range(1000))
    search = rv.Search.start(small(generations=20, mode="random"), DIGITS)
    before = weights(search)
    message = "20 individuals one after another could not be trained, up to generation 10 .the last"
    with pytest.raises(rv.SearchError, match=message):
        for _ in search:
            after = weights(search)
            assert unchanged(before, after)
            before = after


def test_models_that_are_too_large_are_discarded():
    limit = 2000
    search = run(small(max_parameters=limit, generations=4))
    assert all(entry["parameters"] <= limit for entry in search.lineage)
    with pytest.raises(rv.SearchError, match="random models have at most max_parameters 20: raise"):
        rv.Search.start(small(max_parameters=20), DIGITS)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "folder"), [(signal.SIGTERM, "run"), (signal.SIGINT, None)])
def test_a_signal_stops_within_a_turn_and_the_rest_is_the_same(
    tmp_path, monkeypatch, number, folder
):
    settings = small(optimizer_state="scope", focus=True)
    whole = run(settings)
    search = rv.Search.start(settings, DIGITS, folder and tmp_path / folder)
    original = blocks.Session.loss
    calls = []

    def loss(session, outputs, labels):
        calls.append(1)
        if len(calls) == 30:
            os.kill(os.getpid(), number)
        return original(session, outputs, labels)

    monkeypatch.setattr(blocks.Session, "loss", loss)
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=r"stopped in generation 4"):
        for _ in search:
            pass
    assert signal.getsignal(number) is before and len(calls) == 30
    if folder:
        assert Run.read(tmp_path / folder).summary["state"] == "interrupted"
        search = rv.Search.resume(tmp_path / folder, DIGITS)
    for _ in search:
        pass
    assert table(search) == table(whole) and weights(search) == weights(whole)


@pytest.mark.slow
def test_options_are_followed():
    few = {"train_images": 200, "test_images": 20}
    plain = {generations: run(small(**few, generations=generations)) for generations in (1, 2)}
    for generations, changes in (
        (1, {"fitness": "P_G_spread"}), (1, {"fitness": "author"}), (1, {"budget": "author"}),
        (2, {"optimizer_state": "scope"}), (2, {"inherit": True}), (1, {"precision": "bfloat16"}),
        (1, {"augmentation": "flip_crop"}), (1, {"focus": True}),
        (1, {"space": replace(SPACE, norm_scope="use", unique=0.0)}), (1, {"immigration": 1.0}),
        (2, {"elimination": 1.0}), (1, {"label_smoothing": 0.2}), (1, {"copyover_chance": 1.0}),
    ):  # fmt: skip
        search = run(small(**few, generations=generations, **changes))
        assert table(search) != table(plain[generations]), changes


def test_weights_are_laid_out_as_told(monkeypatch):
    """Which changes a number on some processors only."""
    layouts, loss = [], blocks.Session.loss

    def seen(session, outputs, labels):
        weights = [p for p in session.parameters() if p.dim() == 4 and min(p.shape[1:]) > 1]
        layouts.extend(w.is_contiguous(memory_format=torch.channels_last) for w in weights)
        return loss(session, outputs, labels)

    monkeypatch.setattr(blocks.Session, "loss", seen)
    for told in (False, True):
        layouts.clear()
        run(small(train_images=200, test_images=20, generations=1, channels_last=told))
        assert layouts and set(layouts) == {told}


@pytest.mark.slow
@pytest.mark.parametrize("focus", [False, True])
def test_in_the_last_part_only_the_best_are_trained_and_bred_from(monkeypatch, focus):
    worst = {}  # the rank of the worst that was chosen, of all that could be

    def spy(population, count, rng, settings, *, exclude=(), **options):
        chosen = strategies_pick(population, count, rng, settings, exclude=exclude, **options)
        ranked = [slot for slot in population.ranked() if slot not in exclude]
        key = search.generation + 1, "parents" if exclude else "trained"
        worst[key] = max(worst.get(key, 0), *(1 + ranked.index(slot) for slot in chosen))
        return chosen

    strategies_pick = strategies.pick
    for module in (strategies, searching):
        monkeypatch.setattr(module, "pick", spy)
    search = rv.Search.start(small(population=16, generations=20, sample=3, focus=focus), DIGITS)
    for search.state.generation in [15] * 9 + [16] * 9:
        search._begin()
    assert worst[16, "trained"] > 5 and worst[16, "parents"] > 4  # of 16 and 14
    if focus:  # as many as are chosen and two more
        assert (worst[17, "trained"], worst[17, "parents"]) == (5, 4)
    else:
        assert worst[17, "trained"] > 5 and worst[17, "parents"] > 4


def test_immigrants_beat_the_best_and_get_fewer():
    settings = small(immigration=0.4, generations=100)
    chances = [strategies.immigration_chance(settings, g) for g in (1, 51, 100)]
    assert chances == pytest.approx([0.4, 0.2, 0.004])
    search = rv.Search.start(small(), DIGITS)
    breeder, best = search._breeder(), min(i.score for i in search.population)
    for _ in range(10):
        found = strategies.genetic_search(breeder, search.population, 1e9, immigration=1.0)
        if found.operator == "immigration":
            assert found.fitness < best and found.parents == ()


def test_the_learning_rate_is_constant_and_then_falls_exponentially():
    settings = rv.Settings(generations=160)
    rates = [learning_rate(settings, generation) for generation in range(1, 161)]
    assert rates[:100] == [0.35] * 100
    ratios = [b / a for a, b in pairwise(rates[99:])]
    assert ratios == pytest.approx([(0.00085 / 0.35) ** (1 / 60)] * 60)
    assert rates[-1] == pytest.approx(0.00085)
    assert learning_rate(rv.Settings(generations=50), 50) == 0.35


PARALLEL_SETTINGS = small(
    generations=2, batch_size=64, learning_rate=0.01, mode="random", test_images=51
)


def fail_alone():
    """One process fails in training and then in validation; the other gives up with it."""
    search = rv.Search.start(PARALLEL_SETTINGS, DIGITS)
    forward, failures = blocks.Session.forward, []

    def fails(module, *arguments):
        failures.append(1)
        raise RuntimeError("out of memory")

    if search.trainer.accelerator.process_index == 1:
        blocks.Session.forward = fails
    individual = search.population[0]
    module = search.registry.build(individual.blueprint)
    tensors = search.registry.tensors(individual.scopes)
    turn = trainer.Turn(slot=0, number=1, rate=0.1, total=2)
    message = "out of memory|another process could not"
    with pytest.raises(trainer.TurnFailed, match=message):
        search.trainer.train(turn, module, tensors, trainer.Stop())
    blocks.Session.forward = forward
    if search.trainer.accelerator.process_index == 0:
        type(module).forward = fails
    with pytest.raises(trainer.TurnFailed, match=message):
        search.trainer.validate(module)
    assert failures


def search_as_one_of_two(folder):
    search = run(PARALLEL_SETTINGS, folder)
    search.finish()
    every = [None, None]
    torch.distributed.all_gather_object(every, (weights(search), table(search)))
    assert every[0] == every[1], "the processes came apart"
    fail_alone()


@pytest.mark.slow
def test_two_processes_choose_as_one_and_stay_together(tmp_path):
    alone = run(PARALLEL_SETTINGS)
    in_two_processes("tests.revolver.test_search", f"search_as_one_of_two({str(tmp_path)!r})")
    both = Run.read(tmp_path)
    assert both.summary["processes"] == 2 and both.summary["state"] == "finished"
    same = ["generation", "replaced", "distinct_parameters", "coefficient", "batches", "modules"]
    for one, other in zip(alone.rows, both.metrics.to_dict("records"), strict=True):
        assert [one[key] for key in same] == [other[key] for key in same]
        # batch norms see half of each batch, so weights differ a little
        assert other["mean_loss"] == pytest.approx(one["mean_loss"], rel=0.05)
