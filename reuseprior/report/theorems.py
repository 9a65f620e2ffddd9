"""Theorems in the ledger, by testing what is printed: it holds, or another statement is proved."""

from __future__ import annotations

from collections.abc import Iterator

from reuseprior.proofs import Derivation, Derivations, plain
from reuseprior.report.ledger import Entry


def entries(
    derivations: Derivations, identity: str, where: str, *, statement: bool = False
) -> Iterator[Entry]:
    """An entry a derivation, with ids that begin with `identity`, in the part `where` of a source.

    The note of a corrected one says what is printed instead, after the `statement` if wanted; that
    of one that holds carries its remark.
    """
    source = where.split(",")[0]
    for name, found in derivations.by_name().items():
        which = name.lower().replace(" ", "-").replace(".", "-").replace("§", "section-")
        verdict, note = _judged(found, statement)
        place = f"{where}, {name}"
        yield Entry(
            f"{identity}-{which}", source, place, "as stated", None, "proved", verdict, note=note
        )


def _judged(found: Derivation, statement: bool) -> tuple[str, str]:
    """Verdict and note: what is printed is tested first, whatever correction there is."""
    note = found.counts
    if found.printed_holds and found.holds:
        return "holds", f"{plain(found.remark.says)} ({note})" if found.remark else note
    if found.correction is None or not found.holds:
        return "fails", f"a step of the derivation, or of what is printed, fails its check; {note}"
    says = f"{found.statement} {found.correction.says}" if statement else found.correction.says
    return "corrected", f"{plain(says)} ({note})"
