"""Neural Parameter Allocation Search, a companion paper: its tables, and all ways to share."""

from reuseprior.works.npas.experiments import Contender as Contender
from reuseprior.works.npas.experiments import compared as compared
from reuseprior.works.npas.experiments import contenders as contenders
from reuseprior.works.npas.experiments import learned as learned
from reuseprior.works.npas.experiments import parameters_of as parameters_of
from reuseprior.works.npas.experiments import rival as rival
from reuseprior.works.npas.experiments import runs as runs
from reuseprior.works.npas.experiments import stores as stores
from reuseprior.works.npas.experiments import train_one as train_one
from reuseprior.works.npas.ledger import PARTS as PARTS
