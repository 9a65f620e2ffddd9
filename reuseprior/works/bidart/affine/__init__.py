"""Bidart's chapter 4: the affine variational autoencoder, its experiments and printed numbers."""

from reuseprior.works.bidart.affine.ledger import PARTS as PARTS
from reuseprior.works.bidart.affine.published import PublishedRestarts as PublishedRestarts
from reuseprior.works.bidart.affine.reuse import beside as beside
