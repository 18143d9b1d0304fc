"""PURE. Agreement on a log. `api` is the one interface; `raft` is the protocol behind it."""
