"""The affine variational autoencoder of Bidart's chapter 4, and the search for α."""

from reuseprior.models.affine_vae.loss import LIKELIHOODS as LIKELIHOODS
from reuseprior.models.affine_vae.loss import divergence as divergence
from reuseprior.models.affine_vae.loss import misfit as misfit
from reuseprior.models.affine_vae.model import AffineVAE as AffineVAE
from reuseprior.models.affine_vae.model import Passed as Passed
from reuseprior.models.affine_vae.model import evaluating as evaluating
from reuseprior.models.affine_vae.poses import REACH as REACH
from reuseprior.models.affine_vae.poses import Poses as Poses
from reuseprior.models.affine_vae.poses import inverse as inverse
from reuseprior.models.affine_vae.poses import padded as padded
from reuseprior.models.affine_vae.poses import room as room
from reuseprior.models.affine_vae.poses import shear as shear
from reuseprior.models.affine_vae.poses import warp as warp
from reuseprior.models.affine_vae.search import Found as Found
from reuseprior.models.affine_vae.search import Halving as Halving
from reuseprior.models.affine_vae.search import Objective as Objective
from reuseprior.models.affine_vae.search import Restarts as Restarts
from reuseprior.models.affine_vae.vae import VAE as VAE
