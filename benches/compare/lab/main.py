"""The command: set up, check, measure in turns, print."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from . import plot, report
from .cases import CASES, chosen
from .contenders import PEERS, Contender, Doorward
from .fairness import check
from .lab import Lab
from .load import Load
from .measure import Sample
from .network import enter
from .process import Failed
from .report import Results
from .setup import ROOT, SetupError, build, certificates, find, install, raise_limits, say

SMOKE = ["h1-1k", "wrk", "h2load-h1-1k", "h1-download-1m", "h2-upload"]
"""Each load, and each kind of answer."""


def main() -> int:
    options = arguments()
    try:
        cases = chosen(options.cases)
        cores = two_cores(options.cores)
        install(["h2load", "wrk", "openssl", *options.against])
        named = [binary(text, n) for n, text in enumerate(options.doorward)]
        tools = build(options.profile, named[0][1] if named else None)
        doorwards = [Doorward(name, str(path)) for name, path in named] or [Doorward("doorward", str(tools.doorward))]
        if options.access_log:
            doorwards.append(Doorward(f"{doorwards[0].name}+log", doorwards[0].program, access_log=True))
        peers = [PEERS[peer](peer, find(peer) or peer) for peer in options.against]
        network = enter()
        with ExitStack() as stack:
            # A folder of its own on the fastest file system there is.
            shared = Path("/dev/shm")
            place = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="compare-", dir=shared if os.access(shared, os.W_OK) else None)
            )
            home = Path(place)
            home.chmod(0o755)
            certificates(tools.load, home)
            # Each connection takes a proxy two descriptors.
            most = raise_limits() // 2 - 500
            if options.idle > most and any(case.id.startswith("idle") for case in cases):
                say(f"{options.idle} idle connections are more than the open files limit allows: {most}")
                options.idle = most
            os.sched_setaffinity(0, {cores[1]})
            load = Load(tools.load, frozenset({cores[1]}), home / "ca" / "root.pem")
            lab = Lab(home, *cores, load, options.seconds, [*doorwards, *peers], stack, options.idle)
            results = Results(about(lab, network), [contender.name for contender in lab.contenders], cases)
            results.about["tls"] = check(lab)
            measure(lab, results, options.rounds)
    except (SetupError, Failed, ValueError) as error:
        say(str(error))
        return 2
    print(report.whole(results))
    if options.json:
        report.save(results, options.json)
    if options.plot:
        plot.save(results, options.plot)
    return 1 if results.failures or any(s.failed for s in samples(results)) else 0


def measure(lab: Lab, results: Results, rounds: int) -> None:
    """Round by round, case by case, contender by contender, so that what the machine does meets all alike."""
    for n in range(rounds):
        for case in results.cases:
            if n >= case.most_rounds:
                continue
            say(f"round {n + 1} of {min(rounds, case.most_rounds)}: {case.id}")
            # Each is first in its turn.
            turn = lab.contenders[n % len(lab.contenders):] + lab.contenders[: n % len(lab.contenders)]
            for contender in turn:
                sample = None
                try:
                    sample = case.measure(lab, contender)
                except Failed as error:
                    results.failures.append(f"{case.id}: {contender.name}: {error}")
                    say(results.failures[-1])
                results.add(case, contender.name, sample)


def samples(results: Results) -> list[Sample]:
    return [s for by in results.samples.values() for rounds in by.values() for s in rounds if s]


def about(lab: Lab, network: str) -> dict[str, object]:
    """What a reader has to know to repeat it."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in cpuinfo.splitlines() if "model name" in line), "?")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join(["benches/compare/run", *sys.argv[1:]]),
        "commit": commit.stdout.strip() or "?",
        "machine": f"{os.cpu_count()} cores of {model}; Linux {platform.release()}",
        "network": network,
        "versions": "; ".join(f"{contender.name}: {contender.version()}" for contender in lab.contenders),
    }


def binary(text: str, n: int) -> tuple[str, Path]:
    """`PATH` or `NAME=PATH`."""
    name, equals, path = text.rpartition("=")
    found = Path(path).resolve()
    if not os.access(found, os.X_OK):
        raise SetupError(f"{path} is no program")
    return (name if equals else "doorward" if n == 0 else f"doorward-{n + 1}"), found


def two_cores(text: str | None) -> tuple[int, int]:
    """The proxy's core and the load's."""
    there = sorted(os.sched_getaffinity(0))
    asked = [int(part) for part in text.split(",")] if text else there[:2]
    if len(asked) != 2 or asked[0] == asked[1] or not set(asked) <= set(there):
        raise SetupError(f"two different cores of {there} are needed: one for the proxy, one for load and backend")
    return asked[0], asked[1]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benches/compare/run",
        description="Compares doorward with nginx, HAProxy and Caddy: CPU time, memory and latency, side by side.",
        epilog=f"cases: {', '.join(CASES)}. benches/README.md says what each one means.",
    )
    add = parser.add_argument
    add("--cases", type=lambda text: text.split(","), default=[], metavar="A,B",
        help="cases, or how their names begin (default: all)")
    add("--rounds", type=int, default=5, help="rounds (default: 5)")
    add("--seconds", type=float, default=3.0, help="about how long each measurement takes (default: 3)")
    add("--doorward", action="append", default=[], metavar="[NAME=]PATH",
        help="a build to measure, in place of the one that is made; more than once: each is a contender")
    add("--against", type=lambda text: [peer for peer in text.split(",") if peer], default=list(PEERS),
        metavar="A,B", help="whom to compare with (default: nginx,haproxy,caddy)")
    add("--profile", default="dist", help="Cargo's profile to build doorward with (default: dist)")
    add("--cores", metavar="A,B", help="the proxy's core, and the core of load and backend (default: the first two)")
    add("--access-log", action="store_true", help="measure the first doorward with its access log on as well")
    add("--idle", type=int, default=10_000, help="idle connections to hold (default: 10000)")
    add("--json", type=Path, metavar="FILE", help="write everything to a file")
    add("--plot", type=Path, metavar="FILE.svg", help="draw the ratios")
    add("--smoke", action="store_true", help="see that it works: one short round of some cases, beside nginx, debug build")
    options = parser.parse_args()
    if options.smoke:
        options.cases, options.rounds, options.seconds = SMOKE, 1, 0.2
        options.against, options.profile = ["nginx"], "dev"
    unknown = set(options.against) - PEERS.keys()
    if unknown:
        parser.error(f"--against knows {', '.join(PEERS)}, not {', '.join(unknown)}")
    return options
