"""NN-Mass, the companion paper: its tables, and a grid of its networks trained."""

from reuseprior.chapter10.experiments import GRIDS as GRIDS
from reuseprior.chapter10.experiments import goodness_of_fit as goodness_of_fit
from reuseprior.chapter10.experiments import runs as runs
from reuseprior.chapter10.experiments import train_grid as train_grid
from reuseprior.chapter10.experiments import trained as trained
from reuseprior.chapter10.ledger import entries as entries
from reuseprior.chapter10.ledger import table_1 as table_1
from reuseprior.chapter10.tables import bounds_of_table_1 as bounds_of_table_1
from reuseprior.chapter10.tables import counted as counted
from reuseprior.chapter10.tables import of_models as of_models
from reuseprior.chapter10.tables import printed_beside_computed as printed_beside_computed
from reuseprior.chapter10.tables import table_2 as table_2
