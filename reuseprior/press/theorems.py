"""Theorems in the ledger: what holds as stated is reproduced, what holds corrected an erratum."""

from __future__ import annotations

from collections.abc import Iterator

from reuseprior.press.ledger import Entry
from reuseprior.proofs import Derivation, Derivations, plain


def entries(
    derivations: Derivations, identity: str, where: str, *, statement: bool = False
) -> Iterator[Entry]:
    """An entry a derivation, with ids that begin with `identity`, in the part `where` of a source.

    The note of an erratum says what is printed instead, after the `statement` if that is wanted.
    """
    source = where.split(",")[0]
    for name, found in derivations.by_name().items():
        which = name.lower().replace(" ", "-").replace(".", "-").replace("§", "section-")
        verdict, note = _judged(found, statement)
        place = f"{where}, {name}"
        yield Entry(f"{identity}-{which}", source, place, "as stated", None, verdict, note)


def _judged(found: Derivation, statement: bool) -> tuple[str, str]:
    if not found.holds:
        return "not yet", "a step of the derivation fails its check"
    read_off = [step for step in found.all_steps if step.outcome.counted]
    things = found.steps[0].check.theory.things
    note = f"{len(found.all_steps)} steps proved by sympy, {len(read_off)} also on {things}"
    if found.correction is None:
        return "reproduced", note
    says = f"{found.statement} {found.correction.says}" if statement else found.correction.says
    return "erratum", f"{plain(says)} ({note})"
