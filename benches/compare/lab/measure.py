"""One measurement: a load, and what the proxy and the machine spent meanwhile."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any, Callable

from .kernel import Machine, cpu, tree
from .load import Work
from .process import Process

BUSY = 0.05
"""More of a core than this used by others makes a measurement doubtful."""


@dataclass
class Sample:
    """What one round of one case found of one contender."""

    values: dict[str, float]
    """By row."""
    failed: int = 0
    agreed: str = ""
    errors: list[str] = field(default_factory=list)
    others: float = 0.0
    """The part of a core that others than the measurement used meanwhile."""
    proxy_busy: float | None = None
    """The part of its core that the proxy used; little of it means that the load or the backend set the pace."""

    @property
    def is_doubtful(self) -> bool:
        return self.others > BUSY

    def json(self) -> dict[str, Any]:
        return asdict(self)


def watched(process: Process, work: Callable[[], Work]) -> tuple[Work, float, Sample]:
    """Does the work; what was done, the proxy's CPU seconds for it, and a sample still without values."""
    machine, before, began = Machine.now(), cpu(process.pid), time.monotonic()
    done = work()
    elapsed, spent = time.monotonic() - began, cpu(process.pid).since(before)
    others = Machine.now().others_since(machine)
    sample = Sample({}, done.failed, done.agreed, list(done.errors), others, spent / elapsed)
    return done, spent, sample


def settle(process: Process, quiet: float = 0.4, patience: float = 120.0) -> float:
    """Waits until the process tree has been (almost) still for a while; seconds until that while began."""
    began = still_since = time.monotonic()
    last = cpu(process.pid)
    while time.monotonic() - began < patience:
        time.sleep(0.05)
        now = cpu(process.pid)
        # A tick in each look is more than what idle contenders use. One that others keep off its core is not still.
        waiting = any(stat.state in "RD" for stat in tree(process.pid).values())
        if waiting or now.since(last) > 0.011:
            still_since = time.monotonic()
        last = now
        if time.monotonic() - still_since >= quiet:
            break
    return still_since - began
