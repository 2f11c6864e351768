#!/usr/bin/env bash
# Every target for so many seconds (60), with libFuzzer.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "cargo-fuzz is not installed (cargo install cargo-fuzz): skipped; tests/fuzz_corpus.rs runs all the same" >&2
    exit 0
fi
# libFuzzer's instrumentation is behind unstable flags; the stable compiler takes them too when told to.
export RUSTC_BOOTSTRAP=1
for target in $(cargo fuzz list); do
    echo "== $target, $seconds s"
    found=$(mktemp -d)
    cargo fuzz run "$target" "$found" "fuzz/corpus/$target" -- "-max_total_time=$seconds" -max_len=16384 -rss_limit_mb=2048
    rm -r "$found"
done
