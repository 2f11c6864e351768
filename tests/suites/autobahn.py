"""Autobahn|Testsuite's fuzzing client (`wstest`) against an echo server behind doorward, through TLS.

It is a Python 2 program. `tests/run.sh` installs it into target/autobahn where there is a Python 2.7; where there is
none this is said, and nothing is tested. DOORWARD_SUITES_FULL=1 adds large messages and compression (270 more cases).
"""

import asyncio
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading

import websockets.asyncio.server

from harness import Door, Tally

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PACKAGES = os.path.join(ROOT, "target", "autobahn")
# It asks for this name; its client sends no SNI, so the listener has a default.
NAME = "localhost"
# The echo server's own answer (1002 for a close within a fragmented message), also without doorward between.
ECHO_SERVERS_OWN = {"7.1.5"}
GOOD = ("OK", "NON-STRICT", "INFORMATIONAL")


def echo_server():
    """The port of a server that sends every message back. It runs until the program ends."""
    ports, known = [], threading.Event()

    async def echo(socket):
        async for message in socket:
            await socket.send(message)

    # Broken clients are what this is about.
    logging.getLogger("websockets").setLevel(logging.CRITICAL)

    async def run():
        async with websockets.asyncio.server.serve(echo, "127.0.0.1", 0, max_size=None, ping_interval=None) as server:
            ports.append(server.sockets[0].getsockname()[1])
            known.set()
            await server.serve_forever()

    threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()
    known.wait(10)
    return ports[0]


def wstest(python, url, folder):
    """What `wstest` says of each case: {case: {"behavior": …, "behaviorClose": …}}."""
    left_out = [] if os.environ.get("DOORWARD_SUITES_FULL") else ["9.*", "12.*", "13.*"]
    spec = os.path.join(folder, "spec.json")
    with open(spec, "w", encoding="ascii") as file:
        json.dump({"outdir": os.path.join(folder, "out"), "cases": ["*"], "exclude-cases": left_out,
                   "exclude-agent-cases": {}, "servers": [{"agent": "doorward", "url": url}]}, file)
    begin = f"import site, sys; site.addsitedir({PACKAGES!r}); from autobahntestsuite.wstest import run; sys.exit(run())"
    with open(os.path.join(folder, "log"), "w", encoding="utf-8") as log:
        subprocess.run([python, "-c", begin, "-m", "fuzzingclient", "-s", spec], check=False,
                       stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=1800)
    with open(os.path.join(folder, "out", "index.json"), encoding="utf-8") as file:
        return json.load(file)["doorward"]


if __name__ == "__main__":
    tally = Tally()
    try:
        with open(os.path.join(PACKAGES, "python"), encoding="utf-8") as file:
            python = file.read().strip()
    except FileNotFoundError:
        print("autobahn.py: there is no Python 2.7 here: NOT TESTED", flush=True)
        sys.exit(0)
    with Door([(NAME, echo_server(), "")], https_keys=f'default_certificate = "{NAME}"', access="false") as door, \
            tempfile.TemporaryDirectory() as folder:
        cases = wstest(python, f"wss://{NAME}:{door.https[1]}", folder)
        for case, result in sorted(cases.items()):
            good = result["behavior"] in GOOD and result["behaviorClose"] in GOOD
            tally.check(good or case in ECHO_SERVERS_OWN, f"Autobahn {case}", result)
        tally.check(len(cases) > 240, "Autobahn ran", len(cases))
        tally.check(not door.said("panicked"), "nothing panicked")
    tally.end()
