"""Blueprints and populations to look at: trees, comparisons, tables, figures."""
