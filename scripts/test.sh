#!/usr/bin/env bash
# Runs all tests. The last lines count them and say which were left out and why.
set -uo pipefail
cd "$(dirname "$0")/.."
mkdir -p target
log=target/test.log
runner="target.'cfg(all())'.runner=['bash','$PWD/scripts/run_tests_of.sh']"

# Tests of the kind $1 (see run_tests_of.sh), with options of `cargo test` behind it.
tests() {
    local kind=$1
    shift
    EGSDE_TESTS=$kind cargo --config "$runner" test --release --locked --no-fail-fast "$@" 2>&1
}

# Slurm's tests mostly wait for its queue, so that they run beside all others, and their output
# comes last. Everything is built first: two builds would wait for each other.
tests all --no-run | tee "$log"
code=${PIPESTATUS[0]}
if [ "$code" -eq 0 ]; then
    tests queue --test slurm >"$log.queue" &
    tests others | tee -a "$log"
    code=${PIPESTATUS[0]}
    wait $! || code=$?
    tee -a "$log" <"$log.queue"
fi

# The sum of the numbers before the word $1 in the lines that end each test program.
count() {
    grep '^test result: ' "$log" | grep -oE "[0-9]+ $1" | awk '{ n += $1 } END { print n + 0 }'
}

# libtest writes "ignored, REASON", libtest-mimic "ignored (REASON)".
left_out() {
    sed -nE 's/^test ([^ ]+) +\.\.\. ignored(, (.*)| \((.*)\))?$/- \1: \3\4/p' "$log"
}

if [ "$(count ignored)" -gt 0 ]; then
    printf '\nLeft out:\n'
    left_out
fi
if [ "$code" -ne 0 ]; then
    printf '\nThe whole output is in %s.\n' "$log"
fi
printf '%s passed, %s failed, %s skipped\n' "$(count passed)" "$(count failed)" "$(count ignored)"
exit "$code"
