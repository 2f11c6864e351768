"""doorward."""

from __future__ import annotations

import signal

from ..process import Process
from .base import KEEP_ALIVE_SECONDS, BACKEND_CONNECTIONS, Contender, Place


class Doorward(Contender):
    """With everything on that production has, but for the access log where the peers have none."""

    def __init__(self, name: str, program: str, access_log: bool = False):
        super().__init__(name, program)
        self.access_log = "true" if access_log else "false"

    def version(self) -> str:
        return self.say("--version")

    def prepare(self, place: Place) -> list[str]:
        config = place.home / "doorward.toml"
        # All limits and deadlines are as they come; metrics are on.
        config.write_text(
            f"""\
workers = {place.workers}

[[listener]]
address = "127.0.0.1:{place.port}"

[[route]]
hosts = ["*"]
backend = "127.0.0.1:{place.backend}"

[certificates]
directories = ["{place.certs}/folders"]

[storage]
path = "{place.home}/state"

[admin]
socket = "{place.home}/admin.sock"

[metrics]
address = "127.0.0.1:0"

[timeouts]
keep_alive = "{place.keep_alive}s"
backend_keep_alive = "{KEEP_ALIVE_SECONDS}s"

[limits]
backend_idle_connections = {BACKEND_CONNECTIONS}

[log]
level = "info"
access = {self.access_log}
"""
        )
        return [self.program, "run", "--config", str(config)]

    def reload(self, process: Process, place: Place) -> None:
        process.signal(signal.SIGHUP)

    def take_certificate(self, process: Process, place: Place, name: str) -> None:
        """It watches the folders."""
