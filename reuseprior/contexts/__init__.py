"""Counting contexts: explicit graphs, traced models, one rule an operator."""

from reuseprior.contexts.array import CountArray as CountArray
from reuseprior.contexts.batches import count_contexts as count_contexts
from reuseprior.contexts.batches import trace_model as trace_model
from reuseprior.contexts.counting import BatchNorm as BatchNorm
from reuseprior.contexts.counting import ContextCounts as ContextCounts
from reuseprior.contexts.counting import ParameterCount as ParameterCount
from reuseprior.contexts.counting import TracedModel as TracedModel
from reuseprior.contexts.counting import fingerprint as fingerprint
from reuseprior.contexts.counting import multiply_adds as multiply_adds
from reuseprior.contexts.graph import Graph as Graph
from reuseprior.contexts.graph import OperatorPaths as OperatorPaths
from reuseprior.contexts.graph import horizontal_unroll as horizontal_unroll
from reuseprior.contexts.graph import operator_paths as operator_paths
from reuseprior.contexts.graph import uniform as uniform
from reuseprior.contexts.rules import RULES as RULES
from reuseprior.contexts.rules import elementwise, moves, products, windows  # noqa: F401  to register
from reuseprior.contexts.rules import op_metadata as op_metadata
from reuseprior.contexts.rules import rule as rule
from reuseprior.contexts.rules.elementwise import full_softmax as full_softmax
from reuseprior.errors import CountingError as CountingError
from reuseprior.errors import renamed

plot, draw = ContextCounts.plot, ContextCounts.draw
__getattr__ = renamed(
    __name__, record_model="trace_model", RecordedModel="TracedModel", traits="op_metadata"
)
