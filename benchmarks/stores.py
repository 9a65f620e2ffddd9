"""What it costs to make weights of stores: a training step with them against the plain one.

    python benchmarks/stores.py            # some minutes on one core: 32 pixels, batch 128
    python benchmarks/stores.py --quick    # 16 pixels, batch 32

WRN-16-2 takes steps in turn, as it is and with stores, in one run; times are of the processor, and
the ratio is the median over rounds. `made` is the time to make all weights and their gradients
alone, against the plain step. After `merge` nothing is made, which is checked and not timed.
"""

import argparse
import copy
import statistics
import time

import torch
import torch.nn.functional as F

from reuseprior import sharing
from reuseprior.models import wide_resnet
from reuseprior.sharing.weights import merge, parametrized

SPECS = [
    "stores:5%,weighted,mask", "stores:10%,weighted,mask", "stores:10%,embedding,interpolate",
    "stores:50%,weighted", "stores:100%,one", "stores:100%,embedding", "stores:400%,weighted",
    "blocks:2",
]  # fmt: skip


def seconds(what) -> float:
    start = time.process_time()
    what()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    size, batch = (16, 32) if given.quick else (32, 128)
    torch.manual_seed(0)
    plain = wide_resnet(16, 2)
    models = {"plain": plain}
    models |= {spec: sharing.apply(copy.deepcopy(plain), spec) for spec in SPECS}
    optimizers = {
        name: torch.optim.SGD(model.parameters(), 0.1, 0.9) for name, model in models.items()
    }
    x, y = torch.randn(batch, 3, size, size), torch.randint(10, (batch,))

    def step(name: str) -> None:
        optimizers[name].zero_grad()
        F.cross_entropy(models[name](x), y).backward()
        optimizers[name].step()

    def make(name: str) -> None:
        sum(generator().sum() for generator in parametrized(models[name]).values()).backward()

    for name in models:
        step(name)
    steps = {name: [] for name in models}
    for _ in range(given.rounds):
        for name in models:
            steps[name].append(seconds(lambda name=name: step(name)))
    alone = statistics.median(steps["plain"])
    print(f"torch {torch.__version__}, one thread, processor time")
    print(f"WRN-16-2, {size} px, batch {batch}: a plain step takes {1000 * alone:.0f} ms")
    for name in SPECS:
        ratio = statistics.median(
            with_it / without for with_it, without in zip(steps[name], steps["plain"], strict=True)
        )
        made = statistics.median(seconds(lambda name=name: make(name)) for _ in range(9)) / alone
        print(f"{name:<34} step / plain {ratio:.3f}   made {made:.3f}")
        assert not parametrized(merge(models[name]))


if __name__ == "__main__":
    main()
