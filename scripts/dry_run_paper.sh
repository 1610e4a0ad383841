#!/usr/bin/env bash
# Runs whole paper-scale jobs with weights by formula in the place of the published files: 256 px,
# the published network sizes, 2 images, 3 steps. It shows that every link works and what it needs;
# its numbers mean nothing.
#
#     scripts/dry_run_paper.sh FOLDER EGSDE      (a scratch project is made in FOLDER)
#
# Variables, all optional: DEVICE (cpu), PRECISION (f32), RUNS (the runs folder), EXPERIMENTS (files
# of experiments/paper).
set -euo pipefail
folder=$1 egsde=$(realpath "$2")
device=${DEVICE:-cpu} precision=${PRECISION:-f32} runs=${RUNS:-runs}
read -ra experiments <<< "${EXPERIMENTS:-many_to_one_cat table1_cat2dog table1_male2female}"
here=$(cd "$(dirname "$0")/.." && pwd)

mkdir -p "$folder"/{checkpoints,datasets,results,data}
cp -r "$here"/{configs,experiments} "$folder"
cp "$here/results/"{published.csv,claims.yaml} "$folder/results"
# The manifests get the counts of this trial, and no size or hash: those belong to the published
# files.
sed -E 's/, size: [0-9]+//; /sha256:/d' "$here/checkpoints/manifest.yaml" \
    > "$folder/checkpoints/manifest.yaml"
for set in afhq celeba_hq; do
    sed -E 's/pictures: [0-9]+/pictures: 2/' "$here/datasets/$set.yaml" \
        > "$folder/datasets/$set.yaml"
done
photographs=$here/crates/runner/tests/golden/images
for part in afhq/val/cat afhq/val/dog celeba_hq/val/male celeba_hq/train/female; do
    mkdir -p "$folder/data/$part"
    case $part in
        */dog | */female) set=c ;;
        *) set=a ;;
    esac
    cp "$photographs/$set"/im[01].jpg "$folder/data/$part"
done
cd "$folder"

# Makes the checkpoint $1 with the network $2 and the gain $3, unless it is there.
synthesize() {
    [ ! -f "checkpoints/$1" ] || return 0
    mkdir -p "checkpoints/$(dirname "$1")"
    "$egsde" weights synthesize --network "configs/networks/$2.yaml" --gain "$3" "checkpoints/$1"
}

synthesize afhq_dog_4m.pt afhq_dog_adm_256 1
synthesize cat2dog_dse.pt dse_2_classes_256 1
synthesize celebahq_female_ddpm.pth celebahq_female_ddpm_256 1
synthesize male2female_dse.pt dse_2_classes_256 1
synthesize afhq_dse.pt dse_3_classes_256 1
synthesize cat2dog_cut_pretrained/latest_net_G.pth cut_256 1
synthesize afhq/100000_nets_ema.ckpt stargan_v2_afhq_256 1
synthesize celeba_hq/100000_nets_ema.ckpt stargan_v2_celebahq_256 1
synthesize pt_inception-2015-12-05-6726825d.pth fid_inception 1.6

few=(
    --set pictures=2
    --set batch_size=2
    --set 'seeds=[1]'
    --set methods.EGSDE.start=0.003
    --set "runs_dir=$runs"
    --precision "$precision"
)
few_in_table1=(
    --set methods.ILVR.steps=3
    --set methods.ILVR.range_t=0
    --set methods.SDEdit.start=0.003
    --set methods.EGSDE†.start=0.003
)
for experiment in "${experiments[@]}"; do
    file=experiments/paper/$experiment.yaml
    options=("${few[@]}")
    [ $experiment = many_to_one_cat ] || options+=("${few_in_table1[@]}")
    "$egsde" run "$file" --device "$device" "${options[@]}"
    "$egsde" table "$file" "${options[@]}" | grep -v published
done
echo "largest resident memory of a job, bytes:"
grep -H peak_memory_bytes "$runs"/*/*/scores.json | sed 's/ \+/ /'
