#!/usr/bin/env bash
# Runs a recipe of the justfile, bringing `just` into .venv first when the machine has none: ./go reproduce-table1
set -euo pipefail
cd "$(dirname "$0")"
if command -v just >/dev/null 2>&1; then
    exec just "$@"
fi
if [ ! -x .venv/bin/just ]; then
    [ -x .venv/bin/pip ] || python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check rust-just==1.42.4
fi
PATH="$PWD/.venv/bin:$PATH" exec .venv/bin/just "$@"
