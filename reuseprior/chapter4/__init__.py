"""Chapter 4: counting contexts, and the tables that rank models without training."""

from reuseprior.chapter4.graphs import FIGURE_4_1 as FIGURE_4_1
from reuseprior.chapter4.graphs import FIGURE_4_2A as FIGURE_4_2A
from reuseprior.chapter4.graphs import FIGURE_4_2B as FIGURE_4_2B
from reuseprior.chapter4.graphs import FIGURE_4_3A as FIGURE_4_3A
from reuseprior.chapter4.ledger import appendix_a as appendix_a
from reuseprior.chapter4.ledger import compression as compression
from reuseprior.chapter4.ledger import entries as entries
from reuseprior.chapter4.ledger import figures as figures
from reuseprior.chapter4.ledger import ranked_models as ranked_models
from reuseprior.chapter4.ledger import trained_models as trained_models
from reuseprior.chapter4.readings import counts as counts
from reuseprior.chapter4.readings import model as model
from reuseprior.chapter4.readings import quantities as quantities
from reuseprior.chapter4.tables import by_depth as by_depth
from reuseprior.chapter4.tables import conventions as conventions
from reuseprior.chapter4.tables import estimates_and_scores as estimates_and_scores
from reuseprior.chapter4.tables import exact_rows as exact_rows
from reuseprior.chapter4.tables import printed_beside_computed as printed_beside_computed
from reuseprior.chapter4.tables import trained_beside_computed as trained_beside_computed
