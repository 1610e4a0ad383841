#!/usr/bin/env bash
# Makes .venv with libtorch (from PyPI's torch wheel) and the link .libtorch that the build takes.
set -euo pipefail
cd "$(dirname "$0")/.."
case "$(uname -s) $(uname -m)" in
    "Linux x86_64") ;;
    Linux\ *)
        echo "setup: Linux on $(uname -m) was not tried: this project's own kernels do not take" \
            "part there, and libtorch has wheels for x86_64 and aarch64 only" >&2
        ;;
    *)
        echo "setup: $(uname -s) is not supported: take Linux on x86_64, be it a container," \
            "another machine or WSL 2" >&2
        exit 2
        ;;
esac
wanted="torch==2.11.0 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85"
if [ "$(cat .venv/.egsde-ready 2>/dev/null)" = "$wanted" ] \
    && [ -e .libtorch/lib/libtorch_cpu.so ]; then
    exit 0
fi
trap 'echo "setup: interrupted; the same command goes on from there" >&2; exit 130' INT
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
