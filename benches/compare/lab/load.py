"""The load: h2load, wrk and our own tool, and what they say."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Sequence

from .contenders.base import CLIENT_GROUPS, GROUP, TLS12_CIPHERS, TLS13_CIPHERS
from .process import Failed
from .setup import LOCALHOST, find

PATIENCE = 300.0

OPENSSL = f"""\
openssl_conf = settings
[settings]
ssl_conf = ssl
[ssl]
system_default = tls
[tls]
MinProtocol = TLSv1.3
Ciphersuites = {TLS13_CIPHERS}
Groups = {GROUP}
"""


@dataclass(frozen=True)
class Work:
    """What a load got done."""

    done: int
    failed: int
    agreed: str = ""
    """TLS version, group and cipher, and the protocol within, where the load says."""
    errors: tuple[str, ...] = ()
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Load:
    """Runs loads on these cores."""

    tool: Path
    cores: frozenset[int]
    ca: Path

    def h2load(self, port: int, name: str, path: str, requests: int, connections: int, streams: int, h1: bool = False,
               upload: Path | None = None) -> Work:
        """So many requests over so many connections with so many streams each."""
        command = [find("h2load") or "h2load", f"--connect-to=127.0.0.1:{port}", f"--groups={CLIENT_GROUPS}"]
        command += [f"--ciphers={TLS12_CIPHERS}", f"--tls13-ciphers={TLS13_CIPHERS}", "-t1"]
        command += [f"-n{max(requests, connections)}", f"-c{connections}", f"-m{streams}"]
        command += ["--h1"] if h1 else []
        command += ["-d", str(upload)] if upload else []
        return parse_h2load(self.run([*command, f"https://{name}:{port}{path}"]))

    def wrk(self, port: int, path: str, seconds: float, connections: int) -> Work:
        """Requests over so many connections, as fast as they are answered; whole seconds, and one at least. wrk asks
        for the name that it connects to, and what TLS it offers is OpenSSL's setting."""
        settings = self.ca.parent / "openssl.cnf"
        settings.write_text(OPENSSL)
        command = [find("wrk") or "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
        environment = {"OPENSSL_CONF": str(settings)}
        return parse_wrk(self.run([*command, f"https://{LOCALHOST}:{port}{path}"], environment))

    def own(self, verb: str, port: int, name: str, *arguments: str, plain: bool = False) -> Work:
        """A verb of our own load tool."""
        return parse_own(self.run(self.command(verb, port, name, *arguments, plain=plain)))

    def start(self, verb: str, port: int, name: str, *arguments: str) -> subprocess.Popen[str]:
        """Starts a verb that goes on until its stdin ends."""
        command = self.command(verb, port, name, *arguments)
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=self.pin
        )

    def command(self, verb: str, port: int, name: str, *arguments: str, plain: bool = False) -> list[str]:
        trust = [] if plain else ["--ca", str(self.ca)]
        return [str(self.tool), verb, "--address", f"127.0.0.1:{port}", "--name", name, *trust, *arguments]

    def run(self, command: Sequence[str], environment: Mapping[str, str] = {}) -> str:
        try:
            done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE,
                                  env={**os.environ, **environment}, preexec_fn=self.pin)
        except subprocess.TimeoutExpired:
            raise Failed(f"{Path(command[0]).name} did not end in {PATIENCE:.0f} s") from None
        if done.returncode != 0:
            raise Failed(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout).strip()[-400:]}")
        return done.stdout

    def pin(self) -> None:
        os.sched_setaffinity(0, self.cores)


def parse_h2load(text: str) -> Work:
    """Reads h2load's summary."""
    requests = re.search(r"^requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded", text, re.M)
    statuses = re.search(r"^status codes: (\d+) 2xx", text, re.M)
    if requests is None or statuses is None:
        raise Failed(f"h2load says nothing of its requests: {text.strip()[-400:]}")
    total, succeeded, right = int(requests[1]), int(requests[2]), int(statuses[1])
    keys = ("TLS Protocol", "Server Temp Key", "Cipher", "Application protocol")
    said = [re.search(rf"^{key}: (\S+)", text, re.M) for key in keys]
    done = min(succeeded, right)
    return Work(done, total - done, " ".join(match[1] for match in said if match))


def parse_wrk(text: str) -> Work:
    """Reads wrk's summary; it names failures only where there were some."""
    requests = re.search(r"^ +(\d+) requests in ", text, re.M)
    if requests is None:
        raise Failed(f"wrk says nothing of its requests: {text.strip()[-400:]}")
    total = int(requests[1])
    wrong = re.search(r"^ +Non-2xx or 3xx responses: (\d+)", text, re.M)
    broken = re.search(r"^ +Socket errors: (.*)", text, re.M)
    failed = int(wrong[1]) if wrong else 0
    errors = [wrong[0].strip()] if wrong else []
    if broken:
        errors.append(broken[0].strip())
    lost = sum(int(count) for count in re.findall(r"\d+", broken[1])) if broken else 0
    return Work(total - failed, failed + lost, errors=tuple(errors))


def parse_own(text: str) -> Work:
    """Reads the last line of our own tool."""
    said: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    numbers = {key: float(value) for key, value in said.items() if isinstance(value, (int, float))}
    agreed = " / ".join(said.get("agreed", []))
    return Work(int(said["done"]), int(said["failed"]), agreed, tuple(said.get("errors", [])), numbers)
