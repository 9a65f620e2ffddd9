"""Neural Parameter Allocation Search, a companion paper: its tables, stores at equal budgets."""

from reuseprior.works.npas.budgets import in_blocks as in_blocks
from reuseprior.works.npas.budgets import parameters as parameters
from reuseprior.works.npas.experiments import compared_with as compared_with
from reuseprior.works.npas.experiments import learned as learned
from reuseprior.works.npas.experiments import narrower as narrower
from reuseprior.works.npas.experiments import stores as stores
from reuseprior.works.npas.ledger import PARTS as PARTS
from reuseprior.works.npas.ledger import printed as printed
