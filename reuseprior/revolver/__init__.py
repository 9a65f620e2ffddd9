"""Revolver (thesis, chapter 3): a population of models trained on shared modules."""

from reuseprior.errors import renamed
from reuseprior.revolver import blocks as blocks
from reuseprior.revolver import show as show
from reuseprior.revolver.blueprints import Block as Block
from reuseprior.revolver.blueprints import Blueprint as Blueprint
from reuseprior.revolver.blueprints import BlueprintError as BlueprintError
from reuseprior.revolver.blueprints import Chain as Chain
from reuseprior.revolver.blueprints import Composite as Composite
from reuseprior.revolver.blueprints import Scope as Scope
from reuseprior.revolver.blueprints import Tags as Tags
from reuseprior.revolver.blueprints import assemble as assemble
from reuseprior.revolver.blueprints import block as block
from reuseprior.revolver.blueprints import check as check
from reuseprior.revolver.blueprints import clone as clone
from reuseprior.revolver.blueprints import infer as infer
from reuseprior.revolver.blueprints import make_common as make_common
from reuseprior.revolver.blueprints import make_unique as make_unique
from reuseprior.revolver.blueprints import refresh as refresh
from reuseprior.revolver.blueprints import require as require
from reuseprior.revolver.blueprints import settle as settle
from reuseprior.revolver.operators import copyover as copyover
from reuseprior.revolver.operators import crossover as crossover
from reuseprior.revolver.operators import mutate as mutate
from reuseprior.revolver.population import Individual as Individual
from reuseprior.revolver.population import Population as Population
from reuseprior.revolver.population import Registry as Registry
from reuseprior.revolver.population import sharing_factor as sharing_factor
from reuseprior.revolver.search import Search as Search
from reuseprior.revolver.search import SearchError as SearchError
from reuseprior.revolver.show import changes as changes
from reuseprior.revolver.show import compare as compare
from reuseprior.revolver.show import mutations as mutations
from reuseprior.revolver.show import tree as tree
from reuseprior.revolver.space import Rates as Rates
from reuseprior.revolver.space import Settings as Settings
from reuseprior.revolver.space import SettingsError as SettingsError
from reuseprior.revolver.space import Space as Space
from reuseprior.revolver.space import SpaceError as SpaceError
from reuseprior.revolver.space import generate as generate
from reuseprior.revolver.space import presets as presets
from reuseprior.revolver.state import Best as Best
from reuseprior.revolver.strategies import MEASURES as MEASURES
from reuseprior.revolver.strategies import author_utility as author_utility
from reuseprior.revolver.strategies import context_utility as context_utility
from reuseprior.revolver.strategies import genotype_fitness as genotype_fitness
from reuseprior.revolver.strategies import phenotype_fitness as phenotype_fitness
from reuseprior.revolver.strategies import utility as utility

__getattr__ = renamed(__name__, diff="changes")
