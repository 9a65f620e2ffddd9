"""Chapter 5's theorems, and chapter 4's two, derived beside their numbers."""

from reuseprior.chapters.thesis.derivations.ledger import DERIVATIONS

all_derivations = DERIVATIONS.all
derivation = DERIVATIONS.one
summary = DERIVATIONS.summary
