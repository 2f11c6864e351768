"""What the kernel says of processes and cores: CPU time, memory, how busy the machine is."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True)
class Stat:
    """Of /proc/PID/stat: the state, the parent, and seconds of CPU, user and system together."""

    state: str
    parent: int
    own: float
    ended_children: float


def parse_stat(text: str) -> Stat:
    """Reads one line; the program's name, in parentheses, may hold anything."""
    fields = text.rpartition(")")[2].split()
    user, system, children_user, children_system = (int(field) for field in fields[11:15])
    return Stat(fields[0], int(fields[1]), (user + system) * TICK, (children_user + children_system) * TICK)


def tree(root: int) -> dict[int, Stat]:
    """The process and all below it."""
    every: dict[int, Stat] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                every[int(entry.name)] = parse_stat((entry / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = {root} & every.keys()
    while True:
        more = {pid for pid, stat in every.items() if stat.parent in found} - found
        if not more:
            return {pid: every[pid] for pid in found}
        found |= more


@dataclass(frozen=True)
class CpuReading:
    """CPU time of a process tree at a moment."""

    ticks: float
    """By /proc/PID/stat, with what has ended: complete, but to 10 ms."""
    threads: dict[int, int]
    """Nanoseconds of each live thread, by schedstat."""

    def since(self, before: CpuReading) -> float:
        """Seconds since then: to the nanosecond where no thread has ended meanwhile."""
        if before.threads.keys() <= self.threads.keys():
            spent = sum(self.threads.values()) - sum(before.threads.values())
            return spent / 1e9
        return self.ticks - before.ticks


def cpu(root: int) -> CpuReading:
    """Reads the CPU time of a process and all below it."""
    ticks, threads = 0.0, {}
    for pid, stat in tree(root).items():
        ticks += stat.own + stat.ended_children
        for task in (PROC / str(pid) / "task").glob("*/schedstat"):
            try:
                threads[int(task.parent.name)] = int(task.read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                continue
    return CpuReading(ticks, threads)


def parse_smaps(text: str) -> tuple[int, int]:
    """Of smaps_rollup: resident and proportional set size, in bytes."""
    sizes = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key in ("Rss", "Pss"):
            sizes[key] = int(value.split()[0]) * 1024
    return sizes["Rss"], sizes["Pss"]


def memory(root: int) -> int:
    """Bytes of a process tree: what processes share is counted once (PSS); of a process alone all it has (RSS)."""
    pids = list(tree(root))
    sizes = [parse_smaps((PROC / str(pid) / "smaps_rollup").read_text()) for pid in pids]
    return sizes[0][0] if len(sizes) == 1 else sum(pss for _, pss in sizes)


def parse_busy(text: str) -> float:
    """Of /proc/stat: seconds that all cores were not idle, stolen ones (of a virtual machine) included."""
    fields = [int(field) for field in text.splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) * TICK


@dataclass(frozen=True)
class Machine:
    """All CPU time of the machine, and this program's and its children's, at a moment."""

    at: float
    busy: float
    ours: float

    @classmethod
    def now(cls) -> Machine:
        ours = sum(stat.own + stat.ended_children for stat in tree(os.getpid()).values())
        return cls(time.monotonic(), parse_busy((PROC / "stat").read_text()), ours)

    def others_since(self, before: Machine) -> float:
        """How much of one core others have used since then: 0.0 to the number of cores."""
        elapsed = max(self.at - before.at, TICK)
        return max(0.0, (self.busy - before.busy) - (self.ours - before.ours)) / elapsed
