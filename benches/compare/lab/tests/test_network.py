"""The network, entered by a process of its own: there is no way back."""

from __future__ import annotations

import subprocess
import sys
import unittest
from pathlib import Path

ENTERS = """
import socket
from lab.network import enter
print(enter())
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname(), timeout=5).close()
print("connected")
"""


class Network(unittest.TestCase):
    def test_loopback_is_up_and_what_it_is_is_said(self) -> None:
        home = Path(__file__).resolve().parents[2]
        done = subprocess.run([sys.executable, "-c", ENTERS], cwd=home, capture_output=True, text=True, timeout=30)
        said = done.stdout.splitlines()
        self.assertEqual((done.returncode, said[1:]), (0, ["connected"]), done.stderr)
        self.assertRegex(said[0], r"^(a namespace of its own|the machine's), \w+$")
