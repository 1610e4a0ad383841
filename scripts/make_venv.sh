#!/usr/bin/env bash
# Makes .venv, unless it is there, and says in one line what the system lacks for it.
set -euo pipefail
cd "$(dirname "$0")/.."
[ ! -x .venv/bin/pip ] || exit 0
install="install it first (Debian, Ubuntu: apt-get install python3-venv)"
if ! command -v python3 >/dev/null 2>&1; then
    echo "setup: there is no python3 here: $install" >&2
    exit 2
fi
# Debian takes ensurepip out of Python and puts it into the package python3-venv.
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    echo "setup: python3 has no module venv here: $install" >&2
    exit 2
fi
python3 -m venv .venv
