"""A network of the comparison's own: loopback, and nothing that the machine's settings make of it."""

from __future__ import annotations

import ctypes
import errno
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
    """Moves this process and all that it starts into a network namespace; says what network it has."""
    if unshare(CLONE_NEWNET) or (os.geteuid() != 0 and as_oneself()):
        loopback_up()
        CONGESTION_CONTROL.write_text(WINDOW_ALONE)
        return f"a namespace of its own, {WINDOW_ALONE}"
    return f"the machine's, {CONGESTION_CONTROL.read_text().strip()}: it lets nobody have one of his own"


def as_oneself() -> bool:
    """Into a user namespace as well, where whoever is not root may have a network; with the same user in it."""
    user, group = os.geteuid(), os.getegid()
    if not unshare(CLONE_NEWUSER | CLONE_NEWNET):
        return False
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return True


def unshare(flags: int) -> bool:
    """unshare(2), which Python has from 3.12 on."""
    if ctypes.CDLL(None, use_errno=True).unshare(flags) == 0:
        return True
    if (error := ctypes.get_errno()) not in (errno.EPERM, errno.EINVAL, errno.ENOSPC, errno.ENOSYS):
        raise OSError(error, os.strerror(error))
    return False


def loopback_up() -> None:
    """As `ip link set lo up`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))
