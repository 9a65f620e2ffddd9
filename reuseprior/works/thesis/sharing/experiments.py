"""What our own trainings of table 4.2's models say, read from `data/results`.

A protocol's runs lie in `data/results/train-<protocol>`, one folder a model, sharing and seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from reuseprior import data as data_sets
from reuseprior import paths, results
from reuseprior.contexts import count_contexts
from reuseprior.measures.statistics import ABOVE, ALIKE, BELOW, Sample, told_apart
from reuseprior.models import Recipe
from reuseprior.press import published
from reuseprior.press.published import Printed
from reuseprior.quantities import Quantities
from reuseprior.results import ResultError, Run
from reuseprior.training import Protocol, finished, train

FAMILY = "efficientnetv2-"  # of the models in table 4.2
LABELS = {"none": "", "all_but_bn": "-shared"}
OWN_SIZES = {"digits": 8, "mnist": 28, "cifar10": 32, "cifar100": 32}  # where a protocol says 0
# What a protocol may say otherwise for each model, and runs that are compared may differ in.
OF_A_MODEL = {f"protocol.{key}" for key in ("image_size", "test_image_size", "start_image_size")}

# What the ledger reads: these models with these seeds, or nothing.
MODELS = ("V2-B0", "V2-B0-shared", "V2-S-shared")
SEEDS = (0, 1)


def live(protocol: str, data: str, *, seed: int, root: Path | None, progress: bool) -> pd.DataFrame:
    """Train V2-B0 with and without sharing; parameters and test accuracy of each.

    With a `root`, such as `paths.RESULTS`, the runs are recorded there, where `runs` finds them:
    those that are finished are read, one that was interrupted goes on. Without, they leave nothing.
    """
    images, plan = data_sets.load(data), Protocol.load(protocol, model="V2-B0")
    rows = {}
    for policy, shared in LABELS.items():
        recipe = Recipe.of("V2-B0", vars(plan), sharing=policy, classes=images.classes, seed=seed)
        with TemporaryDirectory() as nowhere:
            folder = (root or Path(nowhere)) / _folder(protocol)
            folder /= f"{recipe.name}-{policy}-{data}-seed{seed}"
            if not finished(folder):
                options = {"about": recipe.about(), "resume": True, "progress": progress}
                train(recipe.build(), images, plan, folder, seed=seed, **options)
            run = Run.read(folder)
        rows[f"V2-b0{shared}"] = [run.config["parameters"], run.summary["test_accuracy"]]
    return pd.DataFrame.from_dict(rows, "index", columns=["parameters", "test accuracy"])


def runs(protocol: str, data: str) -> list[Run]:
    """The finished runs of a protocol on a data set, by name; EfficientNetV2 only.

    Raises `results.ResultError` where there are none, where two of them were not trained alike,
    and where two are of one model and seed.
    """
    found = _finished(protocol, data)
    if not found:
        raise ResultError(
            f"no run of {FAMILY}… on {data} in {paths.RESULTS / _folder(protocol)} is finished: "
            f"make one with `reuseprior train {FAMILY}b0 --data {data} --protocol {protocol}`"
        )
    return found


def complete(protocol: str, data: str) -> list[Run]:
    """`runs` if every model of MODELS has every seed of SEEDS, on all images; else none."""
    found = _finished(protocol, data)
    there = {(label(run), run.config["seed"]) for run in found if _on_all_images(run)}
    needed = {(model, seed) for model in MODELS for seed in SEEDS}
    return found if needed <= there else []


def _folder(protocol: str) -> str:
    return f"train-{protocol}"


def _finished(protocol: str, data: str) -> list[Run]:
    if not (paths.RESULTS / _folder(protocol)).exists():
        return []
    found = [
        run
        for run in results.runs(_folder(protocol))
        if run.config.get("model", "").startswith(FAMILY)
        and run.config["data"] == data
        and run.summary["state"] == "finished"
    ]
    _check_alike(found)
    return found


def _on_all_images(run: Run) -> bool:
    protocol = run.config["protocol"]
    return not any(protocol[key] for key in ("train_images", "test_images", "validation"))


def _check_alike(found: Sequence[Run]) -> None:
    """Raise `ResultError` unless all were trained alike, each with a seed of its own."""
    first_of: dict[str, Run] = {}
    seeds: dict[tuple[str, int], Run] = {}
    for run in found:
        model = run.config["model"]
        for other in (found[0], first_of.setdefault(model, run)):
            allowed = set() if other.config["model"] == model else OF_A_MODEL
            mine, theirs = _conditions(run), _conditions(other)
            for key in sorted((mine.keys() | theirs.keys()) - allowed):
                if mine.get(key) != theirs.get(key):
                    raise ResultError(
                        f"{run.folder} has {key} = {mine.get(key)} and {other.name} beside it has "
                        f"{theirs.get(key)}: move one of them to another experiment"
                    )
        same = seeds.setdefault((label(run), run.config["seed"]), run)
        if same is not run:
            raise ResultError(
                f"{run.folder} and {same.name} beside it are the same model and seed: keep one"
            )


def _conditions(run: Run) -> dict[str, object]:
    """What runs must have in common to be compared."""
    config = run.config
    return {
        "classes": config["classes"],
        "data_checksum": config["data_checksum"],
        "processes": run.summary["processes"],  # each normalises its own part of a batch
        **{f"images.{part}": size for part, size in config["images"].items()},
        # what an older package did not know is at rest
        **{f"protocol.{k}": v for k, v in (asdict(Protocol()) | config["protocol"]).items()},
    }


def label(run: Run) -> str:
    """The thesis's name of a run's model: V2-B0, V2-B0-shared, V2-S-shared."""
    return run.config["model"].replace(FAMILY, "v2-").upper() + (LABELS[run.config["sharing"]])


def trained(found: Sequence[Run]) -> pd.DataFrame:
    """One row a model, fewest parameters first; `found` are `runs` on one data set.

    Columns: data, params (learnable, tied ones once), seeds, accuracy and its standard deviation
    over seeds in per cent (of the last epoch), images a second, and the P_G and P′_G of the model
    as it was trained.
    """
    groups: dict[str, list[Run]] = {}
    for run in found:
        groups.setdefault(label(run), []).append(run)
    rows = []
    for name, members in groups.items():
        accuracy = Sample.of([100 * run.summary["test_accuracy"] for run in members])
        q = counted(members[0])
        rows.append(
            {
                "model": name,
                "data": members[0].config["data"],
                "params": members[0].config["parameters"],
                "seeds": len(members),
                "accuracy": accuracy.mean,
                "sd": accuracy.deviation,
                "images/s": np.median([run.summary["images_per_second"] for run in members]),
                "P_G": q.P_G,
                "P_G_spread": q.P_G_spread,
            }
        )
    return pd.DataFrame(rows).sort_values("params", ignore_index=True)


def counted(run: Run) -> Quantities:
    """The quantities of a run's model as it was trained: its width, sharing and image size."""
    protocol = run.config["protocol"]
    model = Recipe.recorded(run.config).build(lazy=True)
    size = protocol["test_image_size"] or protocol["image_size"] or OWN_SIZES[run.config["data"]]
    return count_contexts(model, (1, protocol["channels"], size, size)).quantities()


def ordering(models: pd.DataFrame, better: str, worse: str) -> str:
    """What our runs say of a printed ordering, as one sentence; `models` is a table of `trained`.

    Two models are told apart by Welch's t-test over their seeds (`measures.statistics.told_apart`).
    """
    rows = models.set_index("model")
    high, low = rows.loc[better], rows.loc[worse]
    verdict = told_apart(*(Sample(row.accuracy, row.sd, row.seeds) for row in (high, low)))
    alone = [name for name, row in ((better, high), (worse, low)) if row.seeds < 2]
    how = f"one seed of {' and of '.join(alone)} cannot tell" if alone else verdict.how
    held = {
        ABOVE: "as in Table 4.2",
        BELOW: "so this protocol does not show Table 4.2's ordering",
        ALIKE: "so this protocol neither shows nor refutes Table 4.2's ordering",
    }[verdict.word]
    fewer = 1 - high.params / low.params
    size = f"{abs(fewer):.0%} {'fewer' if fewer > 0 else 'more'} parameters"
    means = f"{high.accuracy:.1f} % against {low.accuracy:.1f} %"
    return f"{better}, with {size}, {verdict.word} {worse} ({means}; {how}), {held}."


def curves(found: Sequence[Run]) -> pd.DataFrame:
    """The metrics of all runs, one row an epoch, with columns `model` and `seed`."""
    tables = [r.metrics.assign(model=label(r), seed=r.config["seed"]) for r in found]
    return pd.concat(tables, ignore_index=True)


def beside_other_sharing() -> pd.DataFrame:
    """Top-1 accuracy on CIFAR-100 against the share of parameters that sharing leaves.

    As figure B.1 does, from numbers that are printed: table 4.2 and table 14 of NPAS. Columns:
    model, shared, percent_of_parameters (of the same architecture unshared), accuracy.
    """
    npas = published.load("npas/table-14")
    others = pd.DataFrame(
        {
            "model": npas.model,
            "shared": npas.shared == "yes",
            "percent_of_parameters": npas.percent_of_parameters.astype(float),
            "accuracy": 100 - npas.error.astype(float),
            "source": "NPAS, table 14",
        }
    )
    printed = published.load("thesis/table-4-2").query("dataset == 'CIFAR-100'")
    unshared = {"V2-B0": _printed_size(printed, "V2-B0-original"), "V2-S": _size_of_v2_s()}
    rows = []
    for row in printed.itertuples():
        base = row.model.removesuffix("-shared").removesuffix("-original")
        size = float(Printed.parse(row.params).value)
        shared = row.model.endswith("-shared")
        rows.append(
            [row.model, shared, 100 * size / unshared[base], float(row.score), "thesis, table 4.2"]
        )
    ours = pd.DataFrame(rows, columns=others.columns)
    return pd.concat([others, ours], ignore_index=True)


def _printed_size(printed: pd.DataFrame, model: str) -> float:
    return float(Printed.parse(printed.set_index("model").params[model]).value)


def _size_of_v2_s() -> float:
    model = Recipe("V2-S", classes=100).build(lazy=True)
    return float(sum(p.numel() for p in model.parameters()))
