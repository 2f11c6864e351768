"""What a second worker costs: what workers share shows in the CPU time of one piece of work."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace

from ..contenders import Contender
from ..lab import Lab
from ..measure import Sample, watched
from ..setup import ECDSA
from .base import Case, Row
from .cpu import CpuCase, handshakes, requests, requests_by_h2load


@dataclass(frozen=True)
class ScalingCase(Case):
    """Another case's load, on a contender with one worker and then with two. Proxy, load and backend share both cores
    either time, so that the machine is the same."""

    of: CpuCase

    @property
    def id(self) -> str:  # type: ignore[override]
        return f"scaling-{self.of.id}"

    @property
    def rows(self) -> tuple[Row, ...]:  # type: ignore[override]
        return (Row(self.id, f"two workers over one: {self.of.title}", "×"),)

    def measure(self, lab: Lab, contender: Contender) -> Sample:
        both = frozenset({lab.proxy_core, lab.load_core})
        free = copy(lab)
        free.load = replace(lab.load, cores=both)
        each: list[float] = []
        for workers in (1, 2):
            with lab.fresh(contender, workers=workers, cores=both) as running:
                work, spent, sample = watched(running.process, lambda: self.of.work(free, running))
            each.append(spent / work.done if work.done else 0.0)
        if all(each):
            sample.values[self.id] = each[1] / each[0]
        return sample


SCALING_CASES: tuple[ScalingCase, ...] = tuple(
    ScalingCase(case) for case in (handshakes("1.3", ECDSA, resume=False), requests(), requests_by_h2load(h1=False))
)
