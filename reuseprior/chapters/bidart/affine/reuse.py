"""What a search for poses means for the prior: parameters and contexts beside those of VAEs."""

from __future__ import annotations

from math import ceil, log2, pi

import pandas as pd

from reuseprior.contexts import count_contexts
from reuseprior.models import without_weights
from reuseprior.models.affine_vae import VAE


def distinct_rotations(side: int) -> int:
    """Rotations of an image that differ by a pixel on the rim of its inscribed disc.

    >>> distinct_rotations(40)
    126
    """
    return ceil(pi * side)


def beside(latent: int, pose_numbers: int, side: int) -> pd.DataFrame:
    """A VAE, the same as an AVAE over all rotations, and VAEs that have the pose in their latents.

    An AVAE that is seen at K poses is K copies of one VAE whose parameters are tied, an affine map
    and its inverse around each. The maps have no parameters and no position of theirs feeds two
    copies, so every context of a parameter is there K times: log2 K bits more of each parameter's
    log-count, and the same distribution. That interpolating spreads a value over its neighbours,
    which would add contexts of its own, is left out. Columns: parameters, poses, spread (expected
    log2 of the contexts of a parameter, bits) and entropy (bits). The log-variances, which the
    reconstruction from the mean does not use, have no contexts and are counted among the parameters
    alone.
    """
    rotations = distinct_rotations(side)
    rows = {}
    for name, numbers, width, poses in (
        ("VAE", latent, 1, 1),
        ("AVAE", latent, 1, rotations),
        ("VAE, with numbers for the pose", latent + pose_numbers, 1, 1),
        ("VAE, twice as wide", latent + pose_numbers, 2, 1),
    ):
        with without_weights():
            vae = VAE(numbers, side, width=width)
        q = count_contexts(vae, (1, 1, side, side)).quantities()
        parameters = sum(p.numel() for p in vae.parameters())
        rows[name] = [parameters, poses, q.expected_spread + log2(poses), q.entropy]
    return pd.DataFrame.from_dict(
        rows, "index", columns=["parameters", "poses", "spread", "entropy"]
    )
