"""Chapter 5: energy priors, deep against wide, and what sharing does to efficiency."""

from reuseprior.chapter5.ledger import claims as claims
from reuseprior.chapter5.ledger import entries as entries
from reuseprior.chapter5.ledger import lowered_by_sharing as lowered_by_sharing
from reuseprior.chapter5.ledger import table_entries as table_entries
from reuseprior.chapter5.readings import FAMILIES as FAMILIES
from reuseprior.chapter5.readings import as_the_text_says as as_the_text_says
from reuseprior.chapter5.readings import model as model
from reuseprior.chapter5.readings import quantities as quantities
from reuseprior.chapter5.tables import grid as grid
from reuseprior.chapter5.tables import printed_beside_computed as printed_beside_computed
from reuseprior.chapter5.tables import surface as surface
from reuseprior.chapter5.tables import under_priors as under_priors
