"""Programs under test: started on a core, awaited, ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Callable, Mapping, Sequence

PATIENCE = 180.0


class Failed(Exception):
    """A program did not do what it was asked to."""


class Process:
    """A program and all that it starts; ended with the `with` block."""

    def __init__(self, command: Sequence[str], cores: set[int], log: Path, environment: Mapping[str, str] = {}):
        self.log = log
        self.began = time.monotonic()
        with log.open("ab") as out:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **environment},
                start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )

    @property
    def pid(self) -> int:
        return self.child.pid

    def wait_for(self, ready: Callable[[], bool], what: str, patience: float = PATIENCE, pause: float = 0.002) -> float:
        """Waits until it is `ready`; seconds since the start."""
        deadline = time.monotonic() + patience
        while not ready():
            if self.child.poll() is not None:
                raise Failed(f"{what} ended with {self.child.returncode}: {self.tail()}")
            if time.monotonic() > deadline:
                raise Failed(f"{what} did not get ready in {patience:.0f} s: {self.tail()}")
            time.sleep(pause)
        return time.monotonic() - self.began

    def tail(self) -> str:
        """The end of what it said."""
        return self.log.read_text(errors="replace")[-600:].strip() or "it said nothing"

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the program itself."""
        self.child.send_signal(number)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        # It leads a session of its own: whatever it started and left behind ends with it.
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                break
            try:
                self.child.wait(timeout=2)
            except subprocess.TimeoutExpired:
                continue
        self.child.wait()


def free_port() -> int:
    """A port of loopback that nobody listens on, below those that clients are given."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        first = int(file.read().split()[0])
    for port in range(first - 1 - os.getpid() % 5_000, 1_024, -1):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            if port not in _given:
                _given.add(port)
                return port
    raise Failed("no port of loopback is free")


_given: set[int] = set()


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
