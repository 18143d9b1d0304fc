"""Proof of death: a tiny helper process that ends a dead process's sessions at once, where silence would take a TTL.

`supervisor.Guardian` is the guarded process's side; ``python -m incumbent.guardian`` is the helper, `watchman` what it does.
"""
