"""What is measured."""

from __future__ import annotations

from .base import Case, Row
from .certificates import CERTIFICATE_CASES
from .cpu import CPU_CASES
from .idle import IDLE_CASES
from .latency import LATENCY_CASES

CASES: dict[str, Case] = {
    case.id: case for case in (*CPU_CASES, *LATENCY_CASES, *IDLE_CASES, *CERTIFICATE_CASES)
}


def chosen(patterns: list[str]) -> list[Case]:
    """The cases whose id begins with one of these; all of them for none."""
    found = [case for case in CASES.values() if not patterns or any(case.id.startswith(p) for p in patterns)]
    unused = [pattern for pattern in patterns if not any(id.startswith(pattern) for id in CASES)]
    if unused:
        raise ValueError(f"no case begins with {', '.join(unused)}; there are: {', '.join(CASES)}")
    return found


__all__ = ["CASES", "Case", "Row", "chosen"]
