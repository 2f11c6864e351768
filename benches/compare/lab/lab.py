"""The laboratory: the contenders that run, the backend, the load, and the cores they have."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator

from .backend import Backend
from .contenders import Contender, Place
from .load import Load
from .probe import wait_until_served
from .process import Failed, Process, free_port


@dataclass
class Running:
    """A contender that runs."""

    contender: Contender
    place: Place
    process: Process
    started_in: float
    """Seconds from exec to the end of the first handshake."""


@dataclass
class Lab:
    """All that a case needs."""

    home: Path
    proxy_core: int
    load_core: int
    load: Load
    seconds: float
    contenders: list[Contender]
    stack: ExitStack
    idle: int = 10_000
    backend: Backend = field(init=False)
    running: dict[str, Running] = field(default_factory=dict)
    count: int = 0

    def __post_init__(self) -> None:
        self.backend = Backend(self.load.tool, self.home / "backend", self.load_core)
        self.stack.push(self.backend)

    def get(self, contender: Contender) -> Running:
        """The contender with its usual config, which goes on running from case to case."""
        if contender.name not in self.running:
            running = self.stack.enter_context(self.fresh(contender))
            self.running[contender.name] = running
        return self.running[contender.name]

    @contextmanager
    def fresh(
        self, contender: Contender, certs: Path | None = None, connections: int = 2_048, workers: int = 1,
        cores: frozenset[int] | None = None,
    ) -> Iterator[Running]:
        """The contender started anew, for one measurement."""
        self.count += 1
        home = self.home / f"{contender.name}-{self.count}"
        certs = certs or self.home / "certs"
        cores = cores or frozenset({self.proxy_core})
        place = Place(home, free_port(), self.backend.port, certs, cores, connections, workers)
        process, listening_in = contender.start(place)
        with process:
            name = next((certs / "folders").iterdir()).name
            handshake_in = wait_until_served(place.port, name)
            if handshake_in is None:
                raise Failed(f"{contender.name} serves no certificate for {name}: {process.tail()}")
            yield Running(contender, place, process, listening_in + handshake_in)
