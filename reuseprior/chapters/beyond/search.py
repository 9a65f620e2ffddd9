"""A search without training: cells of NAS-Bench-201 by a score, and the accuracy of what it finds.

The search sees scores only; accuracies are looked up once it has ended.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping

from reuseprior.errors import UserError

POPULATION = 50
TOURNAMENT = 10
OPERATIONS = "01234"


def at_random(scores: Mapping[str, float], evaluations: int, seed: int) -> str:
    """The best of so many different cells drawn at random.

    >>> at_random({"000001": 1.0, "000002": 2.0}, 2, seed=0)
    '000002'
    """
    _check(scores, evaluations)
    return max(random.Random(seed).sample(sorted(scores), evaluations), key=scores.get)


def by_evolution(scores: Mapping[str, float], evaluations: int, seed: int) -> str:
    """The best cell that regularised evolution meets (Real et al., 2019).

    A population of 50 cells, oldest first: the best of 10 drawn has a child with another operation
    on one edge, which joins while the oldest dies. Cells are six digits, and `scores` has them all.
    """
    _check(scores, evaluations)
    chance = random.Random(seed)
    names = sorted(scores)
    population = deque(chance.sample(names, min(POPULATION, evaluations)))
    best = max(population, key=scores.get)
    for _ in range(evaluations - len(population)):
        parent = max(chance.sample(list(population), TOURNAMENT), key=scores.get)
        child = _mutated(parent, chance)
        population.append(child)
        population.popleft()
        best = max(best, child, key=scores.get)
    return best


def _mutated(cell: str, chance: random.Random) -> str:
    edge = chance.randrange(len(cell))
    other = chance.choice([digit for digit in OPERATIONS if digit != cell[edge]])
    return cell[:edge] + other + cell[edge + 1 :]


def _check(scores: Mapping[str, float], evaluations: int) -> None:
    if not 1 <= evaluations <= len(scores):
        raise UserError(
            f"{evaluations} evaluations of {len(scores)} cells: ask for 1 to {len(scores)}."
        )
