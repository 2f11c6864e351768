"""A machine that misbehaves: no space left on the disk, locks that somebody holds, a clock that jumps, folders that are
swapped for links. What is served goes on, the fault is told, and all is well once it has gone.

Disks that are full are made with tmpfs, which takes root; the clock jumps with libfaketime. Where one of them is missing
it says so and goes on.
"""

import contextlib
import fcntl
import glob
import os
import shutil
import subprocess
import threading
import time

from files import OTHER, SEEN, Home, get
from harness import HOST, Origin, at_once, certificate, wait

NEW = "new.example.test"
DAY = 86_400


@contextlib.contextmanager
def small_disk(path, size):
    """A file system of its own at this folder; whether there is one."""
    os.makedirs(path, exist_ok=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True, check=False).returncode == 0
    if not made:
        print("  no tmpfs can be mounted here: full disks are skipped", flush=True)
    try:
        yield made
    finally:
        if made:
            subprocess.run(["umount", "-l", path], check=False)


def fill(path):
    """Takes all the space that is left."""
    with contextlib.suppress(OSError), open(os.path.join(path, "filler"), "wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass


def free(path):
    os.remove(os.path.join(path, "filler"))


def imported(home):
    """Imports a certificate by a command: its exit code and what it said."""
    if not os.path.exists(home.at("import", NEW)):
        certificate(home.at("import", NEW), [NEW])
    return home.run("certs", "import", home.at("import", NEW), "--socket", home.at("admin.sock"))


def full_storage(tally):
    origin = Origin()
    with Home(origin.port) as home, small_disk(home.at("state"), "192k") as made:
        if not made:
            return
        tally.check(home.start(), "a full disk: it starts", home.lines[-2:])
        state = home.at("state")
        fill(state)
        code, said = imported(home)
        tally.check(code == 1 and state in said and "space" in said, "a full disk: an import tells", f"{code} {said}")
        tally.check(get(home).startswith(b"HTTP/1.1 200"), "a full disk: requests are answered")
        tally.check(not glob.glob(f"{state}/**/.tmp-*", recursive=True, include_hidden=True), "a full disk: no half a file stays")
        tally.check(home.served(NEW) is None, "a full disk: what could not be kept is not served")
        free(state)
        code, said = imported(home)
        tally.check(code == 0 and wait(lambda: home.served(NEW), SEEN), "a full disk: with space again the import works", f"{code} {said}")
        kept = home.served(NEW)
        fill(state)
        code, said = home.run("certs", "delete", NEW, "--socket", home.at("admin.sock"))
        tally.check(code == 0 or "space" in said, "a full disk: a deletion works, or tells", f"{code} {said}")
        home.end_process()
        tally.check(home.start() and home.served(), "a full disk: it starts on it, too", home.lines[-2:])
        tally.check(code == 0 or home.served(NEW) == kept, "a full disk: what was kept is served", home.lines[-2:])
        tally.check(not home.said("panicked"), "a full disk: no panic")


def full_certificates(tally):
    with Home() as home, small_disk(home.at("certs"), "192k") as made:
        if not made:
            return
        for host in (HOST, OTHER):
            certificate(home.at("certs", host), [host])
        tally.check(home.start(), "full certificates: it starts", home.lines[-2:])
        before = home.served()
        certificate(home.at("new", HOST), [HOST])
        for name in ("ssl.key", "ssl.crt"):
            # As `cp` does: emptied first, and then there is no space.
            with open(home.at("certs", HOST, name), "wb", buffering=0) as file:
                fill(home.at("certs"))
                with contextlib.suppress(OSError):
                    file.write(b"x" * 8192)
        time.sleep(1)
        tally.check(home.served() == before, "full certificates: the old one is served", home.lines[-2:])
        free(home.at("certs"))
        for name in ("ssl.key", "ssl.crt"):
            shutil.copy(home.at("new", HOST, name), home.at("certs", HOST, name))
        tally.check(wait(lambda: home.served() not in (None, before), SEEN), "full certificates: with space again the new one is", home.lines[-2:])


def held_locks(tally):
    """As by a process that stands still."""
    origin = Origin()
    with Home(origin.port) as home:
        backend = f'backend = "127.0.0.1:{origin.port}"'
        sticky = f'[route.backend]\nendpoints = ["127.0.0.1:{origin.port}"]\n[route.backend.sticky]\ncookie = "s"'
        home.write("doorward.toml", home.text().replace(backend, sticky, 1))
        with open(home.write("state/locks/sticky", ""), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            tally.check(home.start() and get(home).startswith(b"HTTP/1.1 200"), "a held lock: it starts and serves", home.lines[-2:])
            tally.check(home.said("sticky", "held"), "a held lock: it is told", home.lines)
    with Home(origin.port) as home:
        tally.check(home.start() and imported(home)[0] == 0, "held locks: it starts", home.lines[-2:])
        with contextlib.ExitStack() as stack:
            for path in glob.glob(home.at("state/locks/*")):
                fcntl.flock(stack.enter_context(open(path, "w", encoding="ascii")), fcntl.LOCK_EX)
            done = []
            threading.Thread(target=lambda: done.append(imported(home)), daemon=True).start()
            time.sleep(1)
            tally.check(get(home).startswith(b"HTTP/1.1 200"), "held locks: requests are answered")
        tally.check(wait(lambda: done and done[0] is not None, SEEN), "held locks: once they are free the import ends", done)
        tally.check(home.served(NEW), "held locks: and it is served")


def jumping_clock(tally):
    if not (library := glob.glob("/usr/lib/*/faketime/libfaketime.so.1")):
        print("  libfaketime is not installed: clocks that jump are skipped", flush=True)
        return
    origin = Origin()
    with Home(origin.port) as home:
        times = '[timeouts]\nrequest_header = "2s"\n'
        home.write("doorward.toml", home.text().replace("[log]", times + "[log]"))
        offset = home.write("offset", "+0")

        def jump(days):
            # In one step: it reads the file at each call.
            with open(home.at("offset.new"), "w", encoding="ascii") as file:
                file.write(f"{days * DAY:+d}")
            os.rename(home.at("offset.new"), offset)

        variables = [f"LD_PRELOAD={library[0]}", f"FAKETIME_TIMESTAMP_FILE={offset}", "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1"]
        for start in (0, -400, 4000):
            jump(start)
            tally.check(home.start(before=["env", *variables]), f"a clock {start} days off: it starts", home.lines[-2:])
            before = home.served()
            tally.check(before and get(home).startswith(b"HTTP/1.1 200"), f"a clock {start} days off: requests are answered", home.lines[-2:])
            for days in (400, -400, -20000, 0, 40000, 0):
                jump(days)
                tally.check(get(home).startswith(b"HTTP/1.1 200"), f"a clock from {start} to {days} days: requests are answered", home.lines[-2:])
            begun = time.monotonic()
            tally.check(b" 408 " in get(home, more="X-A: 1"), f"a clock that jumped: a slow head is a 408", home.lines[-2:])
            took = time.monotonic() - begun
            tally.check(1 < took < 20, "a clock that jumped: deadlines hold", f"{took:.1f} s")
            certificate(home.at("certs", HOST), [HOST])
            tally.check(wait(lambda: home.served() not in (None, before), SEEN), "a clock that jumped: a new certificate is taken", home.lines[-2:])
            tally.check(not home.said("panicked") and home.process.poll() is None, "a clock that jumped: it lives", home.lines[-2:])
            home.end_process()


def links(tally):
    """Folders that are swapped for links to others, as some tools deploy."""
    with Home() as home:
        tally.check(home.start(), "links: it starts", home.lines[-2:])
        before = home.served()
        shutil.copytree(home.at("certs"), home.at("next"))
        certificate(home.at("next", HOST), [HOST])
        os.rename(home.at("certs"), home.at("last"))
        os.symlink("next", home.at("certs"))
        tally.check(wait(lambda: home.served() not in (None, before), SEEN), "links: the certificates behind the link are taken", home.lines[-2:])
        before = home.served()
        certificate(home.at("next", HOST), [HOST])
        tally.check(wait(lambda: home.served() not in (None, before), SEEN), "links: a change behind the link is seen", home.lines[-2:])
        shutil.copytree(home.at("next"), home.at("newest"))
        certificate(home.at("newest", HOST), [HOST])
        before = home.served()
        os.symlink("newest", home.at("swap"))
        os.rename(home.at("swap"), home.at("certs"))
        tally.check(wait(lambda: home.served() not in (None, before), 2 * SEEN), "links: a link that is swapped is followed, in a minute at the latest", home.lines[-2:])
    origin = Origin()
    with Home(origin.port) as home:
        route = f'[[route]]\nhosts = ["{NEW}"]\nbackend = "127.0.0.1:{origin.port}"\n'
        home.write("etc/doorward.toml", 'include = ["routes.d/*.toml"]\n' + home.text())
        home.write("etc/routes.d/none.toml", "")
        home.config = home.at("etc/doorward.toml")
        tally.check(home.start(), "links: it starts with a folder", home.lines[-2:])
        shutil.copytree(home.at("etc"), home.at("etc.new"))
        home.write("etc.new/routes.d/new.toml", route)
        certificate(home.at("certs", NEW), [NEW])
        os.rename(home.at("etc"), home.at("etc.old"))
        os.symlink("etc.new", home.at("etc"))
        code, said = home.run("reload", "--socket", home.at("admin.sock"))
        tally.check(code == 0 and wait(lambda: get(home, NEW).startswith(b"HTTP/1.1 200"), SEEN), "links: a config's folder that became a link is read", f"{code} {said}")


if __name__ == "__main__":
    at_once(full_storage, full_certificates, held_locks, jumping_clock, links)
