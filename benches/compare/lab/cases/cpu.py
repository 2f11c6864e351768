"""CPU time of the proxy per unit of work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from ..contenders import Contender
from ..lab import Lab, Running
from ..load import Work
from ..measure import Sample, watched
from ..setup import ECDSA, RSA
from .base import Case, Row

MIB = 1 << 20


@dataclass(frozen=True)
class CpuCase(Case):
    """A load on the running contender; its CPU time divided by what got done."""

    id: str
    title: str
    unit: str
    per: float
    """Seconds of CPU for one piece of work, times this, is the value."""
    work: Callable[[Lab, Running], Work]

    @property
    def rows(self) -> tuple[Row, ...]:  # type: ignore[override]
        return (Row(self.id, self.title, self.unit),)

    def measure(self, lab: Lab, contender: Contender) -> Sample:
        running = lab.get(contender)
        work, spent, sample = watched(running.process, lambda: self.work(lab, running))
        if work.done:
            sample.values[self.id] = spent * self.per / work.done
        return sample


def handshakes(tls: str, name: str, resume: bool) -> CpuCase:
    kind = "resumed" if resume else "full"
    key = "ECDSA" if name == ECDSA else "RSA"

    def work(lab: Lab, running: Running) -> Work:
        flags = ["--resume"] if resume else []
        done = lab.load.own("handshakes", running.place.port, name, "--tls", tls, "--seconds", str(lab.seconds), *flags)
        # The first of each user has nothing to resume.
        others = done.numbers["resumed"] if not resume else max(0, done.done - done.numbers["resumed"] - 8)
        if others:
            errors = (*done.errors, f"{others:.0f} handshakes were not {kind}")
            return Work(done.done, done.failed + int(others), done.agreed, errors)
        return done

    short = f"{kind}-{tls}-{key.lower()}"
    return CpuCase(f"handshake-{short}", f"{kind} handshake and request, TLS {tls}, {key}", "ms", 1e3, work)


def requests() -> CpuCase:
    def work(lab: Lab, running: Running) -> Work:
        return lab.load.own("requests", running.place.port, ECDSA, "--path", "/1k", "--seconds", str(lab.seconds))

    return CpuCase("h1-1k", "1 KiB, HTTP/1.1 keep-alive, 32 connections", "µs", 1e6, work)


def requests_by_wrk() -> CpuCase:
    """wrk and h2load take longer for a request over HTTP/1.1 than some proxies, which then wait for them."""

    def work(lab: Lab, running: Running) -> Work:
        return lab.load.wrk(running.place.port, "/1k", lab.seconds, connections=32)

    return CpuCase("wrk-h1-1k", "the same, at the pace of wrk", "µs", 1e6, work)


def requests_by_h2load(h1: bool) -> CpuCase:
    def work(lab: Lab, running: Running) -> Work:
        connections, streams, rate = (32, 1, 8_000) if h1 else (16, 32, 12_000)
        count = int(lab.seconds * rate)
        return lab.load.h2load(running.place.port, ECDSA, "/1k", count, connections, streams, h1)

    if h1:
        return CpuCase("h2load-h1-1k", "the same, at the pace of h2load", "µs", 1e6, work)
    return CpuCase("h2-1k", "1 KiB, HTTP/2, 16 connections × 32 streams", "µs", 1e6, work)


def transfer(h1: bool, path: str, size: int, rate: int) -> CpuCase:
    """`rate`: bytes that a round's second is expected to move."""

    def work(lab: Lab, running: Running) -> Work:
        count = max(4, int(lab.seconds * rate / size))
        return lab.load.h2load(running.place.port, ECDSA, path, count, 4, 1, h1)

    protocol = "HTTP/1.1" if h1 else "HTTP/2"
    id = f"{'h1' if h1 else 'h2'}-download-{path[1:]}"
    return CpuCase(id, f"download of {size // MIB} MiB, {protocol}", "s/GB", 1e9 / size, work)


def upload(h1: bool) -> CpuCase:
    size = 10 * MIB

    def work(lab: Lab, running: Running) -> Work:
        count = max(4, int(lab.seconds * 250 * MIB / size))
        file = sparse(lab.home / "upload", size)
        return lab.load.h2load(running.place.port, ECDSA, "/upload", count, 4, 1, h1, file)

    protocol = "HTTP/1.1" if h1 else "HTTP/2"
    return CpuCase(f"{'h1' if h1 else 'h2'}-upload-10m", f"upload of 10 MiB, {protocol}", "s/GB", 1e9 / size, work)


def sparse(path: Path, size: int) -> Path:
    """A file of zeroes."""
    if not path.exists():
        with path.open("wb") as file:
            file.truncate(size)
    return path


CPU_CASES: tuple[CpuCase, ...] = (
    *(handshakes(tls, name, resume) for resume in (False, True) for tls in ("1.3", "1.2") for name in (ECDSA, RSA)),
    requests(),
    requests_by_wrk(),
    requests_by_h2load(h1=True),
    requests_by_h2load(h1=False),
    *(transfer(h1, "/1m", MIB, 300 * MIB) for h1 in (True, False)),
    *(transfer(h1, "/100m", 100 * MIB, 300 * MIB) for h1 in (True, False)),
    *(upload(h1) for h1 in (True, False)),
)
