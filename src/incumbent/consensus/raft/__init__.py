"""PURE. Raft: one file per subject; `replica.Raft` is the voter."""
