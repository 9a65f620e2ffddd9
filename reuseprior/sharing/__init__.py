"""Ways to let a model use fewer parameters than weights."""

from reuseprior.sharing.scopes import POLICIES as POLICIES
from reuseprior.sharing.scopes import Policy as Policy
from reuseprior.sharing.scopes import Scope as Scope
from reuseprior.sharing.scopes import all_but_bn as all_but_bn
from reuseprior.sharing.scopes import equal_layers as equal_layers
from reuseprior.sharing.scopes import merge as merge
from reuseprior.sharing.scopes import thesis_tables as thesis_tables
from reuseprior.sharing.scopes import tie as tie
