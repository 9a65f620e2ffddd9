"""Bidart's chapter 4: the affine variational autoencoder, its experiments and printed numbers."""
