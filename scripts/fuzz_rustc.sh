#!/usr/bin/env bash
# RUSTC_WORKSPACE_WRAPPER of `just fuzz`: this project's crates tell libFuzzer their coverage, while
# dependencies stay as they are built otherwise.
coverage=(
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
    -Cdebug-assertions=yes
    -Ccodegen-units=1
    --cfg fuzzing
)
case " $* " in
    *" build_script_"*) exec "$@" ;;
    *" --crate-name "*) exec "$@" "${coverage[@]}" ;;
    *) exec "$@" ;;
esac
