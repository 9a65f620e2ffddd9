"""A model that cannot be counted is refused as quickly here as in tests/contexts."""

from tests.contexts.conftest import what_was_imported_is_set_aside  # noqa: F401
