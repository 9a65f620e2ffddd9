"""Six sentences missing from the thesis: what its numbers follow and its text does not say.

A computed number marked ≈ names in its note the conventions that give its digits; each belongs to
one of these habits of the author's code.
"""

from collections.abc import Iterable, Mapping

import pandas as pd

HABITS = {
    "one output node": (
        "N_O = 1 in |G|",
        "|G| has one output node, however many the network has.",
        "Definition 6 and eq. 5.19 count every output node.",
    ),
    "running statistics": (
        "running statistics counted",
        "Batch norm's running mean and variance are counted as weights.",
        "§4.5.1 and eq. 5.1 count learnable parameters.",
    ),
    "another image size": (
        "contexts counted at",
        "V2-M and V2-L are counted at 240 px, ResNet-50 at 384 px.",
        "Table 4.4 prints 480 px and 380 px.",
    ),
    "one shape is one weight": (
        "weights of one shape",
        "Shared networks have one weight for each shape, whatever its stride.",
        "§4.5.3 begins so, and then names strides too.",
    ),
    "one operation": (
        "a multiply-add is one operation",
        "A multiply-add is one FLOP.",
        "The text leaves it open.",
    ),
    "biases": (
        "convolutions with bias",
        "ResNet-50's convolutions have biases, as in Keras.",
        "§4.5.1 has biases in final layers alone.",
    ),
}
"""Each habit: how a note begins that names it, the missing sentence, what the text says."""


def of_note(note: str) -> list[str]:
    """The habits that a row's note names, in the table's order."""
    named = note.split("; but ")[0].split("; ")
    return [
        habit
        for habit, (start, *_) in HABITS.items()
        if any(part.startswith(start) for part in named)
    ]


def explained(rows: Iterable[Mapping[str, str]]) -> pd.DataFrame:
    """How many of the given ledger rows need each habit, and how many need nothing else."""
    needed = [of_note(row["note"]) for row in rows]
    rows = {
        habit: (sentence, text, sum(habit in habits for habits in needed), needed.count([habit]))
        for habit, (_, sentence, text) in HABITS.items()
    }
    columns = ["missing sentence", "what the text says", "numbers", "alone"]
    return pd.DataFrame.from_dict(rows, "index", columns=columns)
