#!/usr/bin/env bash
# The test command: installs what the tests need where it is missing, then runs every test.
# Arguments go to `cargo test`: `tests/run.sh --test it sni`.
set -euo pipefail
cd "$(dirname "$0")/.."

# program → Debian package
needs="
cc        gcc
curl      curl
openssl   openssl
pebble    pebble
certbot   certbot
caddy     caddy
lego      lego
h2load    nghttp2-client
wrk       wrk
nginx     nginx-light
redis-server redis-server
redis-cli redis-tools
psql      postgresql-client
testssl   testssl.sh
slowhttptest slowhttptest
hexdump   bsdextrautils
ss        iproute2
setpriv   util-linux
faketime  faketime
zsh       zsh
fish      fish
"

missing=()
while read -r program package; do
    [ -z "$program" ] || command -v "$program" >/dev/null || missing+=("$package")
done <<<"$needs"
# Debian keeps it where users do not look.
command -v named >/dev/null || [ -x /usr/sbin/named ] || missing+=(bind9)
command -v pdns_server >/dev/null || [ -x /usr/sbin/pdns_server ] || missing+=(pdns-server)
[ -e /usr/share/pdns-backend-sqlite3/schema ] || missing+=(pdns-backend-sqlite3)
command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ] || missing+=(haproxy)
compgen -G "/usr/lib/postgresql/*/bin/postgres" >/dev/null || missing+=(postgresql)
python3 -c "import ensurepip, venv" 2>/dev/null || missing+=(python3 python3-venv)
[ -e /usr/include/stdio.h ] || missing+=(libc6-dev)
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)

if [ ${#missing[@]} -gt 0 ]; then
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
            echo "the tests need packages that are not installed; as root, run:" >&2
            echo "    apt-get install --no-install-recommends ${missing[*]}" >&2
            exit 2
        fi
        as_root=(sudo -n)
    fi
    if ! command -v apt-get >/dev/null; then
        echo "the tests need programs that are not installed, in Debian's packages: ${missing[*]}" >&2
        exit 2
    fi
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get update -q </dev/null
    "${as_root[@]}" apt-get install -qy --no-install-recommends "${missing[@]}" </dev/null
fi

if ! command -v cargo >/dev/null; then
    echo "cargo is not installed; get Rust from https://rustup.rs" >&2
    exit 2
fi

# Route 53 and STS to test against, and botocore to compare signatures with.
if [ ! -x target/moto/bin/moto_server ]; then
    python3 -m venv target/moto
    target/moto/bin/pip install --quiet --disable-pip-version-check "moto[server]>=5.2,<6" </dev/null
fi

# The clients and scanners of tests/suites.
if [ ! -x target/suites/bin/sslyze ]; then
    python3 -m venv target/suites
    target/suites/bin/pip install --quiet --disable-pip-version-check -r tests/suites/requirements.txt </dev/null
fi

# Autobahn|Testsuite is a Python 2 program, which Debian no longer has: where there is one all the same, it is used.
if [ ! -e target/autobahn/python ]; then
    for python in python2.7 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7.*/bin/python2.7; do
        "$python" -m pip --version >/dev/null 2>&1 || continue
        "$python" -m pip install --quiet --disable-pip-version-check --target target/autobahn autobahntestsuite==25.10.1 </dev/null 2>&1 |
            grep -v DEPRECATION || true
        echo "$python" >target/autobahn/python
        break
    done
fi

# The benchmark's harness.
python3 -B -m unittest discover -q -s benches/compare/lab/tests -t benches/compare

if [ $# -gt 0 ]; then
    exec cargo test --locked --no-fail-fast "$@" </dev/null
fi
cargo test --locked --no-fail-fast </dev/null
# That the comparison with other proxies still runs; it measures nothing here.
benches/compare/run --smoke
