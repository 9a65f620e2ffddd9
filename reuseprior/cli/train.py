"""The command that trains: `train`."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
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
            metavar="WAY",
            help="all_but_bn: equal convolutions are one (section 4.5.3); stores:10%,weighted,mask:"
            " all weights are made of a tenth of the parameters; channels:4: depthwise filters "
            "repeat four times.",
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

    SIGTERM or Ctrl-C writes a checkpoint; the exit code is then 143 or 130.
    """
    from accelerate import PartialState
    from torch.nn.parameter import is_lazy

    from reuseprior import data as data_sets
    from reuseprior import training
    from reuseprior.models import ModelError, Recipe, catalog
    from reuseprior.sharing import parse

    parse(sharing)  # what means nothing is said before anything is loaded
    name = catalog.find(model).name
    as_written = training.Protocol.load(protocol, model=name)
    plan = as_written.changed(parse_settings(settings or ()))
    recipe = Recipe.of(name, vars(plan), sharing=sharing, seed=seed)
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
        network = replace(recipe, classes=images.classes).build()
    if lazy := [key for key, p in network.named_parameters() if is_lazy(p)]:
        raise ModelError(
            f"parameter {lazy[0]} of {name} has no shape yet (a lazy module): let the factory run "
            "the model on an input once before it returns it"
        )
    try:
        run = training.train(
            network,
            images,
            plan,
            output,
            seed=seed,
            about=recipe.about(),
            resume=resume,
            progress=sys.stderr.isatty(),
        )
    except training.Interrupted as stop:
        note(str(stop))
        raise typer.Exit(128 + stop.signal) from stop
    if not PartialState().is_main_process:
        return
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
