#!/usr/bin/env bash
# Adds the CUDA libraries that libtorch 2.11 needs to .venv, after a look at driver and GPUs.
# Works on a machine without a GPU too (the login node of a cluster).
set -euo pipefail
cd "$(dirname "$0")/.."
# Each of them was found necessary by taking it away.
wanted=(
    nvidia-cublas==13.1.0.3
    nvidia-cuda-nvrtc==13.0.88
    nvidia-cudnn-cu13==9.19.0.56
    nvidia-cufft==12.0.0.61
    nvidia-cufile==1.15.1.6
    nvidia-curand==10.4.0.35
    nvidia-cusparse==12.6.3.3
    nvidia-cusparselt-cu13==0.8.0
    nvidia-nccl-cu13==2.28.9
    nvidia-nvjitlink==13.0.88
    nvidia-nvshmem-cu13==3.4.5
)
least_driver=580 least_capability=7.5
needs="driver $least_driver or newer, compute capability $least_capability (Turing) or newer"

tell() {
    echo "setup-gpu: $1" >&2
}

# One field of every GPU, one per line; fails where nvidia-smi does.
query() {
    nvidia-smi --query-gpu="$1" --format=csv,noheader
}

is_number() {
    [[ $1 =~ ^[0-9]+(\.[0-9]+)*$ ]]
}

# Whether $1 < $2, of numbers with one point at most.
is_less() {
    awk -v a="$1" -v b="$2" 'BEGIN { exit !(a < b) }'
}

check_driver() {
    local driver=$1
    if is_number "$driver" && [ "${driver%%.*}" -lt "$least_driver" ]; then
        tell "the driver is $driver, and CUDA 13 needs $least_driver or newer: update it"
        exit 2
    fi
}

# Refuses a machine on which no GPU is new enough; one that is old among others is only named.
check_capabilities() {
    local name capability usable=0 old=
    while IFS=, read -r capability name; do
        if is_number "$capability" && is_less "$capability" "$least_capability"; then
            old+="${old:+, }${name# } ($capability)"
        else
            usable=$((usable + 1))
        fi
    done
    [ -n "$old" ] || return 0
    tell "libtorch 2.11 needs compute capability $least_capability or newer; too old: $old"
    if [ "$usable" -eq 0 ]; then
        exit 2
    fi
}

# With MIG a process sees one instance, and none where no instance was made.
check_mig() {
    query mig.mode.current 2>/dev/null | grep -q Enabled || return 0
    if nvidia-smi -L 2>/dev/null | grep -q 'MIG .*Device'; then
        tell "a GPU is divided by MIG: cuda:0 is the instance that CUDA_VISIBLE_DEVICES names"
    else
        tell "a GPU is in MIG mode without an instance, so programs do not see it"
    fi
}

check_gpus() {
    local drivers capabilities
    if ! command -v nvidia-smi >/dev/null 2>&1; then
        tell "there is no nvidia-smi here, so nothing is checked (needed: $needs)"
        return
    fi
    # nvidia-smi writes its errors to stdout.
    if ! drivers=$(query driver_version 2>&1) || ! grep -q '[0-9]' <<<"$drivers"; then
        tell "nvidia-smi finds no GPU (${drivers%%$'\n'*}), so nothing is checked (needed: $needs)"
        return
    fi
    check_driver "$(head -n 1 <<<"$drivers")"
    # A driver too old to know compute_cap was refused above.
    if capabilities=$(query compute_cap,name 2>/dev/null); then
        check_capabilities <<<"$capabilities"
    fi
    check_mig
}

check_gpus
if [ "$(cat .venv/.egsde-gpu-ready 2>/dev/null)" = "${wanted[*]}" ]; then
    tell "the CUDA libraries are in .venv already"
    exit 0
fi
if [ ! -x .venv/bin/pip ]; then
    tell "there is no .venv yet: run ./justw setup-gpu, which makes it first"
    exit 2
fi
tell "installing the CUDA libraries into .venv (1.8 GB to fetch, 2.4 GB on disk)"
.venv/bin/pip install --disable-pip-version-check --no-deps "${wanted[@]}"
echo "${wanted[*]}" > .venv/.egsde-gpu-ready
