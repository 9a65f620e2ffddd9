"""Models of Hugging Face's transformers, built from their configuration without weights.

`hf:gpt2` is a type of model at the default configuration of transformers, and
`hf:path/to/config.json` the model of a configuration file. Nothing is downloaded.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

from torch import nn

from reuseprior import paths
from reuseprior.errors import did_you_mean
from reuseprior.models.errors import ModelError, needed

TOKENS = ("input_ids", "decoder_input_ids")
MOST_LAYERS = 10_000  # a thousand are built in seconds
EMBEDDED = {"input_ids": "inputs_embeds", "decoder_input_ids": "decoder_inputs_embeds"}
# What a type is built as: the first of these that transformers has for it.
TASKS = (
    "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING", "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING",
    "MODEL_FOR_MASKED_LM_MAPPING", "MODEL_FOR_CAUSAL_LM_MAPPING",
    "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING",
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING", "MODEL_MAPPING",
)  # fmt: skip


def names(model: str = "hf:*") -> list[str]:
    """The types of models that transformers knows. Raises `ModelError` without transformers."""
    return sorted(_import_transformers(model).CONFIG_MAPPING.keys())


def configuration(model: str, known: str) -> Any:
    """The configuration that a name, `hf:` and `known`, stands for.

    Raises `ModelError` for a type that transformers does not know, and for a file that is none of
    its configurations.
    """
    transformers = _import_transformers(model)
    mapping = transformers.CONFIG_MAPPING
    if known in mapping:
        return mapping[known]()
    path = Path(known)
    path = path / "config.json" if path.is_dir() else path
    if not path.is_file():
        raise ModelError(
            f"model {model!r}: {known!r} is neither a file nor a type of model of "
            f"transformers{did_you_mean(known, list(mapping))}: write hf:gpt2 or "
            "hf:path/to/config.json"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        config = mapping[values["model_type"]].from_dict(values)
        if (getattr(config, "num_hidden_layers", 0) or 0) > MOST_LAYERS:
            raise ValueError(f"num_hidden_layers is more than {MOST_LAYERS:,}")
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"model {model!r}: {path} is no configuration of transformers ({error!r}): it must be "
            "a JSON object whose model_type transformers knows"
        ) from error
    return config


def configured(kind: str, options: dict[str, Any]) -> Any:
    """The configuration of a type of model with these settings in place of the default ones.

    A GPT-Neo's layers look globally and locally in turn, however many they are.
    """
    mapping = _import_transformers(f"hf:{kind}").CONFIG_MAPPING
    if kind not in mapping:
        raise ModelError(f"transformers has no type {kind!r}{did_you_mean(kind, list(mapping))}")
    if kind == "gpt_neo" and "attention_types" not in options:
        half = options["num_layers"] // 2
        options = {**options, "attention_types": [[["global", "local"], half]]}
    return mapping[kind](**options)


def model_class(config: Any) -> type[nn.Module]:
    """The class that the configuration names, or the first of `TASKS` that there is for it."""
    transformers = _import_transformers(config.model_type)
    for name in getattr(config, "architectures", None) or ():
        if hasattr(transformers, name):
            return getattr(transformers, name)
    for task in TASKS:
        mapping = getattr(transformers, task, {})
        if type(config) in mapping:
            return _first(mapping[type(config)])
    raise ModelError(f"transformers has no model of type {config.model_type!r}: choose another")


def build(config: Any) -> nn.Module:
    """A model of the configuration, with random weights."""
    if hasattr(config, "use_cache"):
        config.use_cache = False
    return model_class(config)(config)


def tokens_of(config: Any) -> tuple[str, ...]:
    """The arguments of the model that are token ids."""
    taken = inspect.signature(model_class(config).forward).parameters
    both = TOKENS if getattr(config, "is_encoder_decoder", False) else TOKENS[:1]
    return tuple(name for name in both if name in taken)


def output_of(config: Any) -> str:
    """The part of the output that the model is for."""
    bare = _import_transformers(config.model_type).MODEL_MAPPING.get(type(config), None)
    return "last_hidden_state" if model_class(config) is _first(bare) else "logits"


def _first(classes):
    """A class, or the first of several that transformers has for a type."""
    return classes[0] if isinstance(classes, (tuple, list)) else classes


def _import_transformers(model: str):
    return needed("transformers", f"model {model!r} needs", paths.install("hf"))
