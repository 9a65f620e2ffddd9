"""The thesis, a package a subject."""
