"""What a generation of a search costs beside its training, and what sharing saves.

Times are processor time of one thread, which other programs on the machine hardly change.

`python benchmarks/revolver.py` takes about ten minutes on one core, `--quick` three. `--ways` asks
instead how the small networks of our own searches train fastest, by the clock on idle cores.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import platform
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from reuseprior import data, revolver


def settings(quick: bool) -> revolver.Settings:
    """The largest run of table 3.2 on images of 8 pixels: no real batches are as cheap as these."""
    changes = {"population": 20, "sample": 2} if quick else {}
    return revolver.Settings.load(
        "cifar10-evolve-16",
        generations=1000,  # so that the learning rate stays as it is
        augmentation="none",
        warmup_x=1,
        **{"sample": 4, "space.widths": [1], "space.smallest": 2, **changes},
    )


def against_bare_loops(quick: bool) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:  # with checkpoints and tables, as a real run
        search = revolver.Search.start(settings(quick), noise(14_000), f"{folder}/run")
        yield from compare(search, 5)


def noise(count: int, size: int = 8) -> data.DataSet:
    """Random images of three channels: 14,000 are 98 batches of 128 in an epoch."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=generator)
    labels = torch.randint(10, (count,), generator=generator)
    images = data.Images(images, labels)
    return data.DataSet.of("noise", 10, images, images.take(slice(100)))


def compare(search: revolver.Search, generations: int) -> Iterator[str]:
    """Each turn against its bare loop right after it, for a machine's speed changes by the minute.

    What a generation does beside its turns (search, sharing, tables, checkpoint) is added.
    """
    yield (
        f"population {search.settings.population}, {search.settings.sample} trained in a generation"
    )
    yield "generation   batches    its turns   bare loops   turns / loops   beside them"
    turns, ratios, beside = Turns(search), [], []
    for _ in range(generations):
        turns.seconds, turns.loops = [], []
        start = time.process_time()
        row = search.step()
        seconds = time.process_time() - start
        own, loops = sum(turns.seconds), sum(turns.loops)
        ratios += [turn / loop for turn, loop in zip(turns.seconds, turns.loops, strict=True)]
        beside.append((seconds - own - loops) / loops)
        yield (
            f"{row['generation']:10d}  {row['batches']:8d}  {own:9.2f} s  {loops:9.2f} s  "
            f"{own / loops:13.3f}  {beside[-1]:12.1%}"
        )
    turn, rest = statistics.median(ratios) - 1, statistics.median(beside)
    yield (
        f"overhead {turn + rest:.1%}: turns {turn:+.1%} (median of {len(ratios)}), "
        f"beside them {rest:.1%} (median of {generations})"
    )


class Turns:
    """Times every turn of a search, and after it a bare loop of the same model and batches."""

    def __init__(self, search: revolver.Search):
        self.search, self._take = search, search._take_turn
        self.seconds: list[float] = []
        self.loops: list[float] = []
        search._take_turn = self.take

    def take(self, stop) -> None:
        start = time.process_time()
        self._take(stop)
        self.seconds.append(time.process_time() - start)
        last = self.search.trainings[-1]
        (individual,) = [i for i in self.search.population if i.number == last["individual"]]
        model = copy.deepcopy(self.search.registry.build(individual.blueprint))
        self.loops.append(bare_loop(model, self.search, last["batches"]))


def bare_loop(model, search: revolver.Search, batches: int) -> float:
    """Seconds to train and validate a model as a plain script would, on the same images."""
    s = search.settings
    trained, held_out = search.data.split(validation=s.validation, seed=0)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=s.learning_rate, momentum=s.momentum, weight_decay=s.weight_decay
    )
    start = time.process_time()
    model.train()
    order = torch.randperm(len(trained))
    for batch in range(batches):
        chosen = order[batch * s.batch_size % len(order) :][: s.batch_size]
        images = trained.images[chosen].float().sub_(128).div_(128)
        loss = F.cross_entropy(model(images), trained.labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        images = held_out.images.float().sub_(128).div_(128)
        (model(images).argmax(1) == held_out.labels).float().mean().item()
    return time.process_time() - start


def memory(quick: bool) -> Iterator[str]:
    yield "share unique   sharing factor  tensors shared       alone    process shared    alone"
    for unique in (0.5, 0.0):
        found = {}
        for shared in (True, False):
            with multiprocessing.get_context("spawn").Pool(1) as pool:  # one's memory, from scratch
                found[shared] = pool.apply(build_all, (unique, shared, 20 if quick else 80))
        (factor, tensors, process), (_, tensors_alone, process_alone) = found[True], found[False]
        sizes = (n / 2**20 for n in (tensors, tensors_alone, process, process_alone))
        yield f"{unique:12.2f} {factor:16.2f}" + "".join(f"{size:12.1f} MiB" for size in sizes)


def build_all(unique: float, shared: bool, count: int) -> tuple[float, int, int]:
    """Sharing factor of a population, bytes of its tensors, and by how much the process grew."""
    space = revolver.Space(unique=unique)
    registry = revolver.Registry(seed=0)
    rng = random.Random(0)
    blueprints = [revolver.generate(space, rng, registry.tags) for _ in range(count)]
    before = peak()
    models = [
        (registry if shared else revolver.Registry(seed=0)).build(blueprint)
        for blueprint in blueprints
    ]
    tensors = {id(t): t for m in models for t in (*m.parameters(), *m.buffers())}.values()
    held = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return revolver.sharing_factor(blueprints), held, peak() - before


def peak() -> int:
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if platform.system() == "Darwin" else found * 1024


def blueprints() -> Iterator[str]:
    start = time.process_time()
    tags, rng = revolver.Tags(), random.Random(0)
    for _ in range(80):
        revolver.generate(revolver.Space(), rng, tags)
    yield f"80 CIFAR-10 individuals' blueprints: {time.process_time() - start:.2f} s"


WAYS = {
    "two threads": {"threads": 2},
    "default layout": {"layout": torch.contiguous_format},
    "batch 32": {"batch_size": 32},
    "batch 512": {"batch_size": 512},
}


def ways(rounds: int = 3) -> Iterator[str]:
    """The networks of a search of ours at 32 pixels: other ways beside its own, in turns."""
    settings = revolver.Settings.load("cpu-hours-cifar10-evolve")
    search = revolver.Search.start(settings, noise(2048, 32))
    models = [search.registry.build(one.blueprint) for one in search.population]
    own = {"threads": 1, "layout": torch.channels_last, "batch_size": settings.batch_size}
    yield f"{len(models)} networks of {settings.name}, as a part of their speed as it is"
    for name in WAYS:
        ratios, speeds = [], []
        for turn in range(rounds):
            for model in models:
                pair = {}
                for way in ("own", name) if turn % 2 == 0 else (name, "own"):
                    pair[way] = speed(model, search, **own | WAYS.get(way, {}))
                ratios.append(pair[name] / pair["own"])
                speeds.append(pair["own"])
        low, middle, high = (sorted(ratios)[i] for i in (0, len(ratios) // 2, -1))
        yield f"{name:24s}{middle:10.3f}   ({low:.3f} to {high:.3f})"
    yield f"as it is: {min(speeds):.0f} to {max(speeds):.0f} images/s"


def speed(model, search: revolver.Search, *, threads: int, layout, batch_size: int) -> float:
    """Images a second that a copy of a model trains with, in a plain loop."""
    model = copy.deepcopy(model).train()
    for parameter in model.parameters():
        if parameter.ndim == 4:  # those of conv3d have no such layout
            parameter.data = parameter.data.contiguous(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    images = search.data.train.images[:1024].float().sub_(128).div_(128)
    labels = search.data.train.labels[:1024]
    torch.set_num_threads(threads)
    start = time.perf_counter()
    for x, y in zip(images.split(batch_size), labels.split(batch_size), strict=True):
        F.cross_entropy(model(x.contiguous(memory_format=layout)), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    seconds = time.perf_counter() - start
    torch.set_num_threads(1)
    return len(images) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smaller population")
    parser.add_argument("--ways", action="store_true", help="how small networks train fastest")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread\n")
    quick = options.quick
    tables = (blueprints(), memory(quick), against_bare_loops(quick))
    for table in (ways(),) if options.ways else tables:
        for line in table:
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
