"""Encoders fine-tuned on GLUE: the plain one, with fewer layers, or under schedules.

```python
run(Experiment("glue-mrpc", "cpu"), seed=0)  # goes on where it was interrupted
```

The trainings of a scale lie in `data/results/classformer-SCALE`. "Validation" is there the half of
GLUE's validation part by which an epoch is chosen, "test" the other half, on which the weights of
that epoch are measured; GLUE's own test part is neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from reuseprior import data, paths
from reuseprior.models.classformer import (
    MINILM,
    Classformer,
    Schedule,
    Space,
    pretrained,
    shallower,
    tokenizer,
)
from reuseprior.training import Protocol, train
from reuseprior.training.text import TextClassification

TASKS = ("glue-cola", "glue-sst2", "glue-mrpc", "glue-rte")
SPACE = Space(6)
DRAWN = "drawn"  # in place of a schedule: every training batch draws its own from SPACE

# by task: all that a scale changes of the protocol. cpu: an hour on one core for all four
SCALES: dict[str, Mapping[str, Mapping[str, object]]] = {
    "cpu": {
        "glue-cola": {"epochs": 3, "warmup_epochs": 0.3},
        "glue-sst2": {"epochs": 2, "warmup_epochs": 0.2, "train_images": 20_000},
        "glue-mrpc": {"epochs": 3, "warmup_epochs": 0.3},
        "glue-rte": {"epochs": 3, "warmup_epochs": 0.3},
    },
    "full": {task: {} for task in TASKS},
}


@dataclass(frozen=True)
class Experiment:
    """One encoder on one task: the schedule that it is fine-tuned under, as a text, and its layers.

    Without a schedule it is the plain encoder, and `drawn` trains one set of weights for all
    schedules of SPACE.
    """

    task: str
    scale: str
    schedule: str = ""
    layers: int = 6
    encoder: str = MINILM

    @property
    def protocol(self) -> Protocol:
        return Protocol.load("classformer").changed(SCALES[self.scale][self.task])

    def name(self, seed: int) -> str:
        what = self.schedule.replace(",", "-") or "plain"
        layers = f"-layers{self.layers}" if self.layers != SPACE.layers else ""
        return f"{self.task.removeprefix('glue-')}-{what}{layers}-seed{seed}"

    def folder(self, seed: int, root: Path | None = None) -> Path:
        """Where its training is recorded."""
        return (root or paths.RESULTS) / f"classformer-{self.scale}" / self.name(seed)

    def about(self) -> dict[str, object]:
        """What `config.json` says of the model."""
        space = asdict(SPACE) if self.schedule == DRAWN else None
        return asdict(self) | {"space": space}

    def build(self, seed: int) -> Classformer:
        """The pretrained encoder with a new classifier, which the seed decides."""
        load = partial(pretrained, self.encoder, seed=seed)
        if self.schedule == DRAWN:
            return load(space=SPACE)
        if self.schedule:
            return load(schedule=Schedule.parse(self.schedule))
        model = load()
        return model if self.layers == model.sizes.layers else shallower(model, self.layers)


def run(
    one: Experiment, *, seed: int, root: Path | None = None, place: str | Path | None = None,
    progress: bool = True,
) -> Classformer:  # fmt: skip
    """Fine-tune an encoder, record it, and return it with the weights of its best epoch.

    `root` is `data/results` if not given, `place` where data lie, as `data.load` takes it. What was
    interrupted goes on from its checkpoint, and what is finished comes back from it.
    """
    texts, model = data.load(one.task, place), one.build(seed)
    task = TextClassification(tokenizer(one.encoder), texts.metric)
    train(
        model, texts, one.protocol, one.folder(seed, root), seed=seed, task=task,
        about=one.about(), resume=True, progress=progress,
    )  # fmt: skip
    return model
