"""A chapter each: what its printed numbers are, its runs, tables and drawings."""
