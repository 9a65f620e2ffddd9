"""The one exception of counting."""


class CountingError(ValueError):
    """A model or graph cannot be counted; the message says what, where and the mend."""
