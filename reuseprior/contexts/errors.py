"""The one exception of counting."""

from reuseprior.errors import UserError


class CountingError(UserError):
    """A model or graph cannot be counted; the message says what, where and the mend."""
