"""Ways to let a model use fewer parameters than weights."""

from reuseprior.errors import renamed
from reuseprior.sharing.bases import Clustered as Clustered
from reuseprior.sharing.bases import quantise as quantise
from reuseprior.sharing.channels import Channels as Channels
from reuseprior.sharing.channels import fold as fold
from reuseprior.sharing.layers import Layers as Layers
from reuseprior.sharing.scopes import POLICIES as POLICIES
from reuseprior.sharing.scopes import Policy as Policy
from reuseprior.sharing.scopes import Scope as Scope
from reuseprior.sharing.scopes import ScopeRegistry as ScopeRegistry
from reuseprior.sharing.scopes import SharingError as SharingError
from reuseprior.sharing.scopes import all_but_bn as all_but_bn
from reuseprior.sharing.scopes import equal_layers as equal_layers
from reuseprior.sharing.scopes import merge as merge
from reuseprior.sharing.scopes import none as none
from reuseprior.sharing.scopes import policy as policy
from reuseprior.sharing.scopes import same_shape as same_shape
from reuseprior.sharing.scopes import scope_registry as scope_registry
from reuseprior.sharing.scopes import table as table
from reuseprior.sharing.scopes import tie as tie
from reuseprior.sharing.scopes import untie as untie
from reuseprior.sharing.scopes import with_bn as with_bn
from reuseprior.sharing.specs import SPECS as SPECS
from reuseprior.sharing.specs import apply as apply
from reuseprior.sharing.specs import parse as parse
from reuseprior.sharing.stores import Store as Store
from reuseprior.sharing.stores import Stores as Stores
from reuseprior.sharing.stores import cluster as cluster
from reuseprior.sharing.stores import share_blocks as share_blocks

__getattr__ = renamed(__name__, WAYS="SPECS")
