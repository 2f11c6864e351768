"""A network of the comparison's own: loopback, and nothing that the machine's settings make of it."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

# From <linux/sched.h>, <linux/sockios.h> and <linux/if.h>.
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1

CONGESTION_CONTROL = Path("/proc/sys/net/ipv4/tcp_congestion_control")
WINDOW_ALONE = "reno"
"""Every kernel has it, and without loss it does as cubic does. BBR, which some machines have as their default, paces by
what it takes for the path's delay: over loopback that is noise, which stays with a kept connection."""


def enter() -> str:
    """Moves this process and all that it starts into a network namespace, where it may have one; says what network it
    has."""
    whose = "the machine's"
    if is_allowed():
        join()
        whose = "a namespace of its own"
    return f"{whose}, {CONGESTION_CONTROL.read_text().strip()}"


def is_allowed() -> bool:
    """Tried by a child: from halfway into a namespace there is no way back."""
    if child := os.fork():
        return os.waitpid(child, 0)[1] == 0
    try:
        join()
    except OSError:
        os._exit(1)
    os._exit(0)


def join() -> None:
    """The namespace, with loopback up and the congestion control set where /proc can be written to."""
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        unshare(CLONE_NEWNET)
    else:
        # Others than root may have a network in a user namespace; with the same user in it.
        unshare(CLONE_NEWUSER | CLONE_NEWNET)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        # As `ip link set lo up`.
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))
    with contextlib.suppress(OSError):
        CONGESTION_CONTROL.write_text(WINDOW_ALONE)


def unshare(flags: int) -> None:
    """unshare(2), which Python has from 3.12 on."""
    if ctypes.CDLL(None, use_errno=True).unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
