"""Bidart's thesis (2023), a package a chapter."""
