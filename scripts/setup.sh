#!/usr/bin/env bash
# Makes .venv with libtorch (from PyPI's torch wheel) and the link .libtorch that the build takes.
set -euo pipefail
cd "$(dirname "$0")/.."
wanted="torch==2.11.0 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85"
if [ "$(cat .venv/.egsde-ready 2>/dev/null)" = "$wanted" ] \
    && [ -e .libtorch/lib/libtorch_cpu.so ]; then
    exit 0
fi
bash scripts/make_venv.sh
echo "setup: installing libtorch into .venv (530 MB to fetch, about 1.2 GB on disk)" >&2
# shellcheck disable=SC2086
.venv/bin/pip install --disable-pip-version-check --no-deps $wanted
torch=$(echo .venv/lib/python3.*/site-packages/torch)
ln -sfn "$torch" .libtorch
if [ ! -e .libtorch/lib/libtorch_cpu.so ]; then
    echo "setup: there is no libtorch_cpu.so in $torch: remove .venv and run the set-up again" >&2
    exit 2
fi
echo "$wanted" > .venv/.egsde-ready
