"""How counts are looked at: importing this module gives `ContextCounts` its `plot` and `draw`.

Counts know nothing of their views: the views look at them, and not the other way round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reuseprior.contexts.counting import ContextCounts

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot(counts: ContextCounts) -> Figure:
    """Show where a model's contexts live, on three axes; also `counts.plot()`.

    >>> count_contexts(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)), (1, 4)).plot()
    <Picture size ...>

    From the left: log2 contexts of each tensor's parameters in the order of the model, from the
    least to the greatest; the tensors' shares of the total surprisal; and how many parameters
    (their multiplicity) have so many contexts.
    """
    from reuseprior.contexts import views  # matplotlib is loaded where something is drawn

    return views.plot(counts)


def draw(counts: ContextCounts, *, limit: int = 24) -> Figure:
    """Draw the layers of the model, what feeds what, and their counts; also `counts.draw()`.

    >>> count_contexts(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)), (1, 4)).draw()
    <Picture size ...>

    A row a layer, from the input down; a line on the left joins layers that do not follow one
    another, and a dotted one those that use the same tensor. A model of more than `limit` rows is
    folded by its modules. What has no parameters is drawn only where several layers meet. Raises
    CountingError for counts without the record of a model, as `sharing.merge` gives them.
    """
    from reuseprior.contexts import views

    return views.draw(counts, limit=limit)


ContextCounts.plot = plot
ContextCounts.draw = draw
