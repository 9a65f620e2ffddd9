"""A population of blueprints on shared modules: drawn, changed, trained, scored, replaced."""
