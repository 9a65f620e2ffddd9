"""The one exception of models."""

from reuseprior.errors import UserError


class ModelError(UserError):
    """A model that cannot be found or built; the message names it and says what to do."""
