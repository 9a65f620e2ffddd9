"""Chapter 5: energy priors, deep against wide, and what sharing does to efficiency."""

from reuseprior.chapters.thesis.energy.grids import grid as grid
from reuseprior.chapters.thesis.energy.ledger import PARTS as PARTS
from reuseprior.chapters.thesis.energy.ledger import claims as claims
from reuseprior.chapters.thesis.energy.ledger import lowered_by_sharing as lowered_by_sharing
from reuseprior.chapters.thesis.energy.ledger import table_entries as table_entries
from reuseprior.chapters.thesis.energy.readings import FAMILIES as FAMILIES
from reuseprior.chapters.thesis.energy.readings import as_the_text_says as as_the_text_says
from reuseprior.chapters.thesis.energy.readings import model as model
from reuseprior.chapters.thesis.energy.readings import quantities as quantities
from reuseprior.chapters.thesis.energy.tables import (
    printed_beside_computed as printed_beside_computed,
)
from reuseprior.chapters.thesis.energy.tables import surface as surface
from reuseprior.chapters.thesis.energy.tables import under_priors as under_priors
