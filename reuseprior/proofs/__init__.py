"""Derivations as steps that are checked when they are shown, of any theory that brings its symbols.

A step is an equation. sympy proves it (the difference simplifies to zero, or a limit is computed)
and numbers test it, mostly those of built things; the definitions that a proof puts in are tested
by numbers as well. The mark beside a step comes from these checks and from nothing else, so a wrong
step shows as ✗. What a source prints is tested like any step, whatever is derived.
"""

from reuseprior.proofs.render import plain as plain
from reuseprior.proofs.steps import Correction as Correction
from reuseprior.proofs.steps import Derivation as Derivation
from reuseprior.proofs.steps import Derivations as Derivations
from reuseprior.proofs.steps import Printed as Printed
from reuseprior.proofs.steps import Remark as Remark
from reuseprior.proofs.steps import Step as Step
from reuseprior.proofs.steps import derived as derived
from reuseprior.proofs.theory import Check as Check
from reuseprior.proofs.theory import Dial as Dial
from reuseprior.proofs.theory import Theory as Theory
