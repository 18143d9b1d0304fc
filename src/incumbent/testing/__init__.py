"""The test kit for those who build on incumbent: the suite that defines an engine, and `kubernetes`, a fake of its Lease API."""

from incumbent.engines.conformance import (
    CHECKS,
    Check,
    EngineHarness,
    Lab,
    NotConforming,
    Service,
    check_engine,
    run_check,
)

__all__ = [
    "CHECKS",
    "Check",
    "EngineHarness",
    "Lab",
    "NotConforming",
    "Service",
    "check_engine",
    "run_check",
]
