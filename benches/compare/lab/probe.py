"""One TLS handshake at a time, to see what a contender serves."""

from __future__ import annotations

import socket
import ssl
import time

_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_CONTEXT.check_hostname = False
_CONTEXT.verify_mode = ssl.CERT_NONE


def served(port: int, name: str, patience: float = 180.0) -> bytes | None:
    """The certificate (DER) that a handshake for this name gets; `None` where it fails."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=patience) as plain:
            with _CONTEXT.wrap_socket(plain, server_hostname=name) as tls:
                return tls.getpeercert(binary_form=True)
    except OSError:
        return None


def wait_until_served(port: int, name: str, certificate: bytes | None = None, patience: float = 180.0) -> float | None:
    """Waits until a handshake gets this certificate, or any; seconds since the call. `None`: it was too long.

    It looks less and less often, so that the looking is no part of what is measured."""
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < patience:
        found = served(port, name)
        if found is not None and certificate in (None, found):
            return time.monotonic() - began
        time.sleep(max(0.002, elapsed / 50))
    return None
