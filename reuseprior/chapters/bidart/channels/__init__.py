"""Bidart's chapter 3: filters that repeat over channels."""

from reuseprior.chapters.bidart.channels.ledger import PARTS as PARTS
from reuseprior.chapters.bidart.channels.ledger import beside as beside
from reuseprior.chapters.bidart.channels.ledger import filters as filters
from reuseprior.chapters.bidart.channels.ledger import learnable as learnable
from reuseprior.chapters.bidart.channels.ledger import table_6 as table_6
from reuseprior.chapters.bidart.channels.ledger import weights as weights
