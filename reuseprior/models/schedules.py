"""Search for a schedule: as fast as can be, at a score that is required (Bidart, section 5.1.2)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from importlib import import_module
from math import isclose
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch

from reuseprior import files, paths, schemas
from reuseprior.errors import UserError, shown
from reuseprior.models.errors import ModelError

_TEXT = re.compile(r"(?P<gamma>\d+(?:,\d+)*)(?:\+(?P<eta>\d+))?")


@dataclass(frozen=True)
class Schedule:
    """A bottleneck γ for every layer, and η, the number of first tokens that all layers keep.

    A layer leaves its first η positions, and of the others the first and every γ-th after it, so
    that the first token, which the classifier reads, is there always.

    >>> s = Schedule((1, 2, 4), eta=2)
    >>> str(s), s.lengths(10), s.positions(10)[1]
    ('1,2,4+2', (10, 6, 3), [0, 1, 2, 4, 6, 8])
    >>> Schedule.parse("1,2,4+2") == s
    True
    """

    gamma: tuple[int, ...]
    eta: int = 0

    def __post_init__(self):
        if not self.gamma or any(g < 1 for g in self.gamma) or self.eta < 0:
            raise ModelError(
                f"gamma is {self.gamma} and eta {self.eta}: a schedule has a gamma of 1 or more "
                "for every layer, and an eta of 0 or more"
            )

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """The schedule that `str` wrote: gammas with commas between them, and +η unless it is 0."""
        found = _TEXT.fullmatch(text)
        if not found:
            raise ModelError(
                f"{text!r} is no schedule: write a gamma for every layer, as in 1,2,1,1,2,1+8"
            )
        return cls(tuple(map(int, found["gamma"].split(","))), int(found["eta"] or 0))

    @classmethod
    def plain(cls, layers: int) -> Schedule:
        """Every layer keeps all positions."""
        return cls((1,) * layers)

    @classmethod
    def fixed(cls, first: int, layers: int, factor: int = 2, times: int = 3) -> Schedule:
        """Bidart's constrained schedule: `times` bottlenecks of `factor` from layer `first` on.

        The text says "evenly spaced between this layer and the output layer"; here a bottleneck
        stands at the floor of each of `times` equal steps, and those of one layer multiply. `first`
        from 0; `layers` or more is the plain encoder.

        >>> str(Schedule.fixed(0, 6)), str(Schedule.fixed(4, 6)), str(Schedule.fixed(6, 6))
        ('2,1,2,1,2,1', '1,1,1,1,4,2', '1,1,1,1,1,1')
        """
        gamma = [1] * layers
        for step in range(times if first < layers else 0):
            gamma[first + step * (layers - first) // times] *= factor
        return cls(tuple(gamma))

    @classmethod
    def last(cls, count: int, layers: int, factor: int = 4) -> Schedule:
        """The last `count` layers at a `factor`-th of the length (figure 5.6).

        >>> str(Schedule.last(2, 6))
        '1,1,1,1,4,1'
        """
        gamma = [1] * layers
        if count:
            gamma[layers - count] = factor
        return cls(tuple(gamma))

    @property
    def is_plain(self) -> bool:
        return set(self.gamma) == {1}

    def positions(self, length: int) -> list[list[int]]:
        """Which of the input's positions are left after each layer."""
        found, left = [], list(range(length))
        for gamma in self.gamma:
            left = left[: self.eta] + left[self.eta :: gamma]
            found.append(left)
        return found

    def lengths(self, length: int) -> tuple[int, ...]:
        """How many positions are left after each layer."""
        found = []
        for gamma in self.gamma:
            first = min(self.eta, length)
            length = first - (first - length) // gamma  # the rest, divided and rounded up
            found.append(length)
        return tuple(found)

    def __str__(self) -> str:
        text = ",".join(map(str, self.gamma))
        return f"{text}+{self.eta}" if self.eta else text


@dataclass(frozen=True)
class Space:
    """The schedules that a search chooses among: a γ of `gammas` for every layer, an η of `etas`.

    The thesis gives neither set.

    >>> len(Space(6))
    12288
    """

    layers: int
    gammas: tuple[int, ...] = (1, 2, 4, 8)
    etas: tuple[int, ...] = (0, 4, 16)

    def __len__(self) -> int:
        return len(self.gammas) ** self.layers * len(self.etas)

    def draw(self, generator: torch.Generator | None = None) -> Schedule:
        """A schedule at random, every γ and η alike; torch's own generator if none is given."""

        def one(values: Sequence[int]) -> int:
            return values[int(torch.randint(len(values), (), generator=generator))]

        return Schedule(tuple(one(self.gammas) for _ in range(self.layers)), one(self.etas))


SAMPLERS = {"gp": "GPSampler", "tpe": "TPESampler", "random": "RandomSampler"}
RANDOM_STARTS = 8  # before a sampler learns from what it saw, as in the text

Evaluate = Callable[[Schedule], tuple[float, float]]
"""The score of a schedule, from 0 to 1, and its time as a share of the plain encoder's."""


@dataclass(frozen=True)
class Trial:
    """One evaluation of a search."""

    number: int
    schedule: Schedule
    score: float
    share: float  # of the plain encoder's time
    reward: float


def reward(score: float, share: float, required: float) -> float:
    """Equation 5.4, in a unit that the text leaves open.

    Below the required score the score itself, and from there on the required score + 1/δ. δ is
    the time as a share of the plain encoder's, so that a schedule that changes nothing has 1/δ = 1
    on every machine. Whatever the unit, schedules come in the same order; but it decides how high
    the step at the required score is beside all other differences, and that a Gaussian process
    sees.

    >>> reward(0.8, 0.5, required=0.9), reward(0.9, 0.5, required=0.9)
    (0.8, 2.9)
    """
    return score if score < required else required + 1 / share


def started(layers: int) -> list[Schedule]:
    """Ten schedules to begin with: the plain one, and bottlenecks at earlier and earlier layers.

    The text says so much of its ten and no more; these are ours.

    >>> [str(s) for s in started(6)[:3]]
    ['1,1,1,1,1,1', '1,1,1,1,1,2', '1,1,1,1,1,4']
    """
    found = [Schedule.plain(layers)]
    for step in range(9):
        first = max(layers - 1 - step // 2, 0)
        gamma = [1] * layers
        gamma[first] = 2 if step % 2 == 0 else 4
        found.append(Schedule(tuple(gamma)))
    return found


def search(
    space: Space, evaluate: Evaluate, *, required: float, budget: int, sampler: str, seed: int,
    journal: str | Path, initial: Sequence[Schedule] = (),
) -> list[Trial]:  # fmt: skip
    """Evaluate `budget` schedules, each chosen in the light of those before, and return them.

    `sampler` is gp (a Gaussian process), tpe (a tree-structured Parzen estimator) or random, of
    Optuna; `initial` schedules come first and count. Every trial that is finished stands in the
    file `journal`, so that a search that was killed goes on with them: each choice is made by the
    seed and the finished trials alone, so it then makes the choices it would have made. Raises
    `ModelError` for an unknown sampler, for the journal of another search and for one that is
    damaged, and `files.Locked` where another process writes it.
    """
    if sampler not in SAMPLERS:
        raise ModelError(f"sampler is {sampler!r}: choose {', '.join(SAMPLERS)}")
    optuna, journal = _optuna(), Path(journal)
    journal.parent.mkdir(parents=True, exist_ok=True)
    lock = files.Lock(journal)
    try:
        return _search(
            optuna, _study(optuna, journal), space, evaluate, required, budget, sampler, seed,
            journal, initial,
        )  # fmt: skip
    finally:
        lock.release()


class _Locked:
    """In place of Optuna's own lock, which a kill leaves behind: the journal is locked by ours."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _study(optuna, journal: Path):
    """The study that a journal holds, or a new one; the file must be locked."""

    class Journal(optuna.storages.journal.JournalFileBackend):
        """Says in a sentence what cannot be written."""

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            with files.told(f"cannot write {journal}"):
                super().append_logs(logs)

    files.sweep(journal)
    content = journal.read_bytes() if journal.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:  # a kill left its last line half written
        files.write(journal, whole)
    with files.told(f"cannot write {journal}"):
        backend = Journal(str(journal), lock_obj=_Locked())
    try:
        return optuna.create_study(
            study_name="schedules", storage=optuna.storages.JournalStorage(backend),
            direction="maximize", load_if_exists=True,
        )  # fmt: skip
    except UserError:
        raise
    # Optuna asserts what it has written itself
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise _no_journal(journal, error) from error


def _no_journal(journal: Path, why: object) -> ModelError:
    said = shorten(str(why), 200, placeholder=" …")
    return ModelError(f"{journal} is no journal of a search ({said}): delete it to search anew")


def _search(
    optuna, study, space, evaluate, required, budget, sampler, seed, journal, initial
) -> list[Trial]:
    _same_search(study, journal, {
        "space": asdict(space), "required": required, "sampler": sampler, "seed": seed,
        "initial": [str(one) for one in initial],
    })  # fmt: skip
    state = optuna.trial.TrialState
    for left in study.get_trials(deepcopy=False, states=(state.RUNNING,)):
        study.tell(left.number, state=state.FAIL)  # what was in hand when it was killed
    distributions = _distributions(optuna, space)
    found = _finished(study, journal, space, required)
    while len(found) < budget:
        number = len(found)
        if number < len(initial):
            schedule = initial[number]
            params = _params(schedule, space)
            score, share = evaluate(schedule)
            study.add_trial(optuna.create_trial(
                params=params, distributions=distributions, value=reward(score, share, required),
                user_attrs=_attributes(schedule, score, share),
            ))  # fmt: skip
        else:
            study.sampler = _sampler(optuna, sampler, seed, number, len(initial))
            trial = study.ask(distributions)
            schedule = _schedule(trial.params, space)
            score, share = evaluate(schedule)
            for key, value in _attributes(schedule, score, share).items():
                trial.set_user_attr(key, value)
            study.tell(trial, reward(score, share, required))
        found = _finished(study, journal, space, required)
    return found[:budget]


def binary_search(
    score: Callable[[Schedule], float], layers: int, required: float
) -> tuple[Schedule, list[tuple[Schedule, float]]]:
    """The fixed schedule (`Schedule.fixed`) that begins earliest of those that score enough.

    Bidart's constrained search: it takes for granted that the score never falls as the first
    bottleneck moves back. Also returns what was evaluated, in order. The plain encoder, which
    stands for "none", is not evaluated.
    """
    low, high, seen = 0, layers, []  # `high` is known to be enough, what lies below `low` not
    while low < high:
        first = (low + high) // 2
        schedule = Schedule.fixed(first, layers)
        seen.append((schedule, score(schedule)))
        if seen[-1][1] >= required:
            high = first
        else:
            low = first + 1
    return Schedule.fixed(high, layers), seen


def _optuna():
    try:
        optuna = import_module("optuna")
    except ImportError as error:
        raise ModelError(f"searches need optuna: {paths.install('text')}") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _sampler(optuna, kind: str, seed: int, number: int, initial: int):
    """A new sampler for every choice, of a seed of its own: there is no state to keep."""
    digest = blake2b(repr(("sampler", seed, number)).encode(), digest_size=4).digest()
    own = int.from_bytes(digest, "big")
    if kind == "random" or number < initial + RANDOM_STARTS:
        return optuna.samplers.RandomSampler(seed=own)
    options: dict[str, Any] = {"seed": own, "n_startup_trials": 1}
    if kind == "tpe":
        options["multivariate"] = False
    return getattr(optuna.samplers, SAMPLERS[kind])(**options)


def _same_search(study, journal, about: dict[str, object]) -> None:
    wanted = json.loads(json.dumps(about))
    begun = study.user_attrs.get("about")
    if begun is None:
        study.set_user_attr("about", wanted)
    elif not isinstance(begun, dict):
        raise _no_journal(journal, f"it is about {shown(begun)}")
    elif begun != wanted:
        key = next(k for k in wanted if begun.get(k) != wanted[k])
        raise ModelError(
            f"{journal} holds a search whose {key} is {begun.get(key)} and not {wanted[key]}: "
            "choose another file"
        )


def _distributions(optuna, space: Space) -> dict:
    """γ and η by their places among the values, which come in order."""
    of = optuna.distributions.IntDistribution
    found = {f"gamma{i}": of(0, len(space.gammas) - 1) for i in range(space.layers)}
    return found | {"eta": of(0, len(space.etas) - 1)}


def _params(schedule: Schedule, space: Space) -> dict[str, int]:
    try:
        found = {f"gamma{i}": space.gammas.index(g) for i, g in enumerate(schedule.gamma)}
        return found | {"eta": space.etas.index(schedule.eta)}
    except ValueError as error:
        raise ModelError(f"{schedule} is not of the space {space}: choose another") from error


def _schedule(params: dict[str, int], space: Space) -> Schedule:
    gamma = tuple(space.gammas[params[f"gamma{i}"]] for i in range(space.layers))
    return Schedule(gamma, space.etas[params["eta"]])


def _attributes(schedule: Schedule, score: float, share: float) -> dict[str, object]:
    return {"schedule": str(schedule), "score": score, "share": share}


def _finished(study, journal: Path, space: Space, required: float) -> list[Trial]:
    """The trials that are done, each of which says what it tried and found twice."""
    done = [t for t in study.get_trials(deepcopy=False) if t.state.name == "COMPLETE"]
    return [_trial(number, t, journal, space, required) for number, t in enumerate(done)]


def _trial(number: int, found, journal: Path, space: Space, required: float) -> Trial:
    try:
        said = schemas.fitting(found.user_attrs, schemas.TrialAttributes)
        schedule, score, share = Schedule.parse(said["schedule"]), said["score"], said["share"]
        same = schedule == _schedule(found.params, space)
        same = same and isclose(found.value, reward(score, share, required))
    except (ValueError, LookupError, TypeError, ArithmeticError) as error:
        raise _no_journal(journal, f"trial {number} {error}") from error
    if not same:
        raise _no_journal(journal, f"trial {number} says one thing here and another there")
    return Trial(number, schedule, score, share, found.value)
