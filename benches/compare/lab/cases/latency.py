"""What a proxy adds to the time that an answer takes, at a fixed rate that leaves it idle in between."""

from __future__ import annotations

from ..contenders import Contender
from ..lab import Lab
from ..measure import Sample, watched
from ..setup import ECDSA
from .base import Case, Row

RATE = 1_000
QUANTILES = ("p50", "p99", "p99.9")


class AddedLatency(Case):
    """Requests over TLS through the proxy, less the same requests straight to the backend without TLS."""

    id = "latency"
    rows = tuple(Row(f"latency-{q}", f"added latency, {q}, at {RATE:,} requests/s", "µs") for q in QUANTILES)

    def measure(self, lab: Lab, contender: Contender) -> Sample:
        running = lab.get(contender)
        flags = ["--path", "/1k", "--rate", str(RATE), "--seconds", str(lab.seconds)]
        direct = lab.load.own("latency", lab.backend.port, ECDSA, *flags, plain=True)
        work, _, sample = watched(
            running.process, lambda: lab.load.own("latency", running.place.port, ECDSA, *flags)
        )
        sample.failed += direct.failed
        for quantile in QUANTILES:
            if quantile in work.numbers and quantile in direct.numbers:
                added = work.numbers[quantile] - direct.numbers[quantile]
                sample.values[f"latency-{quantile}"] = added
        return sample


LATENCY_CASES = (AddedLatency(),)
