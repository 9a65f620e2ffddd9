"""One package a source: how its printed numbers are read, its runs, tables and drawings."""
