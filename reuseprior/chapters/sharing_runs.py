"""What our own trainings of table 4.2's models, and of others that share alike, say.

A protocol's runs lie in `data/results/train-<protocol>`, one folder a model, sharing and seed, and
those with another width in `train-<protocol>,width=<width>`. A model has *converged* if its seeds
gained no more in their last tenth of epochs, on average, than the standard error of one accuracy;
a longer training may still gain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import nan, sqrt
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from reuseprior import paths, results
from reuseprior.contexts import TracedModel, multiply_adds, trace_model
from reuseprior.data.sets import BLIND
from reuseprior.measures.statistics import (
    ABOVE,
    ALIKE,
    BELOW,
    LEAST,
    Sample,
    by_chance,
    kendall,
    order,
    told_apart,
)
from reuseprior.models import ModelConfig, catalog
from reuseprior.quantities import Quantities
from reuseprior.report import campaign, published
from reuseprior.report.campaign import Planned
from reuseprior.report.published import Printed
from reuseprior.report.runs import machine, options
from reuseprior.results import ResultError, Run
from reuseprior.training import Protocol

FAMILY = "efficientnetv2-"  # of the models in table 4.2
RESNET = re.compile(r"resnet(\d+)-cifar")  # made for 32 pixels
LABELS = {"none": "", "all_but_bn": "-shared", "with_bn": "-shared-with-bn"}
OWN_SIZES = {"digits": 8, "mnist": 28, "cifar10": 32, "cifar100": 32}  # where a protocol says 0
# What a protocol may say otherwise for each model, and runs that are compared may differ in.
OF_A_MODEL = {f"protocol.{key}" for key in ("image_size", "test_image_size", "start_image_size")}
ROUNDED = {"small_maps"}  # what says only how sums are rounded, as a processor's instructions do

HOURS = "cpu-hours"  # the protocol for these models on a processor
MINUTES = "cpu"  # the one before it, of whose runs chapter 6 has a prediction
RESNETS = "cifar-resnet"  # for ResNets
LARGER = 56  # 32 px in the ratio of the thesis's 384 to 224, in whole steps of eight


# Commands ----------------------------------------------------------------------------------------


def command(label: str, data: str, protocol: str) -> str:
    """The beginning of the command that trains a model of the tables: all but the seed."""
    model, policy = split_label(label)
    tied = f" --sharing {policy}" if policy != "none" else ""
    return f"reuseprior train {model}{tied} --data {data} --protocol {protocol}"


def repeat(run: Run) -> str:
    """The command that makes a recorded run anew, in `build/again`, and the run's own commit.

    It sets threads and instructions, and all that is not at rest or that the protocol's file has
    otherwise now, since at the run's commit that file need not have been what it is.
    """
    config, plan = run.config, Protocol(**run.config["protocol"])
    changes = plan.differences(Protocol()) | plan.differences(
        Protocol.load(plan.name, model=config["model"])
    )
    known = {k: v for k, v in changes.items() if k in config["protocol"] and k != "name"}
    data = config["data"].removesuffix(BLIND)
    blind = data != config["data"]
    if blind:  # which sets how often it looks, at what is held out in place of the test images
        images = config["images"]
        known |= {"validation": images["test"] / sum(images.values())}
        del known["test_every"]
    trained = machine(run) + command(label(run.config), data, plan.name) + options(known)
    trained += " --blind" * blind
    place = f"build/again/{run.folder.parent.name}/{run.name}"  # runs of two widths have one name
    again = f"{trained} --seed {config['seed']} --output {place}"
    return f"{again}  # commit {run.commit}"


def split_label(label: str) -> tuple[str, str]:
    """The catalogue's name and the policy of a model of the tables.

    >>> split_label("V2-S-shared"), split_label("ResNet-20")
    (('efficientnetv2-s', 'all_but_bn'), ('resnet20-cifar', 'none'))
    """
    suffixes = {suffix: policy for policy, suffix in LABELS.items()}
    name, shared, suffix = label.partition("-shared")
    policy = suffixes[shared + suffix]
    if name.startswith("ResNet-"):
        name = name.lower().replace("-", "") + "-cifar"
    return catalog.find(name).name, policy


# The runs that there are -------------------------------------------------------------------------


def live(
    protocol: str, data: str, *, changes: str = "", seed: int, root: Path | None, progress: bool
) -> pd.DataFrame:
    """Train V2-B0 with and without sharing; parameters and test accuracy of each.

    `changes` of the protocol are KEY=VALUE with spaces between, as `report.campaign` has them.

    With a `root`, such as `paths.RESULTS`, the runs are recorded there, where `runs` finds them:
    those that are finished are read, one that was interrupted goes on. Without, they leave nothing.
    """
    rows = {}
    for policy in ("none", "all_but_bn"):
        model = split_label("V2-B0")[0]
        run = f"{_folder(protocol)}/{model}-{policy}-{data}"
        one = Planned("", run, "train", model, policy, data, protocol, changes, seed, nan, "")
        with TemporaryDirectory() as nowhere:
            place = root or Path(nowhere)
            one.start(place, progress=progress)
            run = Run.read(one.folder(place))
        rows[f"V2-b0{LABELS[policy]}"] = [run.config["parameters"], run.summary["test_accuracy"]]
    return pd.DataFrame.from_dict(rows, "index", columns=["parameters", "test accuracy"])


def runs(protocol: str, data: str) -> list[Run]:
    """The finished runs of a protocol on a data set, by name; EfficientNetV2 and CIFAR ResNets.

    Raises `results.ResultError` where there are none, where two of them were not trained alike,
    and where two are of one model and seed.
    """
    trainings = finished_runs(protocol, data)
    if not trainings:
        first = "ResNet-20" if protocol == RESNETS else "V2-B0"
        raise ResultError(
            f"no run of a model of table 4.2 or a CIFAR ResNet on {data} in "
            f"{paths.RESULTS / _folder(protocol)} is finished: make one with "
            f"`{command(first, data, protocol)}`"
        )
    return trainings


def _folder(protocol: str) -> str:
    return f"train-{protocol}"


def finished_runs(protocol: str, data: str) -> list[Run]:
    """As `runs`, and none where there is none; `width=0.5` and the like may follow a protocol."""
    every = results.finished_runs(_folder(protocol))
    trainings = [run for run in every if _is_read(run.config) and run.config["data"] == data]
    _check_alike(trainings)
    return trainings


def at_all_widths(protocol: str, data: str) -> list[Run]:
    """The `finished_runs` of a protocol, and of the same at other widths."""
    others = sorted(paths.RESULTS.glob(f"{_folder(protocol)},width=*"))
    protocols = [protocol, *(folder.name.removeprefix("train-") for folder in others)]
    return [run for one in protocols for run in finished_runs(one, data)]


def all_recorded() -> list[Run]:
    """All finished runs of the chapter's protocols, whatever was changed and on whatever data."""
    ours = {_folder(protocol) for protocol in (HOURS, RESNETS, MINUTES)}
    trainings = [run for run in results.finished_runs("train-*") if _is_read(run.config)]
    return [run for run in trainings if run.folder.parent.name.split(",")[0] in ours]


def _is_read(config: Mapping[str, Any]) -> bool:
    model = config.get("model", "")
    ours = model.startswith(FAMILY) or RESNET.fullmatch(model)
    return bool(ours) and config["sharing"] in LABELS


def _check_alike(trainings: Sequence[Run]) -> None:
    """Raise `ResultError` unless all were trained alike, each with a seed of its own."""
    first_of: dict[str, Run] = {}
    seeds: dict[tuple[str, int], Run] = {}
    for run in trainings:
        model = run.config["model"]
        for other in (trainings[0], first_of.setdefault(model, run)):
            allowed = set() if other.config["model"] == model else OF_A_MODEL
            mine, theirs = _conditions(run), _conditions(other)
            for key in sorted((mine.keys() | theirs.keys()) - allowed):
                if mine.get(key) != theirs.get(key):
                    raise ResultError(
                        f"{run.folder} has {key} = {mine.get(key)} and {other.name} beside it has "
                        f"{theirs.get(key)}: move one of them to another experiment"
                    )
        same = seeds.setdefault((label(run.config), run.config["seed"]), run)
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
        **{
            f"protocol.{key}": value
            for key, value in (asdict(Protocol()) | config["protocol"]).items()
            if key not in ROUNDED
        },
    }


def label(config: Mapping[str, Any]) -> str:
    """The name of a run's model in tables: V2-B0, V2-B0-shared, ResNet-56-shared-with-bn."""
    model = config["model"]
    resnet = RESNET.fullmatch(model)
    name = f"ResNet-{resnet[1]}" if resnet else model.replace(FAMILY, "v2-").upper()
    return name + LABELS[config["sharing"]]


def names(trainings: Sequence[Run]) -> list[str]:
    """The `label` of each run, with its width where not all have the same."""
    widths = [run.config["protocol"]["width"] for run in trainings]
    several = len(set(widths)) > 1
    return [
        label(run.config) + (f", width {width:g}" if several else "")
        for run, width in zip(trainings, widths, strict=True)
    ]


def _by_name(trainings: Sequence[Run]) -> dict[str, list[Run]]:
    """The seeds of each model and width, by its name."""
    groups: dict[str, list[Run]] = {}
    for name, run in zip(names(trainings), trainings, strict=True):
        groups.setdefault(name, []).append(run)
    return groups


# What they say -----------------------------------------------------------------------------------


def last_gain(run: Run) -> float:
    """Percentage points of accuracy that a run gained in the last tenth of its epochs.

    On the images held out, or where none were, the test images; NaN for fewer than ten epochs.
    """
    accuracy = 100 * run.metrics[_course(run)]
    last = len(accuracy) // 10
    return float(accuracy.iloc[-1] - accuracy.iloc[-1 - last]) if last else nan


def converged(trainings: Sequence[Run]) -> list[Run]:
    """The runs of the models that had converged: all seeds of a model and width, or none of them.

    Their last tenth of epochs gained them, on average, no more than one standard error of the last
    accuracy on so many images; runs of fewer than ten epochs have no such tenth. Seeds are not
    judged one by one, since that would drop those that chance put high at the end. It does not say
    that a model could learn no more: where a schedule ends at a rate of zero the course flattens in
    any case, and whether more epochs would have led higher, only a longer run says.
    """
    have = {name for name, seeds in _by_name(trainings).items() if _has_converged(seeds)}
    return [run for run, name in zip(trainings, names(trainings), strict=True) if name in have]


def _has_converged(seeds: Sequence[Run]) -> bool:
    part = _course(seeds[0]).removesuffix("_accuracy")
    p = fmean(run.metrics[_course(run)].iloc[-1] for run in seeds)
    error = 100 * sqrt(p * (1 - p) / seeds[0].config["images"][part])
    return fmean(last_gain(run) for run in seeds) <= error


def _course(run: Run) -> str:
    """The column of the accuracy that was looked at after every epoch."""
    held_out = "validation_accuracy"
    return held_out if held_out in run.metrics else "test_accuracy"


TRAINED = ["model", "data", "params", "seeds", "accuracy", "sd", "last gain", "converged",
           "images/s", "P_G", "P_G_spread"]  # fmt: skip


def trained(trainings: Sequence[Run]) -> pd.DataFrame:
    """One row a model and width, fewest parameters first; of `runs` on one data set.

    Columns: data, params (learnable, tied ones once), seeds, accuracy and its standard deviation
    over seeds in per cent (of the last epoch), the mean `last_gain`, whether it had `converged`,
    images a second, and the P_G and P′_G of the model as it was trained.
    """
    rows = []
    for name, members in _by_name(trainings).items():
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
                "last gain": fmean(last_gain(run) for run in members),
                "converged": _has_converged(members),
                "images/s": np.median([run.summary["images_per_second"] for run in members]),
                "P_G": q.P_G,
                "P_G_spread": q.P_G_spread,
            }
        )
    table = pd.DataFrame(rows, columns=TRAINED)
    return table.sort_values("params", ignore_index=True)


def counted(run: Run) -> Quantities:
    """The quantities of a run's model as it was trained: its width, sharing and image size."""
    return forward_pass(run.config).count().quantities()


def forward_pass(config: Mapping[str, Any]) -> TracedModel:
    """The record of a model on one image, of the size that it is tested with.

    `config` is the `config.json` of its run, or as much of one as says how it is built.
    """
    protocol = config["protocol"]
    model = ModelConfig.recorded(config).build(lazy=True)
    size = protocol["test_image_size"] or protocol["image_size"] or OWN_SIZES[config["data"]]
    return trace_model(model, (1, protocol["channels"], size, size))


def ordering(models: pd.DataFrame, better: str, worse: str) -> str:
    """What our runs say of a printed ordering, as one sentence; `models` is a table of `trained`.

    Two models are told apart by Welch's t-test over their seeds (`measures.statistics.told_apart`).
    The table should be of `converged` runs; a model that is not in it is not compared.
    """
    rows = models.set_index("model")
    if absent := [name for name in (better, worse) if name not in rows.index]:
        return f"{better} and {worse}: no converged run of {' and of '.join(absent)} to compare."
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


def curves(trainings: Sequence[Run]) -> pd.DataFrame:
    """The metrics of all runs, one row an epoch, with columns `model`, `seed` and `accuracy`.

    The model is called as in `names`. The accuracy, in per cent, is that on the images held out, or
    else on the test images.
    """
    tables = [
        r.metrics.assign(model=name, seed=r.config["seed"], accuracy=100 * r.metrics[_course(r)])
        for name, r in zip(names(trainings), trainings, strict=True)
    ]
    return pd.concat(tables, ignore_index=True)


def comparisons(protocol: str) -> list[Run]:
    """The finished comparisons of a protocol's recipes on images held out, with `--blind`.

    They lie in `data/results/recipe-<protocol>`; none where none is recorded.
    """
    return results.finished_runs(f"recipe-{protocol}")


def recipes(protocol: str) -> pd.DataFrame:
    """What the `comparisons` of a protocol's recipes found, one row each.

    Columns: recipe, model, otherwise (than the protocol's file has it now), seed, held out (images
    that its accuracy is of), and accuracy (in per cent, after the last epoch).
    """
    rows = []
    for run in comparisons(protocol):
        config = run.config
        model, plan = config["model"], Protocol(**config["protocol"])
        changes = plan.differences(Protocol.load(protocol, model=model))
        alike = {"validation", "test_every", *ROUNDED}
        otherwise = {key: value for key, value in changes.items() if key not in alike}
        rows.append(
            {
                "recipe": run.name,
                "model": label(run.config),
                "otherwise": options(otherwise).replace(" --set", "").strip(),
                "seed": config["seed"],
                "held out": config["images"]["test"],  # which stand for the test images
                "accuracy": 100 * run.summary["test_accuracy"],
            }
        )
    columns = ["recipe", "model", "otherwise", "seed", "held out", "accuracy"]
    return pd.DataFrame(rows, columns=columns)


def looks(trainings: Sequence[Run]) -> pd.DataFrame:
    """How often the runs of each experiment looked at the test images, and what they held out.

    Columns: experiment, looks (a run, as its `metrics.csv` has them), held out (images), runs.
    """
    rows = [
        (
            run.folder.parent.name,
            run.metrics.test_accuracy.count(),
            run.config["images"].get("validation"),
        )
        for run in trainings
    ]
    table = pd.DataFrame(rows, columns=["experiment", "looks", "held out"]).fillna(0)
    counts = table.value_counts(sort=False).rename("runs").reset_index()
    return counts.astype({"held out": int})


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
    model = ModelConfig("V2-S", classes=100).build(lazy=True)
    return float(sum(p.numel() for p in model.parameters()))


COSTS = {
    "params": "stored parameters",
    "multiply_adds": "multiply-adds of an image",
    "seconds": "core-seconds of training",
    "P_G": "$P_G$, bits",
    "P_G_spread": "$P'_G$, bits",
}
CONVERGED, NOT_CONVERGED, NOT_RUN = "converged", "not converged", "not run"


def equal_cost() -> pd.DataFrame:
    """One row a network of both families on CIFAR-10, at all widths that are planned.

    Columns: family, model, width, shared, seeds (that are recorded), state (CONVERGED, as
    `converged` has it, NOT_CONVERGED or NOT_RUN), accuracy (mean over seeds, per cent, of the
    test images), params (learnable, tied ones once), multiply_adds (of one image forward), seconds
    (of a training on one core, were all epochs as fast as the fastest of the network with and
    without sharing: both compute the same, and others may have used the processor), P_G and
    P_G_spread. Accuracy and seconds are NaN of networks that had not converged. Raises
    `results.ResultError` where runs of a family differ in more than model and width.
    """
    planned = {}
    for one in campaign.planned("04-parameter-sharing", data="cifar10"):
        if (
            one.sharing != "with_bn" and "image_size" not in one.changed
        ):  # the others are of a claim
            said = campaign.config(one, classes=10)
            planned[label(said), said["protocol"]["width"]] = said
    runs = {network: its for p in (HOURS, RESNETS) for network, its in _by_network(p).items()}
    rows = [_row(*network, said, runs.get(network, [])) for network, said in planned.items()]
    columns = ["family", "model", "width", "shared", "seeds", "state", "accuracy", *COSTS]
    table = pd.DataFrame(rows, columns=columns)
    alike = table.groupby([table.model.str.removesuffix("-shared"), "width"])
    table["seconds"] = alike.seconds.transform("min").where(table.state == CONVERGED)
    return table.sort_values(["family", "params"], ignore_index=True)


def _by_network(protocol: str) -> dict[tuple[str, float], list[Run]]:
    """The runs of a protocol by model and width."""
    trainings = at_all_widths(protocol, "cifar10")
    for run in trainings:
        differs = _settings(run).items() ^ _settings(trainings[0]).items()
        if differs:
            raise ResultError(
                f"{run.folder} and {trainings[0].folder} differ in "
                f"{', '.join(sorted({key for key, _ in differs}))}: they do not compare, move one "
                "of them to another experiment"
            )
    groups: dict[tuple[str, float], list[Run]] = {}
    for run in trainings:
        key = label(run.config), run.config["protocol"]["width"]
        groups.setdefault(key, []).append(run)
    return groups


def _settings(run: Run) -> dict[str, object]:
    # a run is older than some settings, which then were what their defaults are
    protocol = vars(Protocol()) | run.config["protocol"]
    return {key: v for key, v in protocol.items() if key not in {"name", "width", *ROUNDED}}


def _row(model: str, width: float, config: Mapping, runs: Sequence[Run]) -> dict[str, object]:
    traced = forward_pass(config)
    quantities = traced.count().quantities()
    built = ModelConfig.recorded(config).build(lazy=True)
    state = CONVERGED if converged(runs) else NOT_CONVERGED if runs else NOT_RUN
    accuracies = [100 * run.summary["test_accuracy"] for run in runs if state == CONVERGED]
    fastest = [
        len(run.metrics) * run.metrics.seconds.min() * run.summary["threads"] for run in runs
    ]
    return {
        "family": "ResNet" if model.startswith("ResNet") else "EfficientNetV2",
        "model": model,
        "width": width,
        "shared": model.endswith("-shared"),
        "seeds": len(runs),
        "state": state,
        "accuracy": fmean(accuracies) if accuracies else nan,
        "params": sum(p.numel() for p in built.parameters()),
        "multiply_adds": multiply_adds(traced),
        "seconds": min(fastest, default=nan),
        "P_G": quantities.P_G,
        "P_G_spread": quantities.P_G_spread,
    }


def foretold(networks: pd.DataFrame) -> pd.DataFrame:
    """How far each cost and estimate orders the accuracies of a family that are known.

    `networks` is a table of `equal_cost`. A row a family of three networks or more, with their
    number; in the other cells Kendall's τ-b, the pairs that are in the same order and in the other,
    and the chance of as great a τ in no order at all (`statistics.by_chance`). Pairs of equal cost
    are in no order, and where there are any τ-b stays below 1.
    """
    rows = {}
    for family, group in networks.dropna().groupby("family"):
        if len(group) < LEAST:
            continue
        rows[family] = {"networks": len(group)}
        for column in COSTS:
            both = group[column], group.accuracy
            tau, (same, other), p = kendall(*both), order(*both), by_chance(*both)
            rows[family][column] = f"{tau:+.2f} ({same}:{other}, p {p:.2g})"
    return pd.DataFrame.from_dict(rows, "index", columns=["networks", *COSTS])


def gain_at_equal(networks: pd.DataFrame, cost: str) -> pd.DataFrame:
    """What sharing gains at equal cost: points of accuracy above the line of unshared networks.

    The line joins a family's converged unshared networks over the logarithm of the cost, and is
    broken where one between two of them was trained and had not converged. Shared networks that
    cost less than the least of them, more than the greatest, or fall into a break are left out.
    Columns: family, model, width, gain, and the fewest seeds of the networks that it rests on,
    which are the shared one and its neighbours on the line: a difference is no test.
    """
    rows = []
    for family, group in networks.groupby("family"):
        line = group[~group.shared & group.accuracy.notna()].sort_values(cost)
        breaks = group[~group.shared & (group.state == NOT_CONVERGED)][cost]
        for row in group[group.shared & group.accuracy.notna()].itertuples():
            at = getattr(row, cost)
            below, above = line[line[cost] <= at].tail(1), line[line[cost] >= at].head(1)
            ends = pd.concat([below, above])
            if below.empty or above.empty or breaks.between(*ends[cost]).any():
                continue
            there = np.interp(np.log(at), np.log(ends[cost]), ends.accuracy)
            fewest = min(row.seeds, *ends.seeds)
            rows.append((family, row.model, row.width, row.accuracy - there, fewest))
    return pd.DataFrame(rows, columns=["family", "model", "width", "gain", "seeds"])


DASHES = {"-shared-with-bn": (1, 1), "-shared": (4, 1.5)}  # how a model's name says what it shares


def training_curves(axes: Sequence[Axes], curves: pd.DataFrame, title: str) -> None:
    """Draw the training loss and the accuracy over the epochs on two axes, a line a model.

    A model has one colour with sharing, broken, and without, full. A line is the mean of the seeds
    and its band reaches from the least to the greatest. `curves` is a table of
    `curves`.
    """
    models = list(curves.model.unique())
    plain = [re.sub(f"({'|'.join(DASHES)})(?=,|$)", "", model) for model in models]
    colors = {name: f"C{i}" for i, name in enumerate(dict.fromkeys(plain))}
    dashes = [next((DASHES[end] for end in DASHES if end in model), "") for model in models]
    look = {"hue": "model", "style": "model", "errorbar": ("pi", 100)}
    look |= {
        "palette": {model: colors[name] for model, name in zip(models, plain, strict=True)},
        "dashes": dict(zip(models, dashes, strict=True)),
        "markers": bool(curves.epoch.max() < 5),
    }
    sns.lineplot(curves, x="epoch", y="train_loss", ax=axes[0], **look)
    sns.lineplot(curves, x="epoch", y="accuracy", ax=axes[1], legend=False, **look)
    axes[0].set(xlabel="epoch", ylabel="training loss, nats", title=title)
    axes[1].set(xlabel="epoch", ylabel="top-1 after each epoch, %")
    for ax in axes:
        ax.xaxis.get_major_locator().set_params(integer=True)
    axes[0].legend(fontsize="x-small")
