"""HAProxy."""

from __future__ import annotations

import signal
import socket

from ..process import Failed, Process
from .base import GROUP, KEEP_ALIVE_SECONDS, BACKEND_CONNECTIONS, TLS12_CIPHERS, TLS13_CIPHERS, Contender, Place


class Haproxy(Contender):
    def version(self) -> str:
        return " ".join(self.say("-v").split()[:3])

    def prepare(self, place: Place) -> list[str]:
        config = place.home / "haproxy.cfg"
        config.write_text(
            f"""\
global
    nbthread {place.workers}
    maxconn {place.connections}
    no strict-limits
    stats socket {place.home}/admin.sock mode 600 level admin
    ssl-default-bind-options ssl-min-ver TLSv1.2
    ssl-default-bind-ciphers {TLS12_CIPHERS}
    ssl-default-bind-ciphersuites {TLS13_CIPHERS}
    ssl-default-bind-curves {GROUP}

defaults
    mode http
    timeout connect 5s
    timeout client {KEEP_ALIVE_SECONDS}s
    timeout server {KEEP_ALIVE_SECONDS}s
    timeout http-keep-alive {place.keep_alive}s
    timeout http-request 10s

frontend tls
    bind 127.0.0.1:{place.port} ssl crt {place.certs}/bundles/ alpn h2,http/1.1
    http-request set-header X-Real-IP %[src]
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto https
    http-request set-header X-Forwarded-Port %[dst_port]
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    default_backend app

backend app
    http-reuse always
    server app 127.0.0.1:{place.backend} pool-max-conn {BACKEND_CONNECTIONS} pool-purge-delay {KEEP_ALIVE_SECONDS}s
"""
        )
        return [self.program, "-W", "-db", "-f", str(config)]

    def reload(self, process: Process, place: Place) -> None:
        process.signal(signal.SIGUSR2)

    def take_certificate(self, process: Process, place: Place, name: str) -> None:
        """By its runtime API, which needs no reload."""
        bundle = place.certs / "bundles" / f"{name}.pem"
        # It knows the certificate by the path that it read it from, and takes an empty line as the end.
        known = f"{place.certs}/bundles/{name}.pem"
        self.ask(place, f"set ssl cert {known} <<\n{bundle.read_text().strip()}\n\n")
        answer = self.ask(place, f"commit ssl cert {known}\n")
        if "Success" not in answer:
            raise Failed(f"haproxy did not take a certificate: {answer}")

    def ask(self, place: Place, command: str) -> str:
        """A command to the runtime API, and its answer."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(60)
            admin.connect(str(place.home / "admin.sock"))
            admin.sendall(command.encode())
            parts = []
            while part := admin.recv(65_536):
                parts.append(part)
            return b"".join(parts).decode(errors="replace")
