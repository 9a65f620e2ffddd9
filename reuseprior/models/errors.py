"""The one exception of models, and libraries that only some of them need."""

from importlib import import_module
from types import ModuleType

from reuseprior.errors import UserError


class ModelError(UserError):
    """A model that cannot be found or built; the message names it and says what to do."""


def needed(module: str, who: str, mend: str) -> ModuleType:
    """A library; where it is missing, `ModelError` says who needs it and how to get it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ModelError(f"{who} {module.replace('_', '-')}: {mend}") from error
