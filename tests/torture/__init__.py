"""Real processes, everything that can go wrong with them at once, and judges: ``make torture``."""
