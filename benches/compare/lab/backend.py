"""The app behind all contenders, on the load's core: our own, as an app that takes its time would set the pace."""

from __future__ import annotations

from pathlib import Path

from .process import Process, free_port, listens

FILES = {"1m": 1 << 20, "100m": 100 << 20}


class Backend(Process):
    """Answers `/tiny`, `/1k`, `/1m`, `/100m`, and `/upload` once all of a body is there."""

    def __init__(self, tool: Path, home: Path, core: int):
        files = home / "files"
        files.mkdir(parents=True)
        for name, size in FILES.items():
            with (files / name).open("wb") as file:
                # A hole costs no memory until it is read, and reads as any file does.
                file.truncate(size)
        self.port = free_port()
        command = [str(tool), "backend", "--address", f"127.0.0.1:{self.port}", "--files", str(files)]
        super().__init__(command, {core}, home / "log")
        self.wait_for(lambda: listens(self.port), "the backend")
