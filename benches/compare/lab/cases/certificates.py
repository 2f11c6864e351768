"""Many certificates: the start, the memory, a reload, and one that changes; each once for its cost, and once more with
handshakes going on, for failures."""

from __future__ import annotations

import ssl
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Iterator

from ..contenders import Contender
from ..kernel import Machine, cpu, memory
from ..lab import Lab, Running
from ..load import parse_own
from ..measure import Sample, settle
from ..probe import wait_until_served
from ..process import Failed
from ..setup import make_certificates, say
from .base import Case, Row

PAUSE_MS = "5"
"""That each user who looks for failures rests between two handshakes."""


class ManyCertificates(Case):
    """Start with so many, reload for another line of the config, change one."""

    most_rounds = 1

    def __init__(self, count: int):
        self.count = count
        self.id = f"certificates-{count}"
        of = f"{count:,} certificates"
        self.rows = (
            Row(f"{self.id}-start", f"{of}: start", "s"),
            Row(f"{self.id}-memory", f"{of}: memory", "MiB"),
            Row(f"{self.id}-reload", f"{of}: a reload for one changed line, CPU", "s"),
            Row(f"{self.id}-change", f"{of}: one changed, CPU", "s"),
            Row(f"{self.id}-served", f"{of}: one changed, until served", "s"),
        )

    def measure(self, lab: Lab, contender: Contender) -> Sample:
        certs, sample, before = self.prepare(lab), Sample({}), Machine.now()
        with lab.fresh(contender, certs=certs) as running:
            settle(running.process)
            sample.values[f"{self.id}-start"] = running.started_in
            sample.values[f"{self.id}-memory"] = memory(running.process.pid) / (1 << 20)

            reading = cpu(running.process.pid)
            reload(running)
            sample.values[f"{self.id}-reload"] = cpu(running.process.pid).since(reading)

            reading = cpu(running.process.pid)
            sample.values[f"{self.id}-served"] = self.change(lab, running, self.count // 2)
            settle(running.process)
            sample.values[f"{self.id}-change"] = cpu(running.process.pid).since(reading)

            with going_on(lab, running, sample):
                reload(running)
                self.change(lab, running, self.count // 3)
                settle(running.process)
        sample.others = Machine.now().others_since(before)
        return sample

    def prepare(self, lab: Lab) -> Path:
        """The certificates, made once for all contenders."""
        certs = lab.home / f"certs-{self.count}"
        if not certs.exists():
            say(f"making {self.count:,} certificates")
            make_certificates(lab.load.tool, lab.home, certs, ["--count", str(self.count)])
        return certs

    def change(self, lab: Lab, running: Running, n: int) -> float:
        """Puts another certificate in place of one, and has the contender take it; seconds until it is served."""
        name, certs = certificate_name(n), running.place.certs
        make_certificates(lab.load.tool, lab.home, certs, [name])
        began = time.monotonic()
        running.contender.take_certificate(running.process, running.place, name)
        leaf = (certs / "folders" / name / "fullchain.pem").read_text().partition("-----END CERTIFICATE-----")
        certificate = ssl.PEM_cert_to_DER_cert(leaf[0] + leaf[1])
        if wait_until_served(running.place.port, name, certificate) is None:
            raise Failed(f"{running.contender.name} does not serve a changed certificate: {running.process.tail()}")
        return time.monotonic() - began


def certificate_name(n: int) -> str:
    """As the load tool numbers them."""
    return f"app-{n}.customer-{n % 100}.example.com"


def reload(running: Running) -> None:
    """Changes a line of the config, reloads, and waits for the end of what that takes."""
    running.place = replace(running.place, revision=running.place.revision + 1)
    running.contender.prepare(running.place)
    running.contender.reload(running.process, running.place)
    # Between the signal and the first work there may be a moment of nothing.
    settle(running.process, quiet=1.0)


@contextmanager
def going_on(lab: Lab, running: Running, sample: Sample) -> Iterator[None]:
    """Handshakes, as long as the block takes; those that fail are counted."""
    flags = ["--threads", "2", "--pause", PAUSE_MS]
    load = lab.load.start("handshakes", running.place.port, certificate_name(0), *flags)
    try:
        yield
        said, _ = load.communicate(timeout=120)
        work = parse_own(said)
        sample.failed += work.failed
        sample.errors += work.errors
    finally:
        load.kill()
        load.wait()


CERTIFICATE_CASES = (ManyCertificates(1_000), ManyCertificates(10_000))
