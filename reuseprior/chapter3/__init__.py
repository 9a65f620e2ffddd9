"""Chapter 3: Revolver, a population of models trained on shared modules."""

from reuseprior.chapter3.experiments import comparison as comparison
from reuseprior.chapter3.experiments import fitness_and_scores as fitness_and_scores
from reuseprior.chapter3.experiments import kernel_share as kernel_share
from reuseprior.chapter3.experiments import results_table as results_table
from reuseprior.chapter3.experiments import runs as runs
from reuseprior.chapter3.experiments import tables_of as tables_of
from reuseprior.chapter3.ledger import entries as entries
