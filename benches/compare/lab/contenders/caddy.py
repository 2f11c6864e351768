"""Caddy."""

from __future__ import annotations

import json
import subprocess

from ..process import Failed, Process
from .base import KEEP_ALIVE_SECONDS, BACKEND_CONNECTIONS, Contender, Place


class Caddy(Contender):
    def version(self) -> str:
        return f"Caddy {self.say('version').split()[0]}"

    def environment(self, place: Place) -> dict[str, str]:
        # As many cores as the others have workers.
        return {"GOMAXPROCS": str(place.workers), "HOME": str(place.home), "XDG_DATA_HOME": str(place.home / "data")}

    def prepare(self, place: Place) -> list[str]:
        idle = f"{KEEP_ALIVE_SECONDS}s"
        keep_alive = {
            "enabled": True,
            "max_idle_conns": BACKEND_CONNECTIONS,
            "max_idle_conns_per_host": BACKEND_CONNECTIONS,
            "idle_timeout": idle,
        }
        forward = {
            "handler": "reverse_proxy",
            "upstreams": [{"dial": f"127.0.0.1:{place.backend}"}],
            "transport": {"protocol": "http", "keep_alive": keep_alive, "compression": False},
            "headers": {
                "request": {
                    "set": {
                        "X-Real-IP": ["{http.request.remote.host}"],
                        "X-Forwarded-Port": ["{http.request.port}"],
                    }
                }
            },
        }
        policy = {
            "protocol_min": "tls1.2",
            "protocol_max": "tls1.3",
            "curves": ["x25519"],
            "cipher_suites": ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
            "alpn": ["h2", "http/1.1"],
        }
        server = {
            "listen": [f"127.0.0.1:{place.port}"],
            "protocols": ["h1", "h2"],
            "automatic_https": {"disable": True},
            "idle_timeout": f"{place.keep_alive}s",
            "tls_connection_policies": [policy],
            "routes": [{"handle": [forward]}],
        }
        config = {
            "admin": {"listen": self.admin(place)},
            "logging": {"logs": {"default": {"level": "ERROR"}}},
            "apps": {
                "http": {"servers": {"main": server}},
                "tls": {"certificates": {"load_folders": [str(place.certs / "bundles")]}},
            },
        }
        path = place.home / "caddy.json"
        path.write_text(json.dumps(config, indent=2))
        return [self.program, "run", "--config", str(path)]

    def admin(self, place: Place) -> str:
        return f"unix/{place.home}/admin.sock"

    def reload(self, process: Process, place: Place) -> None:
        command = [self.program, "reload", "--force", "--config", str(place.home / "caddy.json")]
        command += ["--address", self.admin(place)]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise Failed(f"caddy did not reload: {done.stderr.strip()[-300:]}")
