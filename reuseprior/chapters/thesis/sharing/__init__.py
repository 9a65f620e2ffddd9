"""Chapter 4's experiments: models that share convolutions, counted and trained."""

from reuseprior.chapters.thesis.sharing.compression import compression_claims as compression_claims
from reuseprior.chapters.thesis.sharing.compression import compression_ratio as compression_ratio
from reuseprior.chapters.thesis.sharing.compression import equal_depth as equal_depth
from reuseprior.chapters.thesis.sharing.costs import equal_cost as equal_cost
from reuseprior.chapters.thesis.sharing.costs import foretold as foretold
from reuseprior.chapters.thesis.sharing.costs import gain_at_equal as gain_at_equal
from reuseprior.chapters.thesis.sharing.ledger import PARTS as PARTS
from reuseprior.chapters.thesis.sharing.ledger import claims as claims
from reuseprior.chapters.thesis.sharing.ledger import compression as compression
from reuseprior.chapters.thesis.sharing.ledger import trained_models as trained_models
from reuseprior.chapters.thesis.sharing.tables import (
    trained_beside_computed as trained_beside_computed,
)
