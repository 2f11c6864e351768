#!/usr/bin/env bash
# Every target for so many seconds (60), or those that are named behind, with libFuzzer: `fuzz/run.sh 300 body pem`.
# Installs cargo-fuzz where it is missing. What makes a target fail is kept in fuzz/artifacts/.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# -eq 0 ] || shift
if ! cargo fuzz --version >/dev/null 2>&1; then
    cargo install cargo-fuzz --version 0.13.2 --locked --quiet
fi
# libFuzzer's instrumentation is behind unstable flags; the stable compiler takes them too when told to. There is no
# unsafe code for AddressSanitizer to look at (`-s none`): a target fails by a panic, by time or by memory.
export RUSTC_BOOTSTRAP=1
cargo fuzz build --sanitizer none
failed=()
for target in "${@:-}"; do
    [ -n "$target" ] || continue
    cargo fuzz list | grep -qx "$target" || { echo "there is no target $target; these are: $(cargo fuzz list | xargs)" >&2; exit 2; }
done
for target in $(if [ $# -gt 0 ]; then printf '%s\n' "$@"; else cargo fuzz list; fi); do
    echo "== $target, $seconds s"
    found=$(mktemp -d)
    log=$(mktemp)
    # What is found goes to a folder of its own: the corpus is what is committed.
    if ! cargo fuzz run "$target" --sanitizer none "$found" "fuzz/corpus/$target" -- \
        "-max_total_time=$seconds" -max_len=16384 -rss_limit_mb=2048 -timeout=20 >"$log" 2>&1; then
        tail -n 60 "$log"
        failed+=("$target")
    fi
    grep -a 'DONE' "$log" || true
    rm -r "$found" "$log"
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}; see fuzz/artifacts/, and fuzz/README.md for what to do with it" >&2
    exit 1
fi
