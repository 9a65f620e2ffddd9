"""How fast contexts are counted: against a dictionary counter, and against a forward pass.

    python benchmarks/counting.py            # about four minutes on one core
    python benchmarks/counting.py --quick    # small images only
    python benchmarks/counting.py --beside ../before    # this checkout against another one
    python benchmarks/counting.py --tools    # against flop_counter and fvcore, which it needs
    python benchmarks/counting.py --start    # from Enter to the first row, against import torch

The dictionary counter is the straightforward way: one entry a scalar feature and weight, and one
addition a connection. It counts V2-B0 at 32, 64 and 96 px; both counters must agree there to the
last count. What it would take at 224 px follows from its cost a connection.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from reuseprior.contexts import count_contexts, trace_model
from reuseprior.measures.scores import signal_paths
from reuseprior.models import CNN, catalog
from reuseprior.models.efficientnet_v2 import ConvBlock, FusedMBConv

THESIS_ROWS = [
    ("V2-B0", 224), ("V2-S", 384), ("V2-B1", 240), ("ResNet-50", 384), ("V2-B3", 300),
    ("V2-M", 480), ("V2-L", 480),
]  # fmt: skip


class DictionaryCounter:
    """Contexts of EfficientNetV2's parameters by looping over every connection, backwards."""

    def __init__(self, model: nn.Module, size: int):
        self.counts = defaultdict(int)  # (parameter, *index) → contexts
        self.connections = 0
        self.names = {id(p): name for name, p in model.named_parameters()}
        self.shapes = self.shapes_of(model, size)
        self.walk(model)

    @staticmethod
    def shapes_of(model: nn.Module, size: int) -> dict[nn.Module, tuple[int, int]]:
        """Height and width of what goes into each convolution."""
        shapes = {}
        hooks = [
            layer.register_forward_pre_hook(
                lambda layer, args: shapes.__setitem__(layer, tuple(args[0].shape[2:]))
            )
            for layer in model.modules()
            if isinstance(layer, nn.Conv2d)
        ]
        with torch.no_grad():
            model.eval()(torch.empty(1, 3, size, size, device="meta"))
        for hook in hooks:
            hook.remove()
        return shapes

    def walk(self, model: nn.Module) -> None:
        features = defaultdict(int)
        for o in range(model.classifier.out_features):
            self.use(model.classifier.bias, 1, o)
            for i in range(model.classifier.in_features):
                self.use(model.classifier.weight, 1, o, i)
                features[i] += 1
        height, width = self.shapes[model.head]
        x = {
            (c, row, column): features[c]
            for c in features
            for row in range(height)
            for column in range(width)
        }
        x = self.convolution(model.head, self.norm(model.head_bn, x))
        for block in reversed(model.blocks):
            x = self.block(block, x)
        self.convolution(model.stem, self.norm(model.stem_bn, x))

    def use(self, parameter: nn.Parameter, count: int, *index: int) -> None:
        self.counts[(self.names[id(parameter)], *index)] += count
        self.connections += 1

    def norm(self, layer: nn.BatchNorm2d, x: dict) -> dict:
        for (channel, _, _), count in x.items():
            self.use(layer.weight, count, channel)
            self.use(layer.bias, count, channel)
        return x

    def block(self, block: nn.Module, x: dict) -> dict:
        y = self.convolution(block.project, self.norm(block.project_bn, x))
        if isinstance(block, FusedMBConv):
            y = self.convolution(block.expand, self.norm(block.expand_bn, y))
        elif not isinstance(block, ConvBlock):
            y = self.gate(block.gate, y)
            y = self.convolution(block.depthwise, self.norm(block.depthwise_bn, y))
            y = self.convolution(block.expand, self.norm(block.expand_bn, y))
        if block.skip:
            for at, count in x.items():
                y[at] += count
        return y

    def gate(self, gate: nn.Module, x: dict) -> dict:
        scales = defaultdict(int)
        for (channel, _, _), count in x.items():
            scales[channel, 0, 0] += count
        means = self.convolution(gate.reduce, self.convolution(gate.expand, scales))
        return {at: count + means[at[0], 0, 0] for at, count in x.items()}

    def convolution(self, layer: nn.Conv2d, x: dict) -> dict:
        """Add up the uses of the weights; return the counts of what goes in."""
        sources = defaultdict(int)
        weight = self.counts
        name = self.names[id(layer.weight)]
        height, width = self.shapes[layer]
        kernel, stride, padding = layer.kernel_size[0], layer.stride[0], layer.padding[0]
        inputs = layer.in_channels // layer.groups
        outputs = layer.out_channels // layer.groups
        for (o, row, column), count in x.items():
            if layer.bias is not None:
                self.use(layer.bias, count, o)
            first = o // outputs * inputs
            for kr in range(kernel):
                r = row * stride + kr - padding
                if not 0 <= r < height:
                    continue
                for kc in range(kernel):
                    c = column * stride + kc - padding
                    if not 0 <= c < width:
                        continue
                    self.connections += inputs
                    for i in range(inputs):
                        weight[name, o, i, kr, kc] += count
                        sources[first + i, r, c] += count
        return sources


def seconds(run: Callable, repeats: int = 5) -> float:
    """The median time of a run after a first one."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def ours(label: str, size: int) -> tuple[float, float]:
    """Seconds to record and to count."""
    model = catalog.build(label)
    shape = (1, 3, size, size)
    traced = trace_model(model, shape)
    return (
        seconds(lambda: trace_model(model, shape)),
        seconds(lambda: traced.count(batch_norm="all")),
    )


def against_dictionary(sizes: list[int]) -> Iterator[str]:
    model = catalog.build("V2-B0").to("meta")
    yield "V2-B0        dictionary              ours, record + count         ratio   count alone"
    found = []
    for size in sizes:
        start = time.perf_counter()
        counter = DictionaryCounter(model, size)
        taken = time.perf_counter() - start
        assert_same(counter.counts, model, size)
        found.append((counter.connections, taken))
        yield row(size, taken, *ours("V2-B0", size), f"{counter.connections:.3g} connections")
    each = statistics.mean(taken / n for n, taken in found)
    spread = max(abs(taken / n / each - 1) for n, taken in found)
    connections = connections_of(model, 224)
    note = f"extrapolated: {connections:.3g} connections of {each * 1e6:.2f} µs (±{spread:.0%})"
    yield row(224, connections * each, *ours("V2-B0", 224), note)


def assert_same(counts: dict, model: nn.Module, size: int) -> None:
    exact = count_contexts(model, (1, 3, size, size), exact=True)
    total = 0
    for p in exact.parameter_counts:
        for index, count in np.ndenumerate(np.broadcast_to(p.counts, p.shape)):
            if count:
                assert counts[(p.name, *index)] == count, (p.name, index)
                total += 1
    assert total == len(counts), (total, len(counts))


def connections_of(model: nn.Module, size: int) -> int:
    """Uses of weights at an image size, by torch's counter of operations (two a connection)."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        model.eval()(torch.empty(1, 3, size, size, device="meta"))
    return flops.get_total_flops() // 2


def row(size: int, dictionary: float, tracing: float, counting: float, note: str) -> str:
    both = tracing + counting
    return (
        f"{size:3d} px  {dictionary:12.1f} s  {tracing * 1e3:10.1f} + {counting * 1e3:.1f} ms"
        f"  {dictionary / both:12,.0f}×  {dictionary / counting:10,.0f}×   {note}"
    )


def against_forward(rows: list[tuple[str, int]]) -> Iterator[str]:
    yield "model           px   record      count   forward pass, float32   count / forward"
    totals = [0.0, 0.0]
    for label, size in rows:
        tracing, counting = ours(label, size)
        model = catalog.build(label, lazy=False).eval()
        images = torch.randn(1, 3, size, size)
        with torch.inference_mode():
            forward = seconds(lambda model=model, images=images: model(images), 3)
        totals = [totals[0] + tracing, totals[1] + counting]
        yield (
            f"{label:12s} {size:5d}  {tracing * 1e3:6.0f} ms  {counting * 1e3:6.0f} ms"
            f"  {forward * 1e3:18.0f} ms  {counting / forward:14.2f}"
        )
    yield f"together            {totals[0] * 1e3:6.0f} ms  {totals[1] * 1e3:6.0f} ms"


def growth() -> Iterator[str]:
    yield "V2-B0 by image size, record + count, ms"
    for size in (32, 64, 128, 256, 512, 1024):
        tracing, counting = ours("V2-B0", size)
        yield f"{size:6d} px  {tracing * 1e3:8.1f} + {counting * 1e3:.1f}"
    yield "CNN of 16 channels on 32×32 by depth, record + count, ms (µs a layer)"
    for depth in (10, 100, 1000):
        with torch.device("meta"):
            model = CNN(16, depth)
        traced = trace_model(model, (1, 16, 32, 32))
        record = seconds(lambda model=model: trace_model(model, (1, 16, 32, 32)), 3)
        count = seconds(traced.count, 3)
        each = (record + count) / depth * 1e6
        yield f"{depth:6d} layers {record * 1e3:8.1f} + {count * 1e3:.1f}  ({each:.0f})"


FOLLOWED = [
    ("nas-bench-201:333333", 32), ("torchvision:resnet50", 224), ("torchvision:densenet201", 224),
    ("torchvision:swin_t", 224), ("torchvision:vit_b_16", 224), ("V2-S", 384), ("V2-L", 480),
]  # fmt: skip


def signals(rows: list[tuple[str, int]]) -> Iterator[str]:
    """Signal paths with all their measures against counting, of one record."""
    yield "model                    px    count   signal paths   signal paths / count"
    for label, size in rows:
        traced = trace_model(catalog.build(label), (1, 3, size, size))

        def followed(traced=traced):
            paths = signal_paths(traced)
            return paths.shortest, paths.mean_length, paths.layer_entropy, paths.path_entropy

        counting, following = seconds(traced.count), seconds(followed)
        each = f"{counting * 1e3:6.1f} ms   {following * 1e3:9.1f} ms"
        yield f"{label:22s} {size:4d} {each}   {following / counting:20.2f}"


# Models traced and counted once a line that comes in, by the checkout that Python is told of.
ONCE = """
import json, sys, time
import torch
from reuseprior import contexts
from reuseprior.models import catalog
trace_model = getattr(contexts, "trace_model", None) or contexts.record_model  # its old name
torch.set_num_threads(1)
models = [(catalog.build(name), (1, 3, size, size)) for name, size in json.loads(sys.argv[1])]
for _ in sys.stdin:
    taken = []
    for model, shape in models:
        times = [time.process_time()]
        traced = trace_model(model, shape)
        times.append(time.process_time())
        traced.count(batch_norm="all")
        taken.append((times[1] - times[0], time.process_time() - times[1]))
    print(json.dumps(taken), flush=True)
"""
BESIDE = [("torchvision:resnet50", 224), ("V2-S", 384), ("torchvision:swin_t", 224)]


def beside(other: Path, rounds: int = 15) -> Iterator[str]:
    """This checkout and another in turn, in processes of their own: medians of processor time."""
    roots = {"before": other.resolve(), "now": Path(__file__).resolve().parents[1]}
    running = {
        name: subprocess.Popen(
            [sys.executable, "-c", ONCE, json.dumps(BESIDE)],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, root in roots.items()
    }
    times = {name: [] for name in running}
    for turn in range(rounds + 1):
        for name in sorted(running, reverse=turn % 2 == 1):
            print(turn, file=running[name].stdin, flush=True)
            times[name].append(json.loads(running[name].stdout.readline()))
    for process in running.values():
        process.communicate()
    medians = {name: np.median(taken[1:], axis=0) * 1e3 for name, taken in times.items()}
    yield "model                    px   step       before          now   now / before"
    for row, (label, size) in enumerate(BESIDE):
        for column, step in enumerate(("record", "count")):
            old, new = medians["before"][row, column], medians["now"][row, column]
            each = f"{old:7.1f} ms   {new:7.1f} ms   {new / old:12.2f}"
            yield f"{label:22s} {size:4d}   {step:6s} {each}"


TOOLS = [
    ("torchvision:resnet50", 224), ("torchvision:vit_b_16", 224), ("torchvision:vgg16", 224),
    ("torchvision:convnext_tiny", 224), ("torchvision:densenet121", 224), ("V2-S", 384),
    ("torchvision:mobilenet_v3_large", 224), ("torchvision:regnet_y_1_6gf", 224),
]  # fmt: skip


def beside_tools() -> Iterator[str]:
    """Record and count beside what counts operations: torch's flop counter and fvcore.

    The first two run without data; fvcore traces a real pass, as it asks for.
    """
    from fvcore.nn import FlopCountAnalysis
    from torch.utils.flop_counter import FlopCounterMode

    def torch_flops(model: nn.Module, x: torch.Tensor) -> None:
        with torch.no_grad(), FlopCounterMode(display=False):
            model(x)

    def fvcore_flops(model: nn.Module, x: torch.Tensor) -> None:
        analysis = FlopCountAnalysis(model, x)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()

    yield "model                            px   record + count   flop_counter      fvcore"
    for label, size in TOOLS:
        model = catalog.build(label).to("meta").eval()
        x = torch.empty(1, 3, size, size, device="meta")
        both = seconds(lambda model=model, x=x: count_contexts(model, x), 3)
        torchs = seconds(lambda model=model, x=x: torch_flops(model, x), 3)
        real, image = catalog.build(label, lazy=False).eval(), torch.zeros(x.shape)
        theirs = seconds(lambda model=real, x=image: fvcore_flops(model, x), 3)
        times = f"{both * 1e3:11.0f} ms  {torchs * 1e3:10.0f} ms  {theirs * 1e3:7.0f} ms"
        yield f"{label:30s} {size:4d}  {times}"


def starts(rounds: int = 5) -> Iterator[str]:
    """Whole processes in turn, by processor time, the count of the model included."""
    commands = {
        "import torch": ["-c", "import torch"],
        "count resnet20-cifar": ["-m", "reuseprior", "count", "resnet20-cifar", "--json"],
        "count V2-B0": ["-m", "reuseprior", "count", "V2-B0", "--json"],
        "rank V2-B0": ["-m", "reuseprior", "rank", "--no-cache", "V2-B0", "--json"],
    }
    taken = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, *command], check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            taken[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    least = medians["import torch"]
    yield "process                   seconds   / import torch"
    for name, median in medians.items():
        yield f"{name:22s} {median:10.2f}   {median / least:14.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small images only")
    parser.add_argument("--tools", action="store_true", help="beside flop_counter and fvcore")
    parser.add_argument("--start", action="store_true", help="whole commands, and import torch")
    parser.add_argument("--beside", type=Path, help="another checkout to compare with")
    arguments = parser.parse_args()
    quick = arguments.quick
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, numpy {np.__version__}, {cpu_name()}, one thread\n")
    tables = (
        against_dictionary([32] if quick else [32, 64, 96]),
        against_forward(THESIS_ROWS[:1] if quick else THESIS_ROWS),
        growth(),
        signals(FOLLOWED[:1] if quick else FOLLOWED),
    )
    if arguments.start:
        tables = [starts()]
    elif arguments.beside or arguments.tools:
        tables = [beside(arguments.beside) if arguments.beside else beside_tools()]
    for table in tables:
        for line in table:
            print(line, flush=True)
        print()


def cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
