"""A package, so that one part's tests can use another's helpers: ``from tests.engines.stranger import …``."""
