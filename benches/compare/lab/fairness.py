"""Whether all contenders do the same work: TLS as openssl sees it, whatever their configs say."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from .contenders.base import CLIENT_GROUPS, GROUP, TLS12_CIPHERS, TLS13_CIPHERS
from .lab import Lab
from .process import Failed
from .setup import ECDSA, LOCALHOST, RSA, find

CHECKS = [(name, version, alpn) for name in (ECDSA, RSA) for version in ("1.2", "1.3") for alpn in ("http/1.1", "h2")]
CHECKS += [(LOCALHOST, "1.3", "http/1.1")]


def check(lab: Lab) -> dict[str, str]:
    """Connects to each in every way that the cases do; what was agreed, by check. Fails where two differ."""
    found: dict[str, str] = {}
    for name, version, alpn in CHECKS:
        agreed = {
            contender.name: agreement(lab.get(contender).place.port, name, version, alpn, lab.load.ca)
            for contender in lab.contenders
        }
        if len(set(agreed.values())) != 1:
            differing = "; ".join(f"{who}: {what}" for who, what in agreed.items())
            raise Failed(f"the contenders do not agree on TLS {version} for {name} ({alpn}): {differing}")
        if GROUP not in agreed[lab.contenders[0].name].split():
            raise Failed(f"the contenders do not exchange keys by {GROUP}: {agreed}")
        found[f"{name} {version} {alpn}"] = next(iter(agreed.values()))
    return found


def agreement(port: int, name: str, version: str, alpn: str, ca: Path) -> str:
    """Version, group, cipher, the certificate's key and ALPN of one connection."""
    flag = "-tls" + version.replace(".", "_")
    command = [find("openssl") or "openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", name, flag]
    command += ["-groups", CLIENT_GROUPS, "-cipher", TLS12_CIPHERS, "-ciphersuites", TLS13_CIPHERS, "-alpn", alpn]
    command += ["-CAfile", str(ca), "-verify_return_error", "-verify_hostname", name]
    done = subprocess.run(command, input="", capture_output=True, text=True, errors="replace", timeout=30)
    if done.returncode != 0:
        raise Failed(f"openssl does not connect to {name} on port {port}: {done.stderr.strip()[-300:]}")
    return parse_s_client(done.stdout)


def parse_s_client(text: str) -> str:
    """The lines that say what was agreed, as one."""
    patterns = (
        r"^New, (TLSv[\d.]+), Cipher is (\S+)",
        r"^Server Temp Key: (\w+)",
        r"^Server public key is (\d+ bit)",
        r"^Peer signature type: (\S+)",
        r"^ALPN protocol: (\S+)",
    )
    said = [re.search(pattern, text, re.M) for pattern in patterns]
    if said[0] is None or said[1] is None:
        raise Failed("openssl did not say what was agreed")
    return " ".join(part for match in said if match for part in match.groups())
