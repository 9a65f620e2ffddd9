"""NN-Mass, the companion paper: its tables, and a grid of its networks trained."""

from reuseprior.chapters.nn_mass.experiments import GRIDS as GRIDS
from reuseprior.chapters.nn_mass.experiments import goodness_of_fit as goodness_of_fit
from reuseprior.chapters.nn_mass.experiments import runs as runs
from reuseprior.chapters.nn_mass.experiments import train_grid as train_grid
from reuseprior.chapters.nn_mass.experiments import trained as trained
from reuseprior.chapters.nn_mass.ledger import PARTS as PARTS
from reuseprior.chapters.nn_mass.ledger import table_1 as table_1
from reuseprior.chapters.nn_mass.tables import bounds_of_table_1 as bounds_of_table_1
from reuseprior.chapters.nn_mass.tables import counted as counted
from reuseprior.chapters.nn_mass.tables import of_models as of_models
from reuseprior.chapters.nn_mass.tables import printed_beside_computed as printed_beside_computed
from reuseprior.chapters.nn_mass.tables import table_2 as table_2
