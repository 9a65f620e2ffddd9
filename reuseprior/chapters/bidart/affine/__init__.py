"""Bidart's chapter 4: the affine variational autoencoder, its experiments and printed numbers."""

from reuseprior.chapters.bidart.affine.ledger import PARTS as PARTS
from reuseprior.chapters.bidart.affine.published import PublishedRestarts as PublishedRestarts
from reuseprior.chapters.bidart.affine.reuse import beside as beside
