"""The commands that train: `train` and `evolve`, and `data`, for what they train on."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path
from traceback import format_exc
from typing import Annotated

import typer

from reuseprior import paths
from reuseprior.cli.app import (
    Json,
    Resume,
    Root,
    Seed,
    UsageError,
    app,
    note,
    parse_settings,
    path,
    print_json,
    strict,
)


@app.command(epilog="Example: reuseprior train V2-B0 --sharing all_but_bn --protocol quick")
def train(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A name from `reuseprior models`, torchvision:NAME, timm:NAME or "
            "package.module:factory; EfficientNetV2 and the CIFAR ResNets are built to the data "
            "and the protocol.",
        ),
    ],
    sharing: Annotated[
        str,
        typer.Option(
            metavar="SPEC",
            help="all_but_bn: equal convolutions are one (section 4.5.3); layers:all: so are equal "
            "blocks; stores:10%,weighted,mask: all weights are made of a tenth of the parameters; "
            "channels:4: depthwise filters repeat four times.",
        ),
    ] = "none",
    data: Annotated[str, typer.Option(help="digits, mnist, cifar10, cifar100, imagenet.")] = (
        "digits"
    ),
    root: Root = None,
    protocol: Annotated[
        str, typer.Option(help="thesis, gpu, cpu, quick … or a .toml file.")
    ] = "quick",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a key of the protocol."),
    ] = None,
    seed: Seed = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            parser=path,
            metavar="FOLDER",
            help="Where config.json, metrics.csv, summary.json and the checkpoint go "
            "(default: data/results/train-PROTOCOL/MODEL-SHARING-DATA-seedN, and "
            "train-PROTOCOL,KEY=VALUE for what --set changes).",
        ),
    ] = None,
    blind: Annotated[
        bool,
        typer.Option(
            "--blind",
            help="Leave the test images out: the protocol's part that is held out stands for them, "
            "to compare recipes by; needs --output.",
        ),
    ] = False,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Train a model and record it; one process, or several under torchrun.

    SIGTERM, SIGUSR2 or Ctrl-C writes a checkpoint; the exit code is then 143, 140 or 130.
    """
    from accelerate import PartialState
    from torch.nn.parameter import is_lazy

    from reuseprior import data as data_sets
    from reuseprior import training
    from reuseprior.models import ModelConfig, ModelError, catalog
    from reuseprior.models.catalog import OPTIONS
    from reuseprior.sharing import parse

    parse(sharing)  # what means nothing is said before anything is loaded
    entry = catalog.find(model)
    name = entry.name
    as_written = training.Protocol.load(protocol, model=name)
    plan = as_written.changed(parse_settings(settings or ()))
    config = ModelConfig.of(name, vars(plan), sharing=sharing, seed=seed)
    images = data_sets.load_images(data, root)
    if blind:
        if output is None:
            raise UsageError("--blind is for comparisons, which have folders of their own: add "
                             "--output data/results/recipe-PROTOCOL/NAME")  # fmt: skip
        images, plan = _blind(images, plan)
    if output is None:
        run = re.sub(r"[^\w .+-]+", "-", f"{name}-{sharing}-{data}-seed{seed}")
        output = paths.checkout() / "data" / "results" / experiment(plan, as_written) / run
    with catalog.told_in_a_sentence(name):
        network = replace(config, classes=images.classes).build()
    if lazy := [key for key, p in network.named_parameters() if is_lazy(p)]:
        raise ModelError(
            f"parameter {lazy[0]} of {name} has no shape yet (a lazy module): let the factory run "
            "the model on an input once before it returns it"
        )
    with _run_in(output):
        run = training.train(network, images, plan, output, seed=seed, about=config.about(),
                             resume=resume, progress=sys.stderr.isatty())  # fmt: skip
    if not PartialState().is_main_process:
        return
    left_out = as_written.differences(training.Protocol.load(protocol)).keys() & OPTIONS.keys()
    for key in sorted(left_out - set(entry.options or ())):
        note(f"{name} is built without {key}, which protocol {as_written.name!r} sets for others")
    if as_json:
        print_json({"folder": str(run.folder), **run.config, **run.summary})
    else:
        summary = run.summary
        typer.echo(
            f"{name}, sharing {sharing}, on {data}: test accuracy "
            f"{summary['test_accuracy']:.2%} after {summary['epochs']} epochs, "
            f"{summary['parameters']:,} parameters, {summary['images_per_second']:.0f} images/s\n"
            f"{run.folder}"
        )


@contextmanager
def _run_in(folder: Path) -> Iterator[None]:
    """Say before hours of work that nobody could repeat them, where that is so; end as signals say.

    What an interruption says is a note, and its signal is in the exit code.
    """
    from reuseprior import results, training

    if os.environ.get("RANK", "0") == "0" and (why := results.unrecordable(folder)):
        note(f"this run cannot be recorded: {why}")
    try:
        yield
    except training.Interrupted as stop:
        note(str(stop))
        raise typer.Exit(128 + stop.signal) from stop


def _blind(images, plan):
    """The data and the protocol of a training that the test images have no part in."""
    from reuseprior.data import ImageFolderSet
    from reuseprior.training.batches import DATA_SEED

    if isinstance(images, ImageFolderSet) or not plan.validation:
        raise UsageError(
            f"--blind holds out a part of images in memory, and validation is {plan.validation} "
            f"of {images.name}: set validation, and choose another data set than a folder"
        )
    held_out = images.blind(validation=plan.validation, seed=DATA_SEED)
    return held_out, plan.changed({"validation": 0.0, "test_every": 1})


def experiment(plan, as_written) -> str:
    """The folder of a protocol's runs; what was changed has one of its own, `train-quick,epochs=1`.

    So runs under one name were trained alike, and can be compared.
    """
    changed = sorted(plan.differences(as_written).items())
    return ",".join([f"train-{as_written.name}", *(f"{key}={value}" for key, value in changed)])


@app.command(epilog="Example: reuseprior evolve quick --seed 1 --until '20 generations'")
def evolve(
    preset: Annotated[
        str,
        typer.Argument(
            metavar="PRESET|FILE",
            help="mnist-evolve, cifar10-evolve-16 and the other runs of table 3.2, quick, "
            "cpu-hours-mnist-evolve …, or a .toml file.",
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a key, such as space.widths=[1]."),
    ] = None,
    seed: Seed = 0,
    data: Annotated[
        str | None, typer.Option(help="digits, mnist, cifar10 … (default: the preset's).")
    ] = None,
    root: Root = None,
    output: Annotated[
        Path | None,
        typer.Option(
            parser=path,
            metavar="FOLDER",
            help="Where config.json, metrics.csv, summary.json, the tables beside them and the "
            "checkpoint go (default: data/results/revolver/PRESET-seedN).",
        ),
    ] = None,
    resume: Resume = False,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="LIMIT",
            help="Stop early, after '20 generations' in all or '30 minutes' of this call; "
            "--resume goes on.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a population on shared modules and search for better ones (thesis, chapter 3).

    One process, or several under torchrun. SIGTERM, SIGUSR2 or Ctrl-C writes a checkpoint; the
    exit code is then 143, 140 or 130.
    """
    from reuseprior import data as data_sets
    from reuseprior import revolver

    limit = _limit(until)
    changes = parse_settings(settings or ())
    if data is not None:
        changes["data"] = data
    plan = revolver.Settings.load(preset, **changes)
    images = data_sets.load_images(plan.data, root)
    if output is None:
        output = paths.checkout() / "data" / "results" / "revolver" / f"{plan.name}-seed{seed}"
    with _run_in(output):
        search = revolver.Search.start(plan, images, output, seed=seed, resume=resume)
        _run(search, limit)
        run = search.finish()
    if run is None:  # another process writes
        return
    if as_json:
        print_json({"folder": str(run.folder), **run.config, **run.summary})
    else:
        s = run.summary
        if "test_accuracy" not in s:
            typer.echo(f"{plan.name} on {plan.data}: no individual was trained yet\n{run.folder}")
            return
        typer.echo(
            f"{plan.name} on {plan.data}, generation {s['generations']} of {plan.generations}: "
            f"test accuracy {s['test_accuracy']:.2%}, validation {s['validation_accuracy']:.2%} "
            f"(individual {s['best_individual']} in generation {s['best_generation']}, "
            f"{s['parameters']:,} parameters), mean validation "
            f"{s['mean_validation_accuracy']:.2%}\n{run.folder}"
        )


def _run(search, limit: tuple[float, str]) -> None:
    """Go on until the search is complete or the limit is reached."""
    import time

    from tqdm.auto import tqdm

    amount, unit = limit
    end = time.monotonic() + 60 * amount
    total = search.settings.warmup + search.settings.generations
    with tqdm(
        total=total,
        initial=search.settings.warmup + search.generation,
        disable=not sys.stderr.isatty(),
        unit="generation",
    ) as bar:
        while not search.complete:
            if search.generation >= amount if unit == "generations" else time.monotonic() >= end:
                break
            row = search.step()
            bar.update()
            if row["moving_average"] is not None:
                bar.set_postfix(validation=f"{row['moving_average']:.3f}")


def _limit(text: str | None) -> tuple[float, str]:
    """'20 generations' as (20.0, 'generations'); none at all is infinitely many."""
    if text is None:
        return float("inf"), "generations"
    amount, _, unit = text.strip().partition(" ")
    unit = unit.strip().removesuffix("s") + "s"
    try:
        number = float(amount)
    except ValueError:
        number = -1.0
    if not 0 < number < float("inf") or unit not in ("generations", "minutes"):
        raise UsageError(
            f"--until {text!r} is no limit: write it as --until '20 generations' or "
            "--until '30 minutes'"
        )
    return number, unit


# The campaign ------------------------------------------------------------------------------------


@app.command(epilog="Example: reuseprior campaign 04-parameter-sharing --device cpu --start")
def campaign(
    wanted: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CHAPTER|RUN]…",
            help="Chapters by name or number, or runs as this command lists them; * and ? stand "
            "for anything (default: all).",
        ),
    ] = None,
    start: Annotated[
        bool,
        typer.Option("--start", help="Make what is left in this order; goes on where it stopped."),
    ] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Take what is finished in --output into data/results.")
    ] = False,
    device: Annotated[
        str | None, typer.Option(metavar="cpu|gpu", help="Only runs that are planned for it.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Only what takes no longer, as far as is known.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            parser=path, metavar="FOLDER", help="Where runs are made (default: data/results)."
        ),
    ] = None,
    submit: Annotated[
        Path | None,
        typer.Option(
            parser=path,
            metavar="PROFILE",
            help="Make them through Snakemake by this profile, a job each.",
        ),
    ] = None,
    hours: Annotated[
        float, typer.Option(min=0.01, help="What a job may take; the next goes on.")
    ] = 24.0,
    as_json: Json = False,
) -> None:
    """List the runs that chapters still want, or make them, or record what is made.

    A checkout of its own is the place to make them in, as runs say the commit that made them.
    SIGTERM, SIGUSR2 or Ctrl-C writes a checkpoint; the exit code is then 143, 140 or 130.
    With --submit notebooks/profiles/slurm a cluster makes them.
    """
    from reuseprior import results
    from reuseprior.errors import UserError
    from reuseprior.report import campaign as planning

    if record and output is None:
        raise UsageError("--record takes what was made elsewhere: add --output FOLDER")
    if output is None:
        paths.checkout()  # where runs are found and made
    chosen = _chosen(wanted or [], device, minutes)
    refused = 0
    for one in chosen if record else []:
        for folder in filter(results.finished, one.folders(output)):
            try:
                typer.echo(results.record(folder).folder)
            except UserError as error:  # such as a run of code that no commit has
                note(f"  {error}")
                refused += 1
    chosen = [one for one in chosen if not one.finished()]
    if submit is not None:
        chosen = [one for one in chosen if not one.finished(output)]
    if submit is not None and chosen:
        if why := results.unrecordable(chosen[0].folder(output)):
            note(f"these runs cannot be recorded: {why}")
        left = planning.submit(chosen, submit.resolve(), output, hours=hours)
        for sentence in left:
            note(f"left: {sentence}")
        raise typer.Exit(1 if left or refused else 0)
    if not (start and chosen):
        _list(chosen, output, as_json)
        raise typer.Exit(1 if refused else 0)
    for one in chosen:
        note(one.place)
        try:
            with _run_in(one.folder(output)):
                one.start(output, progress=sys.stderr.isatty())
        except typer.Exit:
            raise
        except Exception as error:  # such as data that are not there: others may have theirs
            note(f"  {error}" if isinstance(error, UserError) else format_exc())
            refused += 1
    raise typer.Exit(1 if refused else 0)


def _chosen(wanted: list[str], device: str | None, minutes: float | None):
    """The planned runs that patterns name, each once, within a device and a time."""
    from fnmatch import fnmatch

    from reuseprior.errors import did_you_mean
    from reuseprior.report.campaign import planned

    if device not in (None, "cpu", "gpu"):
        raise UsageError(f"--device {device!r} is neither: choose cpu or gpu")
    runs = list(planned())  # one that two chapters want stands there twice
    chapters = sorted({one.chapter for one in runs})
    chosen = {}
    for text in wanted or ["*"]:
        named = {
            one.place: one
            for one in runs
            if fnmatch(one.place, text) or text in (one.chapter, one.chapter.partition("-")[0])
        }
        if not named:
            close = did_you_mean(text, [*chapters, *(one.place for one in runs)])
            raise UsageError(f"no planned run or chapter {text!r}{close}: `reuseprior campaign`")
        chosen |= named
    return [
        one
        for one in chosen.values()
        if device in (None, one.device) and not (minutes is not None and one.minutes > minutes)
    ]


def _list(chosen, root: Path | None, as_json: bool) -> None:
    from math import isnan

    begun = {one.place for one in chosen if (one.folder(root) / "summary.json").exists()}
    if as_json:
        keys = ("chapter", "place", "device", "minutes", "command")
        rows = [{key: strict(getattr(one, key)) for key in keys} for one in chosen]
        return print_json([row | {"begun": row["place"] in begun} for row in rows])
    for one in chosen:
        known = "?" if isnan(one.minutes) else f"{one.minutes:,.0f}"
        state = ", begun" if one.place in begun else ""
        typer.echo(f"{known:>5} min  {one.device}  {one.place}{state}")
    hours = sum(one.minutes for one in chosen if not isnan(one.minutes)) / 60
    unknown = sum(isnan(one.minutes) for one in chosen)
    typer.echo(
        f"{len(chosen)} runs are left: {hours:,.1f} hours of one core, and {unknown} runs of "
        "unknown length"
    )


# Data sets ---------------------------------------------------------------------------------------

data = typer.Typer(rich_markup_mode=None)
app.add_typer(
    data,
    name="data",
    help="Find, check and download the data sets.",
    epilog="Example: reuseprior data verify cifar10",
    invoke_without_command=True,
)

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="digits, mnist, cifar10, cifar100, imagenet, modelnet10-chair, modelnet10-sofa, "
        "glue-cola, glue-sst2, glue-mrpc or glue-rte.",
    ),
]


@data.callback()
def need_a_verb(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        raise UsageError(
            "nothing to do with the data: say `reuseprior data verify NAME` or "
            "`reuseprior data prepare NAME`"
        )


@data.command(epilog="Example: reuseprior data verify cifar10 --root ~/datasets")
def verify(name: Name, root: Root = None, as_json: Json = False) -> None:
    """Check every file of a data set; exit code 1 if one is missing or not as published."""
    from reuseprior import data as data_sets

    _report(name, root, data_sets.verify(name, root), as_json)


@data.command(epilog="Example: reuseprior data prepare mnist")
def prepare(name: Name, root: Root = None, as_json: Json = False) -> None:
    """Download what is missing or not whole, then check as `verify` does."""
    from reuseprior import data as data_sets

    with redirect_stdout(sys.stderr):  # some torchvisions print while they download
        checks = data_sets.prepare(name, root)
    _report(name, root, checks, as_json)


def _report(name: str, root: Path | None, checks, as_json: bool) -> None:
    from reuseprior.data import root_folder

    root = root_folder(root)
    ok = all(check.ok for check in checks)
    if as_json:
        values = {"name": name, "root": str(root), "ok": ok}
        print_json(values | {"checks": [asdict(check) for check in checks]})
    else:
        for check in checks:
            typer.echo(f"{'✓' if check.ok else '✗'} {check.file}: {check.why}")
        mend = f": `reuseprior data prepare {name}` downloads what it can"
        typer.echo(f"{name} in {root} is {'whole' if ok else f'not whole{mend}'}")
    if not ok:
        raise typer.Exit(1)
