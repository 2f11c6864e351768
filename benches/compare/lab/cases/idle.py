"""Memory, and how long a start takes."""

from __future__ import annotations

import json
from typing import IO

from ..contenders import Contender
from ..kernel import Machine, memory
from ..lab import Lab, Running
from ..measure import Sample, settle
from ..process import Failed
from ..setup import ECDSA
from .base import Case, Row


class AtRest(Case):
    """Started, and asked for nothing but one TCP connection."""

    id = "rest"
    rows = (Row("rest-start", "start", "ms"), Row("rest-memory", "memory at rest", "MiB"))
    most_rounds = 5

    def measure(self, lab: Lab, contender: Contender) -> Sample:
        before = Machine.now()
        with lab.fresh(contender) as running:
            settle(running.process)
            values = {
                "rest-start": running.started_in * 1e3,
                "rest-memory": memory(running.process.pid) / (1 << 20),
            }
        return Sample(values, others=Machine.now().others_since(before))


class IdleConnections(Case):
    """Connections that had one request and wait."""

    most_rounds = 2

    def __init__(self, h2: bool):
        protocol = "HTTP/2" if h2 else "HTTP/1.1"
        self.h2 = h2
        self.id = f"idle-{'h2' if h2 else 'h1'}"
        self.rows = (Row(self.id, f"memory per idle {protocol} connection", "KiB"),)

    def measure(self, lab: Lab, contender: Contender) -> Sample:
        before = Machine.now()
        with lab.fresh(contender, connections=lab.idle + 200) as running:
            # What the first connections allocate once for all is not theirs.
            self.hold(lab, running, 20)
            settle(running.process)
            empty = memory(running.process.pid)
            held, full, closed = self.hold(lab, running, lab.idle)
        each = (full - empty) / held / 1024
        errors = [f"{closed} connections were closed while idle"] if closed else []
        return Sample({self.id: each}, closed, errors=errors, others=Machine.now().others_since(before))

    def hold(self, lab: Lab, running: Running, count: int) -> tuple[int, int, int]:
        """How many connections were held, the memory meanwhile, and how many the proxy closed."""
        flags = ["--path", "/tiny", "--connections", str(count), *(["--h2"] if self.h2 else [])]
        load = lab.load.start("idle", running.place.port, ECDSA, *flags)
        try:
            held = json.loads(line(load.stdout))
            if held["failed"] or held["held"] != count:
                raise Failed(f"{held['failed']} of {count} connections failed: {held['error']}")
            settle(running.process)
            used = memory(running.process.pid)
            rest, _ = load.communicate(timeout=120)
            return count, used, json.loads(rest.strip().splitlines()[-1])["closed"]
        finally:
            load.kill()
            load.wait()


def line(stream: IO[str] | None) -> str:
    """The next line of a load that goes on."""
    text = stream.readline() if stream else ""
    if not text:
        raise Failed("the load tool ended before it held its connections")
    return text


IDLE_CASES: tuple[Case, ...] = (AtRest(), IdleConnections(h2=False), IdleConnections(h2=True))
