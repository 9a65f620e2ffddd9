"""One counting rule an operator: how the contexts of a result reach what went in.

A rule is the adjoint of "which inputs does each result depend on". It is given the counts of
a result and the operator's own arguments, with a `Node` (it has a `.shape`) for every tensor,
and yields `(node, counts)` for each tensor that the result depends on. Its counts may be
smaller than the node's shape; they are then broadcast.

    >>> @rule(torch.ops.mylib.scale_shift.default)  # doctest: +SKIP
    ... def scale_shift(count, x, w, b):
    ...     yield x, count
    ...     yield w, count.sum(0, 2, 3).reshape(w.shape)
    ...     yield b, count.sum(0, 2, 3).reshape(b.shape)

Rules are linear in the counts, so the same rule serves scaled floats and exact integers.
An operator that only moves entries or adds them up needs no rule: `summing` is its own.
A rule given to `count_contexts(..., rules={...})` is used instead of the registered one.
What else is known of an operator stands beside its rule, as its `Traits`.
"""

from reuseprior.contexts.rules import choices as choices
from reuseprior.contexts.rules import elementwise as elementwise
from reuseprior.contexts.rules import indexing as indexing
from reuseprior.contexts.rules import matrices as matrices
from reuseprior.contexts.rules import moves as moves
from reuseprior.contexts.rules import products as products
from reuseprior.contexts.rules import sampling as sampling
from reuseprior.contexts.rules import windows as windows
from reuseprior.contexts.rules.elementwise import full_softmax as full_softmax
from reuseprior.contexts.rules.linear import summing as summing
from reuseprior.contexts.rules.registry import RULES as RULES
from reuseprior.contexts.rules.registry import Rule as Rule
from reuseprior.contexts.rules.registry import Traits as Traits
from reuseprior.contexts.rules.registry import known as known
from reuseprior.contexts.rules.registry import overloads as overloads
from reuseprior.contexts.rules.registry import rule as rule
from reuseprior.contexts.rules.registry import traits as traits
