"""What is measured."""

from __future__ import annotations

from .base import Case, Row
from .certificates import CERTIFICATE_CASES
from .cpu import CPU_CASES
from .idle import IDLE_CASES
from .latency import LATENCY_CASES
from .scaling import SCALING_CASES

CASES: dict[str, Case] = {
    case.id: case
    for case in (*CPU_CASES, *LATENCY_CASES, *SCALING_CASES, *IDLE_CASES, *CERTIFICATE_CASES)
}


def chosen(patterns: list[str]) -> list[Case]:
    """The cases whose id begins with one of these; all of them for none."""
    if not patterns:
        return list(CASES.values())
    found: set[str] = set()
    for pattern in patterns:
        matching = {pattern} & CASES.keys() or {id for id in CASES if id.startswith(pattern)}
        if not matching:
            raise ValueError(f"no case begins with {pattern!r}; there are: {', '.join(CASES)}")
        found |= matching
    return [case for id, case in CASES.items() if id in found]


__all__ = ["CASES", "Case", "Row", "chosen"]
