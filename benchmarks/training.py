"""How fast the trainer is: against a minimal loop written by hand, and with shared weights.

    python benchmarks/training.py             # about two minutes; on the GPU where there is one
    python benchmarks/training.py --rounds 60 # four times as long
    python benchmarks/training.py --cpu-time  # on a processor that others use as well
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
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from reuseprior import data as data_sets
from reuseprior.data import DataSet, Images
from reuseprior.models import Recipe
from reuseprior.results import provenance
from reuseprior.training import Protocol, checkpoint, train


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

    @property
    def protocol(self) -> Protocol:
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
    return Recipe("V2-B0", sharing, classes=10, options={"width": setting.width}).build()


def by_hand(setting: Setting, data: DataSet) -> float:
    """Images a second of the least that trains: cut a batch, forward, backward, step."""
    model = new_model(setting).to(setting.device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.005, momentum=0.9)
    images, labels = data.train.images.to(setting.device), data.train.labels.to(setting.device)
    low = setting.precision == "bfloat16"
    wait(setting)
    start = time.perf_counter()
    for chosen in torch.randperm(len(labels), device=setting.device).split(setting.batch_size):
        x = (images[chosen].float() - 128) / 128
        if setting.image_size != 32:
            x = F.interpolate(x, (setting.image_size,) * 2, mode="bilinear")
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(setting.device, torch.bfloat16, enabled=low):
            logits = model(x)
        F.cross_entropy(logits.float(), labels[chosen]).backward()
        optimizer.step()
        optimizer.zero_grad()
    wait(setting)
    return len(labels) / (time.perf_counter() - start)


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
    yield (
        f"V2-B0 at width {setting.width}, {setting.image_size} px, batch {setting.batch_size}, "
        f"{setting.precision}, on {setting.device}: {repeats} rounds of {setting.steps} batches"
    )
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


def ratio(label: str, ones: list[float], others: list[float]) -> str:
    ratios = sorted(one / other for one, other in zip(ones, others, strict=True))
    return f"{label:20s}{statistics.median(ratios):10.3f}   ({ratios[0]:.3f} to {ratios[-1]:.3f})"


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
    if options.epoch:
        lines = epoch(setting)
    else:
        lines = (overhead if options.overhead else compare)(setting, options.rounds)
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
