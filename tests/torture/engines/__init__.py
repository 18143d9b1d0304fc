"""Failure runs of the engines that users run themselves. `python -m tests.torture --engine etcd` is the face of it."""
