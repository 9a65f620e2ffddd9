"""What the tests of chapter 3's ledger share: printed numbers falsified."""

from decimal import Decimal

from reuseprior.press import published
from reuseprior.press.published import Printed


def off_by_one(text):
    """The number with one more in its last digit, as it would be printed."""
    printed = Printed.parse(text)
    value = printed.value / printed.unit + Decimal(1).scaleb(-printed.digits)
    head = text[: len(text) - len(text.lstrip("<>≤≥"))]
    tail = text[len(text.rstrip(" KMB")) :]
    return f"{head}{value:.{printed.digits}f}{tail}"


def falsified(monkeypatch, table, identity, column, to=None):
    """Print another number in a cell: one more in its last digit, or what is given."""
    load = published.load

    def misprinted(*names):
        found = load(*names)
        if table in names:
            cell = found["id"] == identity, column
            text = found.loc[cell].item()
            found.loc[cell] = off_by_one(text) if to is None else to
        return found

    monkeypatch.setattr(published, "load", misprinted)
