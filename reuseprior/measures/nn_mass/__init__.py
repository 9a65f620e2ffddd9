"""NN-Mass, the companion measure that needs no training either: links that skip layers."""

from reuseprior.measures.nn_mass.architecture import Architecture as Architecture
from reuseprior.measures.nn_mass.errors import NNMassError as NNMassError
from reuseprior.measures.nn_mass.errors import NotApplicable as NotApplicable
from reuseprior.measures.nn_mass.network import LongRangeCNN as LongRangeCNN
from reuseprior.measures.nn_mass.recorded import CellMass as CellMass
from reuseprior.measures.nn_mass.recorded import Mass as Mass
from reuseprior.measures.nn_mass.recorded import measure as measure
