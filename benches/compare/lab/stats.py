"""Medians, spread and ratios."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Sequence


@dataclass(frozen=True)
class Summary:
    """Several measurements of one thing."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> Summary:
        return cls(median(samples), min(samples), max(samples), len(samples))

    @property
    def spread(self) -> float:
        """From the lowest to the highest, as a share of the median."""
        return (self.high - self.low) / abs(self.median) if self.median else 0.0


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Summary | None:
    """Ours to theirs, round by round: what changes on the machine between two rounds meets both. `None`: no round has
    both, or what they have is nothing to divide (as a latency that is lost in the noise)."""
    pairs = [mine / other for mine, other in zip(ours, theirs) if mine > 0 and other > 0]
    return Summary.of(pairs) if pairs else None


def text(value: float) -> str:
    """Two or three digits that matter."""
    if abs(value) < 0.1:
        return f"{value:.2g}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
