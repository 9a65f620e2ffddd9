"""The derivations in the thesis's order, and what became of what they derive."""

from functools import partial

from reuseprior.chapters.thesis.derivations import any_graph, estimates, perceptrons
from reuseprior.proofs import Derivations
from reuseprior.report import theorems

DERIVATIONS = Derivations((
    any_graph.lemma_1, any_graph.theorem_1, any_graph.lemma_2, any_graph.theorem_2,
    any_graph.corollary_1, perceptrons.equation_5_5, perceptrons.lemma_3, perceptrons.theorem_3,
    perceptrons.theorem_4, perceptrons.corollary_2, perceptrons.theorem_5,
    estimates.equation_5_19, estimates.equation_5_20, estimates.section_5_4_1,
))  # fmt: skip


WHERE = "thesis, theorems of chapters 4 and 5"
"""Lemmas, theorems, corollaries and equations."""

PARTS = {WHERE: partial(theorems.entries, DERIVATIONS, "thesis-5", WHERE, statement=True)}
