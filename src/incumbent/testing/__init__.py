"""The test kit for those who build on incumbent: today, the suite that defines an engine."""

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
