"""How fast the trainer is: against the best loop written by hand, and with shared weights.

    python benchmarks/training.py             # about two minutes; on the GPU where there is one
    python benchmarks/training.py --rounds 60 # four times as long
    python benchmarks/training.py --real      # at the protocols cpu-hours and cifar-resnet
    python benchmarks/training.py --variants  # the loop by hand in other ways: why ours is as it is
    python benchmarks/training.py --cpu-time  # with any of them, where others use the processor too
    python benchmarks/training.py --overhead  # the trainer's own milliseconds a batch
    python benchmarks/training.py --epoch     # an epoch of CIFAR-10, from a quarter of its steps

The loop and the trainer train the same model on the same batches in the same precision, in turns,
so that whatever else the machine does meets both. Quoted is the median of the ratios of neighbours.
`--cpu-time` measures seconds that the process computed on one thread, not those it waited.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from reuseprior import data as data_sets
from reuseprior.data import DataSet, Images
from reuseprior.models import ModelConfig
from reuseprior.models.catalog import OPTIONS
from reuseprior.results import provenance
from reuseprior.training import Protocol, checkpoint, train
from reuseprior.training.batches import augment, draw
from reuseprior.training.small_maps import SmallMaps


@dataclass(frozen=True)
class Setting:
    """What is measured: `steps` batches of V2-B0 at a width and an image size.

    At width 0 it is a linear layer, which takes so little time that the loop's own shows.
    """

    device: str
    steps: int
    batch_size: int
    image_size: int
    width: float
    precision: str
    real: str = ""  # the protocol whose optimiser, schedule and augmentation it has
    model: str = "V2-B0"

    @property
    def protocol(self) -> Protocol:
        if self.real:
            changes = {"epochs": 1, "validation": 0.0, "batch_size": self.batch_size}
            return Protocol.load(self.real, width=self.width, **changes)
        return Protocol(
            epochs=1,
            batch_size=self.batch_size,
            optimizer="sgd",
            learning_rate=0.01,
            image_size=self.image_size,
            precision=self.precision,
            channels_last=True,
        )


CPU = Setting("cpu", 12, 64, 32, 0.25, "float32")
GPU = Setting("cuda", 100, 512, 96, 1.0, "bfloat16")
REAL = (
    Setting("cpu", 6, 128, 0, 1.0, "float32", "cpu-hours"),
    Setting("cpu", 6, 128, 0, 1.0, "float32", "cifar-resnet", "resnet20-cifar"),
)


@dataclass(frozen=True)
class Way:
    """How the loop by hand goes; as it stands here, as the trainer does."""

    channels_last: bool = True
    fused: bool = True  # the optimiser's step in one kernel
    whole: bool = True  # a batch is augmented at once, or image by image
    compiled: bool = False
    small_maps: bool = True  # by products, where the protocol has them so
    precision: str = ""  # another than the setting's
    threads: int = 0  # 0: as they are


WAYS = {
    "default layout": Way(channels_last=False),
    "a step for each tensor": Way(fused=False),
    "image by image": Way(whole=False),
    "torch.compile": Way(compiled=True, small_maps=False),
    "small maps convolved": Way(small_maps=False),
    "bfloat16": Way(precision="bfloat16"),
    "one thread": Way(threads=1),
}


def noise(setting: Setting) -> DataSet:
    """Images of chance, enough for the steps; what they show costs no time."""
    generator = torch.Generator().manual_seed(0)
    count = setting.steps * setting.batch_size
    images = torch.randint(256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    trained = Images(images, torch.randint(10, (count,), generator=generator))
    return DataSet.of("noise", 10, trained, trained.take(slice(0, 8)))


def new_model(setting: Setting, shared: bool = False) -> nn.Module:
    if not setting.width:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * setting.image_size**2, 10))
    sharing = "all_but_bn" if shared else "none"
    settings = OPTIONS | asdict(setting.protocol) | {"width": setting.width}
    return ModelConfig.of(setting.model, settings, sharing=sharing, classes=10).build()


def by_hand(setting: Setting, data: DataSet, way: Way = Way()) -> float:
    """Images a second of the least that trains: cut a batch, augment, forward, backward, step."""
    protocol = setting.protocol
    layout = torch.channels_last if way.channels_last else torch.contiguous_format
    model = new_model(setting).to(setting.device, memory_format=layout)
    network = torch.compile(model) if way.compiled else model
    optimizer = optimizer_by_hand(model, protocol, way)
    images, labels = data.train.images.to(setting.device), data.train.labels.to(setting.device)
    low = (way.precision or setting.precision) == "bfloat16"
    before = torch.get_num_threads()
    torch.set_num_threads(way.threads or before)
    if way.compiled:  # which takes most of a minute, once
        network(
            images[: setting.batch_size].float().contiguous(memory_format=layout)
        ).sum().backward()
        optimizer.zero_grad()
    wait(setting)
    start = time.perf_counter()
    for chosen in torch.randperm(len(labels), device=setting.device).split(setting.batch_size):
        x = (augmented(images[chosen], protocol, way).float() - 128) / 128
        if setting.image_size not in (0, 32):
            x = F.interpolate(x, (setting.image_size,) * 2, mode="bilinear")
        x = x.contiguous(memory_format=layout)
        maps = SmallMaps() if protocol.small_maps and way.small_maps else nullcontext()
        with torch.autocast(setting.device, torch.bfloat16, enabled=low), maps:
            logits = network(x)
        smoothing = protocol.label_smoothing
        F.cross_entropy(logits.float(), labels[chosen], label_smoothing=smoothing).backward()
        if protocol.gradient_clip:
            nn.utils.clip_grad_norm_(model.parameters(), protocol.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
    wait(setting)
    seconds = time.perf_counter() - start
    torch.set_num_threads(before)
    return len(labels) / seconds


def optimizer_by_hand(model: nn.Module, protocol: Protocol, way: Way) -> torch.optim.Optimizer:
    """The protocol's, at a rate that changes nothing for a speed."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1]},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    options = {"lr": 0.001, "weight_decay": protocol.weight_decay, "fused": way.fused}
    options |= {} if way.fused else {"foreach": False}
    if protocol.optimizer == "adamw":
        return torch.optim.AdamW(groups, **options)
    return torch.optim.SGD(groups, momentum=0.9, **options)


def augmented(images: torch.Tensor, protocol: Protocol, way: Way) -> torch.Tensor:
    """A batch of bytes, mirrored and shifted where the protocol says so."""
    if protocol.augmentation == "none":
        return images
    parts = images.split(len(images) if way.whole else 1)
    size, chance = images.shape[-1], torch.default_generator
    kind = protocol.augmentation
    return torch.cat([augment(part, kind, draw(len(part), size, chance)) for part in parts])


def by_trainer(setting: Setting, data: DataSet, shared: bool = False) -> tuple[float, int, int]:
    """Images a second; bytes of parameters and optimiser; bytes at the peak (GPU only)."""
    with tempfile.TemporaryDirectory() as folder:
        model = new_model(setting, shared)
        run = train(model, data, setting.protocol, folder, seed=0, progress=False)
        held = load_file(Path(folder) / checkpoint.NAME)
        size = sum(t.nbytes for name, t in held.items() if name.startswith(("model", "optimizer")))
    return run.summary["images_per_second"], size, run.summary["peak_memory_bytes"]


def wait(setting: Setting) -> None:
    if setting.device == "cuda":
        torch.cuda.synchronize()


def compare(setting: Setting, repeats: int) -> Iterator[str]:
    data = noise(setting)
    by_hand(setting, data), by_trainer(setting, data)  # warm up
    rounds = []
    for turn in range(repeats):
        runs = {
            "hand": lambda: (by_hand(setting, data),),
            "ours": lambda: by_trainer(setting, data),
            "shared": lambda: by_trainer(setting, data, shared=True),
        }
        order = list(runs) if turn % 2 == 0 else list(runs)[::-1]
        rounds.append({name: runs[name]() for name in order})
    speed = {name: [r[name][0] for r in rounds] for name in rounds[0]}
    yield title(setting, repeats)
    yield f"loop by hand        {statistics.median(speed['hand']):10.0f} images/s"
    yield f"trainer             {statistics.median(speed['ours']):10.0f} images/s"
    yield f"trainer, shared     {statistics.median(speed['shared']):10.0f} images/s"
    yield ratio("trainer / loop", speed["ours"], speed["hand"])
    yield ratio("shared / not", speed["shared"], speed["ours"])
    own, shared = rounds[0]["ours"][1], rounds[0]["shared"][1]
    yield (
        f"parameters, buffers and momentum: {own / 1e6:.2f} MB, shared {shared / 1e6:.2f} MB "
        f"({1 - shared / own:.0%} less)"
    )
    if setting.device == "cuda":
        own, shared = (statistics.median(r[n][2] for r in rounds) for n in ("ours", "shared"))
        yield f"peak memory: {own / 1e6:.0f} MB, shared {shared / 1e6:.0f} MB"


def title(setting: Setting, repeats: int) -> str:
    what = f"protocol {setting.real}" if setting.real else f"{setting.image_size} px"
    return (
        f"{setting.model} at width {setting.width}, {what}, batch {setting.batch_size}, "
        f"{setting.precision}, on {setting.device}: {repeats} rounds of {setting.steps} batches"
    )


def real(_: Setting, repeats: int) -> Iterator[str]:
    """Trainer and loop at the protocols that a processor's campaign trains with."""
    for setting in REAL:
        yield from compare(setting, repeats)
        yield ""


def variants(_: Setting, repeats: int) -> Iterator[str]:
    """The loop by hand in other ways, each beside the loop as it is, in turns."""
    for setting in REAL:
        data = noise(setting)
        yield title(setting, repeats)
        best = by_hand(setting, data)  # warm up
        for name, way in WAYS.items():
            if way.threads and torch.get_num_threads() == way.threads:
                continue
            if way == Way(small_maps=setting.protocol.small_maps):  # nothing is otherwise
                continue
            pairs = []
            for turn in range(repeats):
                order = [Way(), way] if turn % 2 == 0 else [way, Way()]
                speeds = {one: by_hand(setting, data, one) for one in order}
                pairs.append((speeds[way], speeds[Way()]))
            best = statistics.median(own for _, own in pairs)
            yield ratio(name, *map(list, zip(*pairs, strict=True)))
        yield f"as it is: {best:.0f} images/s"
        yield ""


def ratio(label: str, ones: list[float], others: list[float]) -> str:
    ratios = sorted(one / other for one, other in zip(ones, others, strict=True))
    return f"{label:24s}{statistics.median(ratios):10.3f}   ({ratios[0]:.3f} to {ratios[-1]:.3f})"


def overhead(setting: Setting, repeats: int) -> Iterator[str]:
    """What a batch costs besides the network, which does not depend on it."""
    linear = replace(setting, width=0.0, steps=300)
    data = noise(linear)
    by_hand(linear, data), by_trainer(linear, data)  # warm up
    rounds = [(by_hand(linear, data), by_trainer(linear, data)[0]) for _ in range(repeats)]
    hand, ours = (
        1000 * linear.batch_size / statistics.median(s) for s in zip(*rounds, strict=True)
    )
    yield f"a batch of {linear.batch_size} through a linear layer, {repeats} rounds of 300 batches"
    yield f"loop by hand        {hand:10.2f} ms"
    yield f"trainer             {ours:10.2f} ms, {ours - hand:.2f} ms more"


def epoch(setting: Setting) -> Iterator[str]:
    """Seconds that the thesis's V2-B0, at full width, takes for an epoch of CIFAR-10 at 32 px."""
    full = replace(setting, width=1.0, image_size=32)
    steps = 200
    cifar = data_sets.load("cifar10")
    part = replace(full, steps=steps).protocol
    part = part.changed({"train_images": steps * full.batch_size, "test_images": 1000})
    with tempfile.TemporaryDirectory() as folder:
        run = train(new_model(full), cifar, part, folder, seed=0, progress=False)
    speed = run.summary["images_per_second"]
    whole = len(cifar.train)
    yield (
        f"V2-B0, {full.image_size} px, batch {full.batch_size}, {full.precision}: {speed:.0f} "
        f"images/s over {steps} steps, so {whole / speed:.0f} s for an epoch of {whole:,} images"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="of all three loops (15)")
    parser.add_argument("--cpu-time", action="store_true", help="computing time of one thread")
    parser.add_argument("--real", action="store_true", help="the processor's real protocols")
    parser.add_argument("--variants", action="store_true", help="the loop by hand in other ways")
    parser.add_argument("--overhead", action="store_true", help="time a batch of a linear layer")
    parser.add_argument("--epoch", action="store_true", help="time an epoch of CIFAR-10 instead")
    options = parser.parse_args()
    setting = GPU if torch.cuda.is_available() and not options.cpu_time else CPU
    if options.cpu_time:
        torch.set_num_threads(1)
        time.perf_counter = time.process_time  # the trainer's clock too
    made = provenance(seed=0, device=setting.device, data_checksum=None)
    clock = "processor time" if options.cpu_time else "wall time"
    print(f"torch {made['torch']}, {made['device']}, {made['threads']} threads, {clock}\n")
    kinds = {"overhead": overhead, "real": real, "variants": variants}
    chosen = next((make for name, make in kinds.items() if getattr(options, name)), compare)
    lines = epoch(setting) if options.epoch else chosen(setting, options.rounds)
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
