import json
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reuseprior import revolver as rv
from reuseprior.revolver import blocks
from reuseprior.revolver.population import update_scores
from reuseprior.revolver.strategies import budget, pick, slots_to_replace
from tests.revolver.worlds import SMALL, populate, property_test, settled


def population(scores):
    """Individuals with these scores, each a small model."""
    tags, rng = rv.Tags(), random.Random(0)
    return populate([rv.generate(SMALL, rng, tags) for _ in scores], scores)


def test_an_untrained_individual_scores_its_fitness():
    found = population([3.0, 1.0, 2.0])
    assert [individual.score for individual in found] == [3.0, 1.0, 2.0]
    assert found.ranked() == [1, 2, 0]
    assert found.trained() == []
    assert {node.meta["score"] for _, node in found[0].blueprint.walk()} == {3.0}


def unit():
    """A block with two children: a shared convolution and a unique batch norm."""
    return settled(blocks.unit(blocks.conv((4, 4, 4), 4), ("conv", "bn")))


def test_scores_go_up_the_tree_by_hand():
    node = unit()
    conv, norm = node.at("conv"), node.at("bn")
    for part in (node, conv, norm):
        part.meta["score"] = 3.0
    scores = {conv.name: 2.0}
    update_scores(node.scopes(), 1.0, scores)
    new = {"conv": 0.7 + 0.2 + 0.1 * 2.0, "bn": 0.7 + 0.2 + 0.1}
    expected = {role: 0.5 * value + 0.5 * 3.0 for role, value in new.items()}
    assert conv.meta["score"] == pytest.approx(expected["conv"])
    assert norm.meta["score"] == pytest.approx(expected["bn"])
    whole = 0.7 + 0.2 * sum(expected.values()) / 2 + 0.1
    assert node.meta["score"] == pytest.approx(0.5 * whole + 0.5 * 3.0)
    assert scores == {conv.name: pytest.approx(0.05 * expected["conv"] + 0.95 * 2.0)}
    for _ in range(200):  # and follow a constant fitness
        update_scores(node.scopes(), 0.5, scores)
    assert node.meta["score"] == pytest.approx(0.5, abs=1e-3)
    assert scores[conv.name] == pytest.approx(0.5, abs=1e-3)


def test_ranking_is_of_shared_modules_with_parameters():
    found = rv.Population()
    for number in range(2):
        shared = blocks.conv((4, 4, 4), 8, 1)
        net = blocks.resnet(blocks.conv((3, 4, 4), 4), [blocks.residual_group([shared])], 3)
        net = settled(net, rv.Tags(count=number))
        found.place(number, rv.Individual(number, net, fitness=2.0))
        update_scores(net.scopes(), 1.0 + number, found.scores)
    ranking = found.ranking()
    names = [module.name for module in ranking]
    assert "conv4_8_1_1_0_1_1_F" in names and not any("batch_norm" in name for name in names)
    module = ranking[names.index("conv4_8_1_1_0_1_1_F")]
    assert module[1:5] == ("conv", 4, 8, 1)
    assert (module.parameters, module.individuals, module.uses) == (32, 2, 2)
    assert module.score == found.scores[module.name]
    assert [m.score for m in ranking] == sorted(m.score for m in ranking)
    found.forget([module.name])
    assert module.name not in [m.name for m in found.ranking()]


def test_sharing_by_hand():
    conv = blocks.conv((4, 4, 4), 4)  # 144 parameters
    alone = conv.copy()
    rv.make_unique(alone, (), rv.Tags())
    sharing = populate([conv, conv.copy(), alone]).sharing()
    assert (sharing.distinct, sharing.alone, sharing.shared) == (288, 432, 144)
    assert (sharing.factor, sharing.share) == (1.5, 0.5)


@property_test()
def test_15_a_population_is_read_back(world):
    found = rv.Population()
    for number, blueprint in enumerate(world.population):
        found.place(number, rv.Individual(number, blueprint, fitness=1.5, parents=(number,)))
        update_scores(blueprint.scopes(), 0.5, found.scores)
        found[number].rounds += 1
    data = found.to_data()
    again = rv.Population.from_data(json.loads(json.dumps(data)))
    assert again.to_data() == data
    assert again.ranked() == found.ranked() and again.scores == found.scores
    for one, other in zip(found, again, strict=True):
        assert one.modules.keys() == other.modules.keys() and one.parents == other.parents
    # 13: distinct parameters are at most the sum
    sharing = found.sharing()
    names = Counter(n for one in found for n, use in one.modules.items() if use.parameters)
    assert sharing.distinct <= sharing.alone
    assert (sharing.distinct == sharing.alone) == (max(names.values()) == 1)
    sizes = {n: use.parameters for one in found for n, use in one.modules.items()}
    assert sharing.distinct == sum(sizes.values())
    assert sharing.alone == sum(blueprint.parameters() for blueprint in world.population)
    assert rv.sharing_factor(world.population) == sharing.alone / sharing.distinct
    assert 0 <= sharing.share <= 1


def test_the_text_of_an_individual_follows_its_training_and_its_freezing():
    individual = population([1.0])[0]
    first = individual.to_json()
    assert individual.to_json() is first
    individual.blueprint.freeze = True
    assert json.loads(individual.to_json())["blueprint"]["freeze"]
    update_scores(individual.blueprint.scopes(), 0.5, {})
    individual.rounds += 1
    assert json.loads(individual.to_json())["blueprint"]["meta"]["score"] == individual.score


# how probable the lowest scores are, how many individuals may go, and how often one of the last 6
CHANCES = [(0.0, 76, 6 / 76), (0.8, 76, 0.8 + 0.2 * 6 / 76), (1.0, 6, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 5, 80])
def test_the_worst_are_replaced_and_the_best_is_not(size):
    found = population([float(size - i) for i in range(size)])  # the last is the best
    rng = random.Random(0)
    for low_chance, allowed, last in CHANCES:
        times = Counter()
        for _ in range(200):
            slots = slots_to_replace(found, rng, rv.Settings(low_chance=low_chance))
            assert len(set(slots)) == len(slots) == min(2, size - 1)
            times.update(slots)
        assert size - 1 not in times
        if size == 80:
            assert set(times) <= set(range(allowed))
            assert sum(times[slot] for slot in range(6)) / 400 == pytest.approx(last, abs=0.05)


SIX = population([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])


@given(st.integers(0, 1000), st.integers(1, 8), st.sets(st.integers(0, 5), max_size=3))
def test_picks_differ_and_leave_out_the_excluded(seed, count, exclude):
    chosen = pick(SIX, count, random.Random(seed), rv.Settings(), exclude=exclude)
    assert len(set(chosen)) == len(chosen) == min(count, 6 - len(exclude))
    assert not set(chosen) & exclude


def test_picks_by_score_prefer_the_better_and_by_chance_do_not():
    found = population([float(i) for i in range(10)])
    rng = random.Random(0)
    for explore, expected in ((1.0, 0.1), (0.0, 1 - 0.9 * 8 / 9 * 7 / 8), (0.5, 0.2)):
        settings = rv.Settings(explore=explore)
        first = Counter(pick(found, 1, rng, settings)[0] for _ in range(2000))
        assert first[0] / 2000 == pytest.approx(expected, abs=0.03)


AUTHOR = {"budget": "author"}
LATER = AUTHOR | {"generations": 100}
BUDGETS = [  # score, most, settings, generation, batches; the mean score is 1
    (1.0, 400, {}, 0, 96),
    (2.0, 400, {}, 0, 96),  # never less than the minimum
    (0.8, 400, {}, 0, 187),  # 96 · 1.25³
    (0.0, 400, {}, 0, 400),
    (2.0, 50, {}, 0, 50),  # an epoch may be shorter
    (1.0, 400, {"minimum_batches": 10}, 0, 10),
    (2.0, 400, AUTHOR, 0, 19),  # 96 · 0.2
    (0.8, 400, AUTHOR, 0, 187),
    (2.0, 400, LATER, 2, 400),
    (2.0, 400, LATER, 3, 19),
    (2.0, 400, LATER, 81, 102),
    (9.0, 400, AUTHOR | {"minimum_batches": 3}, 0, 1),  # not none at all
]


def test_budgets():
    for score, most, changes, generation, batches in BUDGETS:
        settings = rv.Settings(**changes)
        assert budget(score, 1.0, most, settings, generation) == batches, (score, changes)
