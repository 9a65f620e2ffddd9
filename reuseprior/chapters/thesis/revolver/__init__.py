"""Chapter 3: Revolver, a population of models trained on shared modules."""

from reuseprior.chapters.thesis.revolver.blueprint import from_thesis as from_thesis
from reuseprior.chapters.thesis.revolver.experiments import PRESETS as PRESETS
from reuseprior.chapters.thesis.revolver.experiments import by_times_trained as by_times_trained
from reuseprior.chapters.thesis.revolver.experiments import first_and_later as first_and_later
from reuseprior.chapters.thesis.revolver.experiments import kernel_share as kernel_share
from reuseprior.chapters.thesis.revolver.experiments import reducing_share as reducing_share
from reuseprior.chapters.thesis.revolver.experiments import repeat as repeat
from reuseprior.chapters.thesis.revolver.experiments import results_table as results_table
from reuseprior.chapters.thesis.revolver.experiments import runs as runs
from reuseprior.chapters.thesis.revolver.experiments import searches as searches
from reuseprior.chapters.thesis.revolver.experiments import (
    shared_convolutions as shared_convolutions,
)
from reuseprior.chapters.thesis.revolver.experiments import tables_of as tables_of
from reuseprior.chapters.thesis.revolver.experiments import untrained as untrained
from reuseprior.chapters.thesis.revolver.ledger import PARTS as PARTS
