"""The commands over the ledger, the notebooks, the book and recorded runs."""

from __future__ import annotations

import shutil
import textwrap
from collections import Counter
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from reuseprior import files, paths, results
from reuseprior.cli.app import (
    Json,
    UsageError,
    app,
    assignments,
    bar,
    note,
    path,
    print_json,
    strict,
)
from reuseprior.report import chapters, notebooks
from reuseprior.report import reproduce as reproducing
from reuseprior.report.chapters import PROFILES, duration

Profile = StrEnum("Profile", PROFILES)  # how much of a chapter to run


def _chapters_that_begin(text: str) -> list[str]:
    """For the completion of shells."""
    return [chapter.name for chapter in chapters.found() if chapter.name.startswith(text)]


@app.command(epilog="Example: reuseprior audit --only 'thesis, table 4.4'")
def audit(
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="PLACE", help="Numbers printed there (table, section); repeatable."
        ),
    ] = None,
    as_json: Json = False,
    update: Annotated[
        bool, typer.Option("--update", help="Commit these rows to data/ledger.csv.")
    ] = False,
    trace: Annotated[
        bool,
        typer.Option("--trace", help="Record for `reuseprior why` which lines make each number."),
    ] = False,
) -> None:
    """Recompute every printed number; exit code 1 if a row is not as data/ledger.csv has it.

    That is its place, words, digits, value, kind, verdict and note; --update commits what changed.
    Also where a recorded run is not as it was recorded, and where data/ledger.csv is damaged.
    """
    from reuseprior.report import ledger

    places = only or ()
    if not all(map(str.strip, places)):
        raise UsageError("--only '' names no place: write it as --only 'thesis, table 4.4'")
    if places and update:
        raise UsageError("--update commits the whole ledger: leave --only out")
    if trace:
        from reuseprior.report import why

        if places or update or as_json:
            raise UsageError("--trace records the whole ledger: leave the other options out")
        note(f"left {why.trace((), partial(bar, total=len(ledger.committed_rows())))}")
        typer.echo(why.manifest(why.Trace.load()).to_string(na_rep=""))
        return
    try:
        # before minutes of work, as numbers that are typed otherwise may not even be read
        retyped = [] if update else ledger.retyped(places)
        total = None if places or update else len(ledger.committed_rows())
        entries = [] if retyped else ledger.collect(partial(bar, total=total), only=places)
    except ledger.LedgerError as error:
        note(f"Error: {error}")
        raise typer.Exit(1) from error
    for sentence in retyped:
        note(sentence)
    if retyped:
        note("nothing was computed: restore data/published with git, or accept it with --update")
        raise typer.Exit(1)
    if as_json:
        print_json([{k: strict(v) for k, v in asdict(e).items()} for e in entries])
    elif places:
        typer.echo(_rows(entries))
    else:
        typer.echo(_verdicts(entries))
        for entry in entries:
            if entry.verdict in ("erratum", "not reproduced"):
                typer.echo(str(entry))
    changed = _tell(entries, places)
    if update:
        ledger.update(entries)
        note("the rows are committed to data/ledger.csv")
    elif changed:
        raise typer.Exit(1)


@app.command(epilog="Example: reuseprior why table 4.3 V2-S-shared P_G")
def why(
    number: Annotated[
        list[str],
        typer.Argument(metavar="NUMBER", help="Its id in data/ledger.csv, or words of its place."),
    ],
) -> None:
    """Why a printed number is what it is: its verdict, formula, layers, runs, files and functions.

    The last four need `reuseprior audit --trace`, once for each state of the code.
    """
    from reuseprior.report import why as reasons

    rows = reasons.find(number)
    if len(rows) > 1:
        for row in rows[:MOST_CHANGES]:
            typer.echo(f"{row['id']}: {row['where']}, printed {row['printed']}")
        if len(rows) > MOST_CHANGES:
            typer.echo(f"… and {len(rows) - MOST_CHANGES} more")
        note("several numbers are so called: give the id of one")
        raise typer.Exit(1)
    try:
        trace = reasons.Trace.load()
    except reasons.WhyError as error:
        note(error)
        trace = None
    for line in reasons.tell(rows[0], trace):
        typer.echo(line)


@app.command(epilog="Example: reuseprior reproduce 04-counting-contexts --profile quick -p seed=1")
def reproduce(
    chapters: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CHAPTER",
            help="Names in notebooks/ (default: all).",
            autocompletion=_chapters_that_begin,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="CHAPTER", help="The same as an option; repeatable."),
    ] = None,
    profile: Annotated[
        Profile, typer.Option(help="quick: minutes on a CPU; full: the real protocol.")
    ] = Profile.quick,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="One chapter's; repeatable."),
    ] = None,
    parallel: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="How many notebooks run side by side.")
    ] = 2,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", "-n", help="Only say what would run, why, for how long and with what."
        ),
    ] = False,
    save: Annotated[
        bool,
        typer.Option(
            "--save", help="Put the outputs into notebooks/; renew gallery and chapter tables."
        ),
    ] = False,
) -> None:
    """Run the chapters whose inputs changed and sum the ledger up; exit code 1 if one failed."""
    values = assignments(parameters or (), "-p", "seed=1")
    if save and (values or profile is not Profile.quick):
        raise UsageError("--save is for the quick profile without -p, which is what is committed")
    chosen = [*(chapters or ()), *(only or ())]
    jobs = reproducing.plan(chosen, profile=profile.value, parameters=values)
    reasons = {job.name: reproducing.why(job) for job in jobs}
    if dry_run:
        for job in jobs:
            typer.echo(f"{job.name}: {reasons[job.name] or 'up to date'} ({job.needs})")
        return
    if stale := [name for name, reason in reasons.items() if reason]:
        longest = duration(sum(job.minutes for job in jobs if reasons[job.name]))
        note(f"running {', '.join(stale)}: at most about {longest} on two idle cores")
    if current := [name for name, reason in reasons.items() if not reason]:
        note(f"up to date: {', '.join(current)}")
    failed = []
    for run in reproducing.batch(jobs, parallel=parallel):
        note(f"{'✗' if run.failure else '✓'} {run.job.name} {run.seconds:.1f} s")
        if run.failure:
            failed.append(run)
    if save and not failed:
        _save(jobs)
    _conclude(jobs, failed)


def _save(jobs) -> None:
    from reuseprior.report import contents

    changed = [job.name for job in jobs if notebooks.save(job.notebook, job.output)]
    page = notebooks.gallery(notebooks.drawn_with())
    files.write(paths.FIGURES / "README.md", page.encode())
    changed += [page.relative_to(paths.ROOT).as_posix() for page in contents.renew()]
    note(f"saved: {', '.join(changed) or 'nothing, as nothing changed'}")
    for job in jobs:
        for slip in notebooks.slips(job.notebook):
            note(f"{job.name}: {slip}")


MOST_CHANGES = 12  # that the last page of `reproduce` shows

WHERE_TO_LOOK = (
    ("reuseprior audit", "the verdicts of every table"),
    ("reuseprior audit --only 'thesis, table 4.4'", "every number of one place"),
    ("reuseprior book", "the chapters as a site, build/book/index.html"),
)


def _conclude(jobs, failed) -> None:
    """A page at most: totals, what is not as committed, where to look, and what failed."""
    from reuseprior.report import ledger

    typer.echo(f"\n{len(jobs) - len(failed)} of {len(jobs)} chapters are done")
    changes, compared = [], []
    changed = results.changed_files("figures", "notebooks", "data")
    if changed is not None:
        changes, compared = changed, ["the files of figures, notebooks and data"]
    if any(run.job.chapter.last for run in failed):
        note("there is no ledger to sum up, as its notebook failed")
    else:
        rows = ledger.saved()
        typer.echo(_total([row["verdict"] for row in rows]))
        try:
            changes = [*ledger.compared(rows), *changes]
            compared.insert(0, "all verdicts")
        except ledger.LedgerError as error:  # which an update mends
            note(f"nothing to compare with: {error}")
    if changes:
        typer.echo(f"not as committed: {len(changes)}")
    elif compared:
        typer.echo(f"as committed: {' and '.join(compared)}")
    for change in changes[:MOST_CHANGES]:
        typer.echo(f"  {change}")
    if len(changes) > MOST_CHANGES:
        typer.echo(f"  … and {len(changes) - MOST_CHANGES} more: git status, reuseprior audit")
    copies, figures = {job.output.parent for job in jobs}, {job.figures for job in jobs}
    typer.echo(f"executed notebooks: {', '.join(map(str, sorted(copies)))}")
    typer.echo(f"figures: {', '.join(map(str, sorted(figures)))}")
    for command, purpose in WHERE_TO_LOOK:
        typer.echo(f"{command}: {purpose}")
    for run in failed:
        note(f"{run.job.name} failed: {run.failure}; see {run.job.broken}")
    if failed:
        raise typer.Exit(1)


def _verdicts(entries) -> str:
    """How many numbers of each table have each verdict, and of all."""
    from reuseprior.report import ledger

    summary = ledger.summary(entries).rename_axis(index=None, columns=None)
    table = summary.to_string(na_rep="", float_format="{:.0f}".format)
    return f"{table}\n\n{_total([e.verdict for e in entries])}"


def _total(verdicts) -> str:
    from reuseprior.report import contents

    marks = contents.by_mark(Counter(verdicts))
    counts = [f"{n} {mark}" for mark, n in marks.items()]
    inputs = len(verdicts) - sum(marks.values())
    return f"{len(verdicts)} printed numbers: {', '.join([*counts, f'{inputs} inputs'])}"


def _rows(entries) -> str:
    """Printed, computed, interval, verdict and reason of each entry, by place."""
    from reuseprior.report import ledger

    width = shutil.get_terminal_size().columns
    cells = [(e.printed, e.computed_text, e.interval_text or "–") for e in entries]
    # a claim in words may be long: it does not push the others aside
    widths = [min(max(map(len, column)), 24) for column in zip(*cells, strict=True)]
    lines, where = [], None
    for entry, texts in zip(entries, cells, strict=True):
        if entry.where != where:
            where = entry.where
            lines.append(f"{where}:")
        names = ("printed", "computed", "interval")
        fields = [f"{n} {t:{w}}" for n, t, w in zip(names, texts, widths, strict=True)]
        verdict = f"{ledger.MARKS[entry.verdict]} {entry.kind}: {entry.verdict}".strip()
        lines += [f"  {entry.id}", f"    {'  '.join([*fields, verdict])}"]
        indent = " " * 6
        lines += textwrap.wrap(
            entry.note, width, initial_indent=indent, subsequent_indent=indent,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
    return "\n".join([*lines, "", _total([e.verdict for e in entries])])


def _tell(entries, places=()) -> bool:
    """Say what is not as it was committed; whether anything is."""
    from reuseprior.report import ledger

    try:
        changes = ledger.changes(entries, places)
    except ledger.LedgerError as error:  # which an update mends
        note(f"nothing to compare with: {error}")
        return True
    for change in changes:
        note(change)
    return bool(changes)


@app.command(epilog="Example: reuseprior book --pdf")
def book(
    pdf: Annotated[
        bool,
        typer.Option("--pdf", help="Print the chapters as well, with Chromium: build/book.pdf."),
    ] = False,
) -> None:
    """Build notebooks, figures and ledger as a site that reads without a network: build/book."""
    from reuseprior.report import book as making
    from reuseprior.report import pdf as printing
    from reuseprior.report.trails import Trails

    if pdf:
        printing.browser()  # before minutes of work

    shown = [chapter.notebook for chapter in chapters.found()]
    committed = [path.stem for path in shown if making.with_outputs(path) == path]
    if committed:
        note(f"with their committed outputs, as reproduce has none newer: {', '.join(committed)}")
    if not Trails.load().links:
        note("without why numbers are what they are: `reuseprior audit --trace` records it")
    first = making.build()
    typer.echo(first)
    if pdf:
        note("Chromium prints the chapters, which takes minutes")
        typer.echo(printing.make(first.parent, printing.pages(), paths.BUILD / "book.pdf"))


@app.command(epilog="Example: reuseprior record ../campaign/data/results/train-cpu-hours/*")
def record(
    folders: Annotated[
        list[Path],
        typer.Argument(
            parser=path, metavar="FOLDER…", help="Finished runs, wherever they were made."
        ),
    ],
) -> None:
    """Copy finished runs into data/results: their tables and provenance, without weights.

    A run keeps its own name and that of the folder above it, its experiment.
    """
    from reuseprior import results

    for folder in folders:
        typer.echo(results.record(folder).folder)


@app.command(epilog="Example: reuseprior export ~/paper/reuseprior")
def export(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER", parser=path, help="Where to write (default: build/export)."
        ),
    ] = None,
) -> None:
    """Write every printed table beside its computed numbers as CSV and LaTeX, figures as PDF."""
    from reuseprior.report import tables

    paths.checkout()
    folder = folder or paths.BUILD / "export"
    written, drawn = tables.export(folder)
    typer.echo(f"{written} files of tables and {drawn} figures are in {folder}")


@app.command("new-study", epilog="Example: reuseprior new-study my-models")
def new_study(
    name: Annotated[
        Path,
        typer.Argument(
            parser=path, metavar="NAME", help="Of the notebook, with or without .ipynb."
        ),
    ],
) -> None:
    """Write a notebook that compares, plots and draws models of your own, ready to run."""
    from reuseprior.report import study

    if name.name in ("", ".."):
        raise UsageError(f"{name} is a folder: name a notebook in it")
    file = name if name.suffix == ".ipynb" else name.with_name(f"{name.name}.ipynb")
    study.write(file)
    typer.echo(f"{file}: put your models into its first cell of code, and run all")
