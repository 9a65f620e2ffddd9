"""Closed forms for perceptrons of constant width: chapter 5's numbers without any graph.

Each form is one sympy expression. It is shown, differentiated and taken to its limits as it
stands, and lambdified it gives floats. The expressions are written so that nothing overflows and
no digits cancel: powers appear as ω^(−D), which underflows to a harmless zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from math import log10
from typing import Any

import sympy as sp

from reuseprior.errors import UserError
from reuseprior.measures.energy import whole

ω = sp.Symbol("omega", positive=True)  # width of every layer
D = sp.Symbol("D", positive=True, integer=True)  # weight layers
g = sp.Symbol("g", positive=True)  # parameters a layer: ω², or ω(ω + 1) with bias
j = sp.Symbol("j", nonnegative=True, integer=True)  # layers from the output, 0 for the last
N_I = sp.Symbol("N_I", positive=True)
N_O = sp.Symbol("N_O", positive=True)

LONGEST = 4000  # digits: Python refuses to write integers of more than 4300


@dataclass(frozen=True)
class ClosedForm:
    """A formula in ω, D and g: call it for a float, read `expression` for the mathematics.

    >>> expected_energy(2, 2)  # (2/3) ln 2
    0.46209812037329...
    >>> expected_energy.exact(2, 2)
    2*log(2)/3

    Width and depth are whole numbers from one on, `layer` (where a form has j) runs from 0, the
    last layer, to depth − 1. Raises UserError in one sentence for anything else.
    """

    name: str
    expression: sp.Expr
    least_width: int = 1  # 2 where a width of one has no value

    def __call__(self, width: int, depth: int, **options: Any) -> float:
        values = self._values(width, depth, **options)
        return float(_lambdified(self._at(values))(*(float(values[s]) for s in SYMBOLS)))

    def exact(self, width: int, depth: int, **options: Any) -> sp.Expr:
        """The value as a sympy number: rationals and logarithms of them.

        >>> hypothetical_expected_energy.exact(2, 5)
        26/31

        Raises UserError where ω^D has more than 4000 digits, which could not be written.
        """
        values = self._values(width, depth, **options)
        expression = self._at(values)
        if expression.has(ω**-D) and (digits := depth * log10(width)) > LONGEST:
            raise UserError(
                f"The exact {self.name} at width {width} and depth {depth} has numbers of "
                f"{digits:,.0f} digits: call the form for a float instead."
            )
        return expression.subs(values)

    @cached_property
    def at_width_one(self) -> sp.Expr:
        """The limit ω → 1, an expression of its own."""
        return sp.limit(self.expression, ω, 1)

    @cached_property
    def at_depth_one(self) -> sp.Expr:
        """One layer: terms that would cancel to the last digit are gone."""
        return self.expression.subs(_last, 1 / (ω - 1)).subs(D, 1)

    def _at(self, values: dict[sp.Symbol, int]) -> sp.Expr:
        if values[ω] == 1:
            return self.at_width_one
        return self.at_depth_one if values[D] == 1 else self.expression

    def _values(
        self,
        width,
        depth,
        *,
        bias=False,
        layer=None,
        input_nodes=None,
        output_nodes=None,
        **unknown,
    ) -> dict[sp.Symbol, int]:
        if unknown:
            raise UserError(
                f"The {self.name} has no option {next(iter(unknown))}=: there are bias=, layer=, "
                "input_nodes= and output_nodes=."
            )
        if bias not in (True, False):
            raise UserError(f"bias={bias!r} must be True or False.")
        width, depth = whole("width", width), whole("depth", depth)
        if width < self.least_width:
            raise UserError(
                f"width={width} has no such limit: with one node a layer every count is one, "
                f"so the {self.name} needs width {self.least_width} or more."
            )
        inputs = width if input_nodes is None else whole("input_nodes", input_nodes)
        outputs = width if output_nodes is None else whole("output_nodes", output_nodes)
        parameters = width * (width + bool(bias))
        chosen = self._layer(layer, depth)
        return {ω: width, D: depth, g: parameters, j: chosen, N_I: inputs, N_O: outputs}

    def _layer(self, layer, depth: int) -> int:
        if (layer is not None) != self.expression.has(j):
            wants = "needs layer=" if layer is None else "has no layer: leave out layer="
            raise UserError(f"The {self.name} {wants}, which counts from 0 at the last layer.")
        if layer is None:
            return 0
        layer = whole("layer", layer, least=0)
        if layer >= depth:
            raise UserError(f"layer={layer}, but {depth} layers are numbered 0 to {depth - 1}.")
        return layer

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {sp.latex(self.expression, ln_notation=True)}$"


SYMBOLS = (ω, D, g, j, N_I, N_O)


@cache
def _lambdified(expression: sp.Expr) -> Callable[..., float]:
    return sp.lambdify(SYMBOLS, expression, "math")


def _estimate(energy: sp.Expr) -> sp.Expr:
    """Eq. 4.8 in nats: ln(N_G (E + 1) N_I/|G|) with N_G = N_W = gD."""
    return sp.log(g * D * (energy + 1) * N_I / (N_I + N_O + g * D))


# The reusability prior, E_j = j ln ω and β = −1 ---------------------------------------------------

_rest = 1 - ω ** (-D)  # (ω^D − 1) / ω^D
_last = D * ω ** (-D) / _rest  # D / (ω^D − 1)
_geometric = sp.log(_rest / (1 - 1 / ω))  # ln Σ ω^(−j)
_energy = (D - 1 - 1 / (ω - 1) + _last) * sp.log(ω)
_entropy = sp.log(g) + _geometric + (1 / (ω - 1) - _last) * sp.log(ω)

energy = ClosedForm("energy of a layer", j * sp.log(ω))  # E_j = ln |C|, nats
# ln z = ln N_C (eq. 5.9)
log_contexts = ClosedForm("log of all contexts", sp.log(g) + (D - 1) * sp.log(ω) + _geometric)
# of one parameter of a layer (eq. 5.10, 5.11)
probability = ClosedForm("probability", ω ** (j - D + 1) * (1 - 1 / ω) / (_rest * g))
expected_energy = ClosedForm("expected energy", _energy)  # ⟨E⟩ = ⟨ln |C|⟩, nats (eq. 5.12)
entropy = ClosedForm("entropy", _entropy)  # H(W), nats (eq. 5.17)
# P′_G with the parenthesis of eq. 4.8: in nats (eq. 5.19), and with log2 throughout as eq. 4.8 is
performance = ClosedForm("performance estimate", _estimate(_energy))
performance_bits = ClosedForm(
    "performance estimate in bits", _estimate(_energy / sp.log(2)) / sp.log(2)
)

# For D → ∞ at constant width: Theorems 4 and 5, corrected, and eq. 5.20 in nats -------------------

expected_energy_limit = ClosedForm("limit of the expected energy", (D - ω / (ω - 1)) * sp.log(ω), 2)
entropy_limit = ClosedForm(
    "limit of the entropy", sp.log(g) - sp.log(ω - 1) + ω / (ω - 1) * sp.log(ω), 2
)
performance_limit = ClosedForm(
    "limit of the performance estimate", sp.log(D) + sp.log(ω) + sp.log(sp.log(ω)), 2
)

# Theorems 4 and 5 as the thesis prints them, to compare with --------------------------------------

printed_expected_energy_limit = ClosedForm(
    "printed limit of the expected energy", (D - 1) * sp.log(ω)
)
printed_entropy_limit = ClosedForm(
    "printed limit of the entropy", sp.log(g) + sp.log(ω) - sp.log(ω - 1), 2
)

# The hypothetical prior of §5.4.1, E_j = j and β = ln ω: ln z, p(w_j), ⟨E⟩ = ⟨j⟩, H, P′_G ---------

_hypothetical_energy = 1 / (ω - 1) - _last
hypothetical_log_partition = ClosedForm("log partition function of §5.4.1", sp.log(g) + _geometric)
hypothetical_probability = ClosedForm(
    "probability of §5.4.1", ω ** (-j) * (1 - 1 / ω) / (_rest * g)
)
hypothetical_expected_energy = ClosedForm("expected energy of §5.4.1", _hypothetical_energy)
hypothetical_entropy = ClosedForm("entropy of §5.4.1", _entropy)  # ln z + β⟨E⟩, nats
hypothetical_performance = ClosedForm(
    "performance estimate of §5.4.1", _estimate(_hypothetical_energy)
)


def every_form() -> dict[str, ClosedForm]:
    """All closed forms by the name that they have in this module.

    >>> len(every_form())
    17
    """
    return {name: form for name, form in globals().items() if isinstance(form, ClosedForm)}
