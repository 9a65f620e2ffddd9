"""Functions of whole matrices, of which every entry of a result depends on every entry."""

from __future__ import annotations

from reuseprior.contexts.rules.registry import aten, rule

WHOLE = (
    aten.linalg_inv_ex, aten.linalg_matrix_exp, aten.linalg_pinv, aten._linalg_det,
    aten._linalg_slogdet, aten._linalg_svd, aten._linalg_eigh, aten.linalg_eig,
)  # fmt: skip


@rule(*WHOLE, linear=False, every_result=True)
def of_matrix(count, _result, x, *_, **__):
    """Inverses, exponentials, determinants, singular values: all of a matrix in each of them."""
    batch = len(x.shape) - 2
    total = count.sum(*range(batch, len(count.shape)))
    yield x, total.reshape((*x.shape[:batch], 1, 1))


@rule(aten._linalg_solve_ex, linear=False)
def solve(count, matrix, right, *, left=True, **_):
    """A solution depends on the whole matrix and on its own column of the right-hand side.

    With `left=False` it is a row, and a vector is a column by itself.
    """
    batch = len(matrix.shape) - 2
    is_vector = len(right.shape) == batch + 1
    total = count.sum(*range(batch, len(count.shape)))
    yield matrix, total.reshape((*matrix.shape[:batch], 1, 1))
    yield right, count.sum(-1 if is_vector or not left else -2).broadcast_to(right.shape)
