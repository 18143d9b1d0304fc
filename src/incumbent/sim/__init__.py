"""The laboratory: deterministic worlds in which the real code runs, and predicates over everything that happens there."""
