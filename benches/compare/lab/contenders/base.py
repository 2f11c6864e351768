"""What all contenders have in common."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from ..process import Process, listens

# TLS 1.2 with these two, TLS 1.3 with the third; clients offer nothing else either.
TLS12_CIPHERS = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
TLS13_CIPHERS = "TLS_AES_128_GCM_SHA256"
# Keys are exchanged by X25519 alone. Clients offer P-256 behind it, as OpenSSL takes TLS 1.2 with a P-256 certificate
# from those alone that do.
GROUP = "X25519"
CLIENT_GROUPS = "X25519:P-256"

# Longer than any measurement.
KEEP_ALIVE_SECONDS = 600
BACKEND_CONNECTIONS = 512


@dataclass(frozen=True)
class Place:
    """Where a contender runs and with what."""

    home: Path
    """Its own folder."""
    port: int
    """Where it listens, on 127.0.0.1, for TLS."""
    backend: int
    """The backend's port."""
    certs: Path
    """`folders/NAME/{privkey,fullchain}.pem` and `bundles/NAME.pem`."""
    cores: frozenset[int]
    connections: int = 2_048
    """Clients at once."""
    workers: int = 1
    revision: int = 0
    """What one line of the config changes with, so that a reload has something to do."""

    @property
    def keep_alive(self) -> int:
        """Seconds that an idle client is kept: longer than any measurement."""
        return KEEP_ALIVE_SECONDS + self.revision


class Contender(ABC):
    """A proxy that can be started, reloaded and told of a new certificate."""

    def __init__(self, name: str, program: str):
        self.name = name
        self.program = program

    @abstractmethod
    def version(self) -> str:
        """What it says of itself."""

    @abstractmethod
    def prepare(self, place: Place) -> list[str]:
        """Writes its config, and says how it is started."""

    @abstractmethod
    def reload(self, process: Process, place: Place) -> None:
        """Has it read its config, which `prepare` has just written, again."""

    def take_certificate(self, process: Process, place: Place, name: str) -> None:
        """Has it serve the certificate for `name` that was just put in place of another, by the cheapest way it has."""
        self.reload(process, place)

    def environment(self, place: Place) -> dict[str, str]:
        """Environment variables that it needs."""
        return {}

    def start(self, place: Place) -> tuple[Process, float]:
        """Starts it; seconds until it takes connections."""
        place.home.mkdir(parents=True, exist_ok=True)
        command = self.prepare(place)
        process = Process(command, set(place.cores), place.home / "log", self.environment(place))
        try:
            return process, process.wait_for(lambda: listens(place.port), self.name)
        except BaseException:
            process.__exit__()
            raise

    def say(self, *arguments: str) -> str:
        """What a command of its program prints."""
        done = subprocess.run([self.program, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        return (done.stdout + done.stderr).strip()
