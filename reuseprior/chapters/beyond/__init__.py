"""Does a measure that needs no training predict accuracy? Public benchmarks, and our counts."""
