"""Derivations as steps that are checked when they are shown."""
