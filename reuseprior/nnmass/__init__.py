"""NN-Mass, the companion measure that needs no training either: links that skip layers."""

from reuseprior.nnmass.architecture import Architecture as Architecture
from reuseprior.nnmass.errors import NNMassError as NNMassError
from reuseprior.nnmass.errors import NotApplicable as NotApplicable
from reuseprior.nnmass.network import LongRangeCNN as LongRangeCNN
from reuseprior.nnmass.recorded import Cell as Cell
from reuseprior.nnmass.recorded import Mass as Mass
from reuseprior.nnmass.recorded import of as of
