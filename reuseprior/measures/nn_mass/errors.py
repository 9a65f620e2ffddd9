"""What `reuseprior.measures.nn_mass` refuses, and why."""

from reuseprior.errors import UserError


class NNMassError(UserError):
    """An architecture, or a number of a formula, that cannot be; the message says the mend."""


class NotApplicable(NNMassError):
    """A model that NN-Mass says nothing of; the message names the reason."""
