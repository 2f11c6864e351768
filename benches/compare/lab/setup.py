"""What has to be there before anything is measured: programs, builds, certificates."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

PACKAGES = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "caddy": "caddy",
    "h2load": "nghttp2-client",
    "openssl": "openssl",
    "wrk": "wrk",
}

ECDSA, RSA = "ecdsa.bench.test", "rsa.bench.test"
LOCALHOST = "localhost"
"""For who cannot be told another address than the name's own."""


class SetupError(Exception):
    """Something is missing that this program can't get by itself."""


def find(program: str) -> str | None:
    """The program's path; Debian keeps daemons where users do not look."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def install(programs: list[str]) -> None:
    """Installs what is missing from Debian's packages."""
    missing = [PACKAGES[program] for program in programs if find(program) is None]
    if not missing:
        return
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    command = ["apt-get", "install", "-qy", "--no-install-recommends", *missing]
    if find("apt-get") is None or (as_root and find("sudo") is None):
        raise SetupError(f"these packages are missing; as root, run: {' '.join(command)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    say(f"installing {', '.join(missing)}")
    for step in (["apt-get", "update", "-q"], command):
        # Packages of daemons start them; a running nginx or Caddy would hold ports and take CPU time.
        done = subprocess.run([*as_root, *step], env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        if done.returncode != 0:
            raise SetupError(f"{' '.join([*as_root, *step])} failed; run it by hand, as root")


@dataclass(frozen=True)
class Tools:
    """The programs of ours."""

    doorward: Path
    load: Path


def build(profile: str, doorward: Path | None) -> Tools:
    """Builds doorward, and apart from it the load tool: what the tests' dependencies switch on is not measured."""
    ours, load = ["--bin", "doorward"], ["--bench", "load"]
    if profile == "dev":
        # Nothing is measured; and all of it is there already where the tests have run.
        built = cargo(profile, [*ours, *load])
        return Tools(doorward or built["doorward"], built["load"])
    return Tools(doorward or cargo(profile, ours)["doorward"], kept(load))


def kept(targets: list[str]) -> Path:
    """The load tool, built once for what it is made of: as a bench it depends on doorward's library, and would be built
    anew for each change there. It need not be of the profile that is measured."""
    made_of = [ROOT / "Cargo.lock", *sorted((ROOT / "benches/compare/load").glob("*.rs"))]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in made_of)).hexdigest()[:12]
    path = ROOT / "target" / "compare" / f"load-{digest}"
    if not path.exists():
        built = cargo("release", targets)["load"]
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(built, path)
    return path


def cargo(profile: str, targets: list[str]) -> dict[str, Path]:
    """Builds, and says where the programs are."""
    arguments = ["build", "--locked", "--profile", profile, *targets]
    say(f"cargo {' '.join(arguments)}")
    command = ["cargo", *arguments, "--message-format=json-render-diagnostics"]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SetupError("the build failed")
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    return {m["target"]["name"]: Path(m["executable"]) for m in messages if m.get("executable")}


def certificates(load: Path, home: Path) -> None:
    """Those that most cases use, in `home/certs`, and the CA in `home/ca`."""
    for kind, name in (("ecdsa", ECDSA), ("rsa", RSA), ("ecdsa", LOCALHOST)):
        make_certificates(load, home, home / "certs", ["--kind", kind, name])


def make_certificates(load: Path, home: Path, out: Path, arguments: list[str]) -> None:
    """Makes certificates by the CA in `home/ca`."""
    command = [str(load), "certificates", "--ca", str(home / "ca"), "--out", str(out), *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def raise_limits() -> int:
    """As many open files as may be, for this process and its children; says how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (65_536, hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
            return wanted
        except (ValueError, OSError):
            continue
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def say(line: str) -> None:
    """For whoever waits; results go to stdout."""
    print(f"compare: {line}", file=sys.stderr, flush=True)
