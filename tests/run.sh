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
"

missing=()
while read -r program package; do
    [ -z "$program" ] || command -v "$program" >/dev/null || missing+=("$package")
done <<<"$needs"
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

exec cargo test --locked --no-fail-fast "$@" </dev/null
