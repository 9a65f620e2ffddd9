"""Neural Parameter Allocation Search, a companion paper: its tables, stores at equal budgets."""

from reuseprior.chapters.npas.budgets import in_blocks as in_blocks
from reuseprior.chapters.npas.budgets import parameters as parameters
from reuseprior.chapters.npas.experiments import compared_with as compared_with
from reuseprior.chapters.npas.experiments import learned as learned
from reuseprior.chapters.npas.experiments import narrower as narrower
from reuseprior.chapters.npas.experiments import stores as stores
from reuseprior.chapters.npas.ledger import PARTS as PARTS
from reuseprior.chapters.npas.ledger import printed as printed
