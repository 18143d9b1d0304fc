"""PURE. One deterministic machine for everything: MVCC keys, leases, transactions, watches from a revision."""
