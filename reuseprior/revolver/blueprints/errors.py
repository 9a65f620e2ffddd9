"""The exceptions of blueprints."""

from reuseprior.errors import UserError


class BlueprintError(UserError):
    """A blueprint that cannot be read, built or changed; the message says where and the mend."""


class Misfit(Exception):
    """What a block says of an input that it cannot take; becomes a `BlueprintError` with place."""
