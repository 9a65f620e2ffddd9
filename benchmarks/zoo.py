"""Count models that nobody here wrote: which of them count, in what time and memory.

    python benchmarks/zoo.py transformers torchvision timm graphs diffusers sequences

Each family is a run in `data/results/zoo/<family>`, a row a model, that goes on where it was
stopped. A model that cannot be counted is a row with the reason.
"""

from __future__ import annotations

import argparse
import gc
import inspect
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from reuseprior import paths
from reuseprior.chapters.beyond.survey import keep, short
from reuseprior.contexts import trace_model
from reuseprior.models import catalog, hf, without_weights

EXPERIMENT = "zoo"
COLUMNS = (
    "model", "inputs", "held", "parameters", "P_G", "build_seconds", "seconds", "added_mib",
    "reason",
)  # fmt: skip
"""`held` counts all parameters, `parameters` those with a context; `seconds` is the processor's
time for tracing and counting, on one core; `added_mib` the most memory that the process held
meanwhile beyond what it held before, about 800 MiB of libraries; `reason` says why a model could
not be counted."""
TOKENS = 128
LARGEST = 500e6  # parameters of the models of timm that are tried
SAMPLE = 210  # of timm's models, of which some are larger


@dataclass(frozen=True)
class Try:
    """A model, how to build it, and what it is given."""

    model: str
    build: Callable[[], nn.Module]
    inputs: Callable[[nn.Module], Any]
    options: tuple[tuple[str, Any], ...] = ()  # of trace_model
    largest: float = float("inf")  # parameters of what is tried; a larger model makes no row


def main() -> None:
    """Try families of models and keep what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("family", nargs="+", choices=list(FAMILIES))
    torch.set_num_threads(1)
    for family in parser.parse_args().family:
        record(family)


def record(family: str) -> Path:
    """Try every model of a family; returns the run's folder."""
    tries = {one.model: one for one in FAMILIES[family]()}
    config = {"family": family, "columns": COLUMNS, "tokens": TOKENS, "models": list(tries)}
    folder = paths.RESULTS / EXPERIMENT / family
    return keep(folder, config, tries, _rows, _summary)


def _rows(tries: list[Try]) -> Iterator[dict]:
    for one in tqdm(tries):
        row = tried(one)
        if row is not None:
            yield {column: short(row[column]) for column in COLUMNS}


def _summary(rows: list[dict]) -> dict:
    return {
        "models": len(rows),
        "refused": sum(row["reason"] is not None for row in rows),
        "most_seconds": max(row["seconds"] or 0 for row in rows),
        "most_added_mib": max(row["added_mib"] or 0 for row in rows),
    }


def tried(one: Try) -> dict | None:
    """A row of `COLUMNS` for one model, None where it is larger than what is tried."""
    row = dict.fromkeys(COLUMNS) | {"model": one.model}
    gc.collect()
    start = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what libraries say of configurations is theirs
            network = one.build()
            row["held"] = sum(p.numel() for p in network.parameters())
            if row["held"] > one.largest:
                return None
            row["build_seconds"] = round(time.process_time() - start, 3)
            inputs = one.inputs(network)
            row["inputs"] = _said(inputs)
            held = _mib("VmRSS")
            _forget_peak()
            start = time.process_time()
            counts = trace_model(network, inputs, **dict(one.options)).count()
        row["seconds"] = round(time.process_time() - start, 3)
        row["added_mib"] = _mib("VmHWM") - held
        row["parameters"], row["P_G"] = counts.parameters, counts.quantities().P_G
    except Exception as error:  # other people's code may fail in any way, and that is the finding
        row["reason"] = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return row


def _said(inputs: Any) -> str:
    """Shapes in few words: 1×3×224×224, input_ids 1×128."""
    if isinstance(inputs, dict):
        return ", ".join(f"{name} {_said(value)}" for name, value in inputs.items())
    if isinstance(inputs, torch.Tensor):
        return "×".join(map(str, inputs.shape))
    if isinstance(inputs, (tuple, list)) and not all(isinstance(n, int) for n in inputs):
        return ", ".join(map(_said, inputs))
    return "×".join(map(str, inputs)) if isinstance(inputs, (tuple, list)) else str(inputs)


def _forget_peak() -> None:
    """Let Linux forget the most memory that the process ever held."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _mib(key: str) -> int:
    """What Linux says of the process's memory: VmRSS is what it holds, VmHWM the most it held."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith(key)]
    return int(line.split()[1]) // 1024


# transformers ---------------------------------------------------------------------------------

LANGUAGE = """
    gpt2 gpt_neo gpt_neox gptj opt bloom codegen openai-gpt xglm llama mistral qwen2 qwen3 gemma
    gemma2 phi phi3 falcon mpt stablelm starcoder2 olmo olmo2 cohere granite mamba
    bert roberta distilbert albert electra deberta deberta-v2 mpnet camembert xlm-roberta funnel
    fnet longformer big_bird convbert squeezebert mobilebert modernbert nystromformer xlnet
    t5 mt5 bart mbart pegasus marian blenderbot led
    mixtral qwen2_moe qwen3_moe olmoe phimoe granitemoe gpt_oss deepseek_v3 switch_transformers
""".split()
VISION = """
    vit deit beit swin swinv2 convnext convnextv2 resnet regnet mobilenet_v2 mobilevit
    efficientnet segformer dinov2 poolformer levit cvt dpt yolos detr vit_mae clip siglip
""".split()
# Types that take more than pixels or tokens: what they are given, by the names of their arguments.
OTHERS = {
    "wav2vec2": {"input_values": (1, 16_000)},
    "hubert": {"input_values": (1, 16_000)},
    "wavlm": {"input_values": (1, 16_000)},
    "whisper": {"input_features": (1, 80, 3000), "decoder_input_ids": (1, 16)},
    "audio-spectrogram-transformer": {"input_values": (1, 1024, 128)},
    "encodec": {"input_values": (1, 1, 24_000)},
    "vits": {"input_ids": (1, 32), "attention_mask": (1, 32)},
    "vilt": {
        "input_ids": (1, 40), "pixel_values": (1, 3, 384, 384),
        "pixel_mask": torch.ones(1, 384, 384),
    },
}  # fmt: skip


def transformers() -> Iterator[Try]:
    """Types of models at the configuration that transformers gives them, built without weights."""
    for kind in LANGUAGE:
        yield Try(f"hf:{kind}", partial(catalog.build, f"hf:{kind}"), _tokens, _output(kind))
    for kind in VISION:
        yield Try(f"hf:{kind}", partial(catalog.build, f"hf:{kind}"), _pixels, _output(kind))
    for kind, inputs in OTHERS.items():
        given = partial(_given, inputs)
        yield Try(f"hf:{kind}", partial(catalog.build, f"hf:{kind}"), given, _output(kind))
    yield Try("hf:llava, its image token 7", _llava, _text_and_image, _output("llava"))


def _output(kind: str) -> tuple:
    return (("output", OUTPUTS.get(kind) or catalog.find(f"hf:{kind}").output),)


OUTPUTS = {"encodec": "audio_values", "vits": "waveform"}


def _tokens(network: nn.Module) -> dict:
    names = (*hf.tokens_of(network.config), "attention_mask")
    return dict.fromkeys(names, (1, TOKENS))


def _pixels(network: nn.Module) -> tuple[int, ...]:
    size = getattr(network.config, "image_size", 224)
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    return (1, 3, height, width)


def _given(inputs: dict, _network: nn.Module) -> dict:
    return inputs


IMAGE = 7  # by default it is 32,000, which is no row of the default table of 32,000


def _llava() -> nn.Module:
    config = hf.configuration("hf:llava", "llava")
    config.image_token_id = IMAGE
    return _lazily(partial(hf.build, config))


def _text_and_image(network: nn.Module) -> dict:
    """A prompt in which one image stands, patch by patch, with the ids that say so."""
    vision = network.config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2
    ids = torch.zeros(1, patches + 16, dtype=torch.int64)
    ids[:, 8 : 8 + patches] = IMAGE
    size = vision.image_size
    return {"input_ids": ids, "pixel_values": (1, 3, size, size)}


# torchvision ----------------------------------------------------------------------------------


def torchvision() -> Iterator[Try]:
    """All that torchvision lists; of its quantised networks the ones in floating point."""
    from torchvision import models

    images = [torch.empty(3, 640, 640, device="meta")]
    groups = {
        "": (models, _image, ()),
        "segmentation:": (models.segmentation, (1, 3, 520, 520), (("output", "out"),)),
        "video:": (models.video, _clip, ()),
        "detection:": (models.detection, [images], (("until", "backbone"),)),
        "optical_flow:": (models.optical_flow, ((1, 3, 520, 960),) * 2, ()),
        "quantization:": (models.quantization, _image, ()),
    }
    for prefix, (module, inputs, options) in groups.items():
        for name in models.list_models(module=module):
            build = partial(_torchvision, name)
            given = inputs(name) if callable(inputs) else inputs
            yield Try(f"torchvision:{prefix}{name}", build, partial(_given, given), options)


def _torchvision(name: str) -> nn.Module:
    from torchvision import models

    options = {"weights": None}
    if "weights_backbone" in inspect.signature(models.get_model_builder(name)).parameters:
        options["weights_backbone"] = None
    if name.removeprefix("quantized_") in ("googlenet", "inception_v3"):
        options["init_weights"] = False  # theirs takes minutes
    return _lazily(partial(models.get_model, name, **options))


def _image(name: str) -> tuple[int, ...]:
    size = catalog.image_size(f"torchvision:{name.removeprefix('quantized_')}")
    return (1, 3, size, size)


def _clip(name: str) -> tuple[int, ...]:
    frames = 16
    size = 112 if name in ("r3d_18", "mc3_18", "r2plus1d_18") else 224
    return (1, 3, frames, size, size)


# timm -----------------------------------------------------------------------------------------


def timm_all() -> Iterator[Try]:
    """Every model that timm lists, at its own image size; those above `LARGEST` make no row."""
    from timm import list_models

    return map(_timm, list_models())


def timm() -> Iterator[Try]:
    """`SAMPLE` of timm's models, as many of each family as its part of all."""
    from timm import list_models
    from timm.models import model_entrypoint

    names = sorted(list_models(), key=lambda name: (model_entrypoint(name).__module__, name))
    steps = range(SAMPLE)
    return (_timm(names[round(i * (len(names) - 1) / (SAMPLE - 1))]) for i in steps)


def _timm(name: str) -> Try:
    name = f"timm:{name}"
    build, inputs = partial(catalog.build, name), partial(_square, name)
    return Try(name, build, inputs, largest=LARGEST)


def _square(name: str, network: nn.Module) -> tuple[int, ...]:
    from timm import get_pretrained_cfg

    config = get_pretrained_cfg(name.removeprefix("timm:"))
    return (1, *config.input_size) if config else (1, 3, 224, 224)


# Graphs, diffusion, sequences -----------------------------------------------------------------

NODES, EDGES = 40, 160


def graphs() -> Iterator[Try]:
    """PyG's networks on a random graph of 40 nodes, whose edges are constants of the model."""
    from torch_geometric.nn import models

    edges = torch.randint(NODES, (2, EDGES), generator=torch.Generator().manual_seed(0))
    for kind in ("GCN", "GAT", "GraphSAGE", "GIN", "PNA", "EdgeCNN"):
        options = {}
        if kind == "PNA":
            degrees = torch.bincount(edges[1], minlength=NODES)
            options = {
                "aggregators": ["mean", "max"], "scalers": ["identity"], "deg": degrees.bincount()
            }  # fmt: skip
        build = partial(getattr(models, kind), 16, 64, 3, 7, **options)
        yield Try(f"torch_geometric:{kind}", build, lambda _: ((NODES, 16), edges))


def diffusers() -> Iterator[Try]:
    """Diffusers' networks at the configuration that it gives them."""
    import diffusers as library

    given = {
        "UNet2DModel": {"sample": (1, 3, 64, 64), "timestep": torch.tensor(10)},
        "AutoencoderKL": {"sample": (1, 3, 64, 64)},
        "UNet2DConditionModel": {
            "sample": (1, 4, 64, 64), "timestep": torch.tensor(10),
            "encoder_hidden_states": (1, 77, 1280),
        },
        "VQModel": {"sample": (1, 3, 64, 64)},
        "Transformer2DModel": {"hidden_states": (1, 320, 16, 16)},
        "AutoencoderTiny": {"sample": (1, 3, 64, 64)},
    }  # fmt: skip
    options = {"Transformer2DModel": {"in_channels": 320}}
    for kind, inputs in given.items():
        build = partial(_lazily, partial(getattr(library, kind), **options.get(kind, {})))
        output = (("output", "sample"), ("signal", [next(iter(inputs))]))
        yield Try(f"diffusers:{kind}", build, partial(_given, inputs), output)


def _lazily(build: Callable[[], nn.Module]) -> nn.Module:
    """The network without weights, or with them where its constructor tries itself."""
    with suppress(RuntimeError), without_weights():
        return build()
    return build()


def sequences() -> Iterator[Try]:
    """Recurrent networks by the length of their sequence, and language models by their prompt."""
    for kind in (nn.RNN, nn.GRU, nn.LSTM):
        for length in (250, 1000, 4000):
            name = f"torch.nn:{kind.__name__}(32, 64), {length} steps"
            given = partial(_given, (length, 1, 32))
            yield Try(name, partial(kind, 32, 64), given, (("output", 0),))
    for name, length in (("hf:gpt2", 1024), ("hf:llama", 2048)):
        given = {"input_ids": (1, length), "attention_mask": (1, length)}
        output = (("output", "logits"),)
        yield Try(
            f"{name}, {length} tokens", partial(catalog.build, name), partial(_given, given), output
        )


FAMILIES: dict[str, Callable[[], Iterable[Try]]] = {
    "transformers": transformers,
    "torchvision": torchvision,
    "timm": timm,
    "timm-all": timm_all,
    "graphs": graphs,
    "diffusers": diffusers,
    "sequences": sequences,
}

if __name__ == "__main__":
    main()
