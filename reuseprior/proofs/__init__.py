"""Derivations as chains of steps that are checked when they are shown, of any theory's symbols.

A chain is proved step by step: what a step puts in is a premise, a definition or what another chain
states, and stands beside it. sympy proves that the premises make both sides the same (or computes a
limit, whose rate is stated), and balls of python-flint hold both sides, mostly on built things. The
statement is the chain's ends, so that it says what is proved. A blueprint is the graph of all: its
marks come from these checks, down to the last premise, and from nothing else.
"""

from reuseprior.proofs.drawing import Drawing as Drawing
from reuseprior.proofs.graph import Blueprint as Blueprint
from reuseprior.proofs.graph import Page as Page
from reuseprior.proofs.graph import Premises as Premises
from reuseprior.proofs.steps import Chain as Chain
from reuseprior.proofs.steps import Correction as Correction
from reuseprior.proofs.steps import Derivation as Derivation
from reuseprior.proofs.steps import Fact as Fact
from reuseprior.proofs.steps import Note as Note
from reuseprior.proofs.steps import Step as Step
from reuseprior.proofs.steps import define as define
from reuseprior.proofs.steps import derived as derived
from reuseprior.proofs.steps import to as to
from reuseprior.proofs.theory import ProofError as ProofError
from reuseprior.proofs.theory import Theory as Theory
