"""The command that searches: `evolve`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from reuseprior import paths
from reuseprior.cli.app import Json, Resume, Root, Seed, UsageError, app, note, path, print_json


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

    One process, or several under torchrun. SIGTERM or Ctrl-C writes a checkpoint; the exit code is
    then 143 or 130.
    """
    from reuseprior import data as data_sets
    from reuseprior import revolver, training
    from reuseprior.cli.app import parse_settings

    limit = _limit(until)
    changes = parse_settings(settings or ())
    if data is not None:
        changes["data"] = data
    plan = revolver.Settings.load(preset, **changes)
    images = data_sets.load_images(plan.data, root)
    if output is None:
        output = paths.checkout() / "data" / "results" / "revolver" / f"{plan.name}-seed{seed}"
    try:
        search = revolver.Search.start(plan, images, output, seed=seed, resume=resume)
        _run(search, limit)
        run = search.finish()
    except training.Interrupted as stop:
        note(str(stop))
        raise typer.Exit(128 + stop.signal) from stop
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
