"""The command that trains: `train`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reuseprior import paths
from reuseprior.cli.app import Json, UsageError, app, note, print_json

PREFIX = "efficientnetv2-"  # of the models whose head and width can be chosen


class Sharing(StrEnum):
    """Which layers share their weights."""

    none = "none"
    all_but_bn = "all_but_bn"


@app.command(
    epilog="Example: reuseprior train efficientnetv2-b0 --sharing all_but_bn --protocol quick"
)
def train(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A name from `reuseprior models`, torchvision:NAME, timm:NAME or "
            "package.module:factory; EfficientNetV2 is built to the data and the protocol.",
        ),
    ],
    sharing: Annotated[
        Sharing, typer.Option(help="all_but_bn: equal convolutions are one (section 4.5.3).")
    ] = Sharing.none,
    data: Annotated[str, typer.Option(help="digits, mnist, cifar10, cifar100, imagenet.")] = (
        "digits"
    ),
    root: Annotated[
        Path | None,
        typer.Option(help="Where the data lie (default: REUSEPRIOR_DATA, or the user's cache)."),
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="thesis, gpu, cpu, quick or a .toml file.")
    ] = "quick",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a key of the protocol."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of initial weights, order and draws.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where config.json, metrics.csv, summary.json and the checkpoint go "
            "(default: data/results/train-PROTOCOL/MODEL-SHARING-DATA-seedN).",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the folder's last checkpoint.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a model and record it; one process, or several under torchrun.

    SIGTERM or Ctrl-C writes a checkpoint; the exit code is then 143 or 130.
    """
    from accelerate import PartialState

    from reuseprior import data as data_sets
    from reuseprior import training
    from reuseprior.models import catalog

    name = catalog.find(model).name
    plan = training.Protocol.load(protocol, model=name, **_settings(settings or ()))
    images = data_sets.load(data, root)
    if output is None:
        run = f"{name.replace(':', '-')}-{sharing.value}-{data}-seed{seed}"
        output = paths.checkout() / "data" / "results" / f"train-{plan.name}" / run
    try:
        run = training.train(
            build(name, sharing.value, images.classes, plan, seed),
            images,
            plan,
            output,
            seed=seed,
            about={"model": name, "sharing": sharing.value},
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
            f"{name}, sharing {sharing.value}, on {data}: test accuracy "
            f"{summary['test_accuracy']:.2%} after {summary['epochs']} epochs, "
            f"{summary['parameters']:,} parameters, {summary['images_per_second']:.0f} images/s\n"
            f"{run.folder}"
        )


def build(name: str, sharing: str, classes: int, plan, seed: int):
    import torch

    from reuseprior.models import catalog, efficientnet_v2
    from reuseprior.sharing import policy, tie

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if name.startswith(PREFIX):
            model = efficientnet_v2(
                name.removeprefix(PREFIX),
                num_classes=classes,
                width=plan.width,
                dropout=plan.dropout,
                survival=plan.survival,
                bn_momentum=plan.bn_momentum,
            )
        else:
            model = catalog.build(name, lazy=False)
    tie(model, policy(sharing))
    return model


def _settings(given: list[str]) -> dict[str, object]:
    """Values as TOML has them; what is no TOML is text, so that no quotes are needed."""
    import tomllib

    found = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text!r} is not key=value: write it as --set epochs=2")
        if key in found:
            raise UsageError(f"--set {key} is given twice: give it once")
        try:
            found[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[key] = value
    return found
