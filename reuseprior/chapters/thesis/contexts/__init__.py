"""Chapter 4: counting contexts, and the tables that rank models without training."""

from reuseprior.chapters.thesis.contexts.graphs import FIGURE_4_1A as FIGURE_4_1A
from reuseprior.chapters.thesis.contexts.graphs import FIGURE_4_1B as FIGURE_4_1B
from reuseprior.chapters.thesis.contexts.graphs import FIGURE_4_2A as FIGURE_4_2A
from reuseprior.chapters.thesis.contexts.graphs import FIGURE_4_2B as FIGURE_4_2B
from reuseprior.chapters.thesis.contexts.graphs import FIGURE_4_3A as FIGURE_4_3A
from reuseprior.chapters.thesis.contexts.graphs import figure_1_1b as figure_1_1b
from reuseprior.chapters.thesis.contexts.ledger import PARTS as PARTS
from reuseprior.chapters.thesis.contexts.ledger import appendix_a as appendix_a
from reuseprior.chapters.thesis.contexts.ledger import figures as figures
from reuseprior.chapters.thesis.contexts.ledger import ranked_models as ranked_models
from reuseprior.chapters.thesis.contexts.readings import counts as counts
from reuseprior.chapters.thesis.contexts.readings import model as model
from reuseprior.chapters.thesis.contexts.readings import quantities as quantities
from reuseprior.chapters.thesis.contexts.tables import by_depth as by_depth
from reuseprior.chapters.thesis.contexts.tables import conventions as conventions
from reuseprior.chapters.thesis.contexts.tables import estimates_and_scores as estimates_and_scores
from reuseprior.chapters.thesis.contexts.tables import exact_rows as exact_rows
from reuseprior.chapters.thesis.contexts.tables import (
    printed_beside_computed as printed_beside_computed,
)
