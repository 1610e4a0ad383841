#!/usr/bin/env python3
"""Ours against what people use today, interleaved on this machine, as a Markdown report: sampling
steps against a plain PyTorch loop, `egsde eval` against pytorch-fid, our Fréchet distance against
scipy's.

    scripts/bench/compare.py PYTHON [--pairs N] [--parts steps,eval,frechet] [--sizes 32,64,256]
                                    [--pictures N] [--threads N] [--variants "eager,compiled"]

PYTHON is one with torch 2.11.0, torchvision 0.26.0, numpy, safetensors and pytorch-fid 0.3.0. Both
sides have the same weights by formula, inputs and thread count. Steps are taken in every way that
PyTorch offers in a few words (eager and compiled, channels last and not, float32, and bf16 where
the processor has such arithmetic), and ours in every such precision; what counts is ours at its
best against theirs at its best. Each pair is one run of ours and one of theirs, in turns. A ratio
above 1 means ours is faster.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
EGSDE = os.path.join(ROOT, "target/release/egsde")
EGSDE_BENCH = os.path.join(ROOT, "target/release/egsde-bench")
METRICS_REFERENCE = "scripts/bench/metrics_reference.py"
REFERENCE = "scripts/bench/reference.py"

# Variants of reference.py, in float32; bf16 before each is the same in bfloat16.
VARIANTS = ["eager", "channels-last", "compiled", "compiled channels-last"]

# The largest of these that a processor has says how it computes.
INSTRUCTIONS = ["amx_bf16", "avx512_bf16", "avx512f", "avx2"]


def diffusion(image_size, num_channels, channel_mult, attention_resolutions, **more):
    """Configuration of a noise predictor."""
    return {
        "kind": "adm_unet",
        "image_size": image_size,
        "num_channels": num_channels,
        "channel_mult": channel_mult,
        "attention_resolutions": attention_resolutions,
        "use_scale_shift_norm": True,
        "resblock_updown": True,
        **more,
    }


def extractor(image_size, classifier_width, channel_mult, attention_resolutions, **more):
    """Configuration of a domain-specific extractor."""
    return {
        "kind": "dse",
        "image_size": image_size,
        "classifier_width": classifier_width,
        "channel_mult": channel_mult,
        "attention_resolutions": attention_resolutions,
        "num_classes": 2,
        "pool": "attention",
        "use_scale_shift_norm": True,
        "resblock_updown": True,
        **more,
    }


class Case:
    """Networks of one image size, and how much work one run of them is."""

    def __init__(self, diffusion, extractor, batch, steps):
        self.diffusion, self.extractor = diffusion, extractor
        self.batch, self.steps = batch, steps


CASES = {
    32: Case(
        diffusion(32, 32, [1, 2, 4], [8], num_res_blocks=2, num_head_channels=32,
                  learn_sigma=False),
        extractor(32, 32, [1, 2, 4], [8], classifier_depth=1, num_head_channels=32),
        batch=16,
        steps=4,
    ),
    64: Case(
        diffusion(64, 64, [1, 2, 3, 4], [16], num_res_blocks=1, num_head_channels=32,
                  learn_sigma=True),
        extractor(64, 64, [1, 2, 3, 4], [32, 16, 8], classifier_depth=1, num_head_channels=64),
        batch=4,
        steps=3,
    ),
    # The published networks.
    256: Case(
        diffusion(256, 128, [1, 1, 2, 2, 4, 4], [16], num_res_blocks=1, num_head_channels=64,
                  learn_sigma=True),
        extractor(256, 128, [1, 1, 2, 2, 4, 4], [32, 16, 8], classifier_depth=2,
                  num_head_channels=64),
        batch=1,
        steps=2,
    ),
}


class Worker:
    """A process that does its work once per line of input and tells the seconds."""

    def __init__(self, command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        if self.process.stdout.readline().strip() != "ready":
            sys.exit(f"{' '.join(command)} did not start")
        self.memory_kib = 0
        self.answer = []

    def work(self):
        """Does the work once; returns its seconds."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        seconds, memory_kib, *self.answer = self.process.stdout.readline().split()
        self.memory_kib = int(memory_kib)
        return float(seconds)

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def processor_flags():
    with open("/proc/cpuinfo") as file:
        return next(line for line in file if line.startswith("flags")).split()


def processor():
    """Model, count and vector instructions of this machine's processors."""
    with open("/proc/cpuinfo") as file:
        lines = file.read().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    known = [name for name in INSTRUCTIONS if name in processor_flags()]
    return f"{models[0]}, {len(models)} processors, {known}"


def time_in_turns(turns, works):
    """Seconds of each of `works`, functions by name that do their work once and return its seconds:
    one after another, and in the other order at every second turn."""
    seconds = {name: [] for name in works}
    for turn in range(turns):
        names = list(works)
        for name in names if turn % 2 == 0 else names[::-1]:
            seconds[name].append(works[name]())
    return seconds


def ratios(theirs, ours):
    """Theirs by ours of each pair of seconds."""
    return [b / a for a, b in zip(ours, theirs)]


def median_and_range(ratios):
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def cells(pairs, ours, theirs):
    """Ratio and seconds of two functions that do their work once and return its seconds, as cells
    of a table."""
    seconds = time_in_turns(pairs, {"ours": ours, "theirs": theirs})
    medians = [f"{statistics.median(side):.2f}" for side in seconds.values()]
    return " | ".join([median_and_range(ratios(seconds["theirs"], seconds["ours"])), *medians])


def write_configurations(size, folder):
    """Options that name the networks of a size, written as files into a folder."""
    options = ["--size", str(size)]
    for name in ("diffusion", "extractor"):
        path = os.path.join(folder, f"{size}_{name}.json")
        with open(path, "w") as file:
            json.dump(getattr(CASES[size], name), file)
        options += [f"--{name}", path]
    return options


# A way that its first look shows to be slower than the fastest of its side by this much is not
# timed further.
HOPELESS = 1.4


def has_bf16():
    """Whether the processor has bf16 arithmetic. Without it, both sides emulate it."""
    return any(name in processor_flags() for name in ("amx_bf16", "avx512_bf16"))


def is_ours(name):
    return name.startswith("ours")


def start_workers(commands):
    """All workers, the names of those still running, and the seconds of a first look at each, after
    one run to get warm. Only those run on that are not hopeless, so that they fit the memory
    together."""
    workers, running, looks = {}, [], {}
    for name, command in commands.items():
        workers[name] = Worker(command)
        workers[name].work()
        looks[name] = workers[name].work()
        running.append(name)
        side = [one for one in running if is_ours(one) == is_ours(name)]
        least = min(looks[one] for one in side)
        for slow in [one for one in side if looks[one] > HOPELESS * least]:
            running.remove(slow)
            workers[slow].end()
    return workers, running, looks


def commands_of_steps(args, case, method, options):
    """The workers of one step by name: ours begin with `ours`."""
    options = [*options, "--method", method, "--threads", str(args.threads)]
    options += ["--batch", str(case.batch), "--steps", str(case.steps)]
    kinds = ["f32", "bf16"] if has_bf16() else ["f32"]
    variants = args.variants.split(",") if args.variants else VARIANTS
    ours = [EGSDE_BENCH, "worker", *options, "--precision"]
    theirs = [args.python, REFERENCE, "worker", *options, "--variant"]
    commands = {f"ours, {kind}": [*ours, kind] for kind in kinds}
    for kind in kinds:
        names = [name if kind == "f32" else f"{kind} {name}" for name in variants]
        commands.update({name: [*theirs, name] for name in names})
    return commands


def fastest(seconds, names):
    return min(names, key=lambda name: statistics.median(seconds[name]))


def measure_steps(args, size, method, options):
    """Prints one line of the table of steps; returns our image steps per second in float32."""
    case = CASES[size]
    workers, running, looks = start_workers(commands_of_steps(args, case, method, options))
    seconds = {name: [look] for name, look in looks.items()}
    seconds.update(time_in_turns(args.pairs, {name: workers[name].work for name in running}))
    for name in running:
        workers[name].end()
    steps = case.batch * case.steps
    rates = {name: steps / statistics.median(times) for name, times in seconds.items()}
    ours = fastest(seconds, [name for name in running if is_ours(name)])
    theirs = fastest(seconds, [name for name in running if not is_ours(name)])
    row = [
        size,
        method,
        case.batch,
        median_and_range(ratios(seconds[theirs], seconds[ours])),
        theirs,
        "; ".join(f"{name} {rate:.3g}" for name, rate in rates.items()),
        compare_memory(workers[ours], workers.get("eager")),
    ]
    print(f"| {' | '.join(map(str, row))} |", flush=True)
    return rates["ours, f32"]


def compare_memory(ours, eager):
    """The largest memory of two workers; of one where eager mode was left out."""
    mib = ours.memory_kib / 1024
    if eager is None:
        return f"{mib:.0f} MiB / -"
    theirs = eager.memory_kib / 1024
    return f"{mib:.0f} / {theirs:.0f} MiB = {mib / theirs:.2f}"


def measure_ceilings(args, options):
    """What the machine can do, and the work of one step."""
    command = [args.python, REFERENCE, "ceilings", *options, "--threads", str(args.threads)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def print_fractions(fractions):
    """The table of what was reached of what the machine can do."""
    print("\n### Fraction of what the machine can do\n")
    headings = [
        "size",
        "step",
        "GFLOP per image and step",
        "GFLOP/s reached",
        "largest matrix product, GFLOP/s",
        "largest convolution, GFLOP/s",
        "copy, GB/s",
        "fraction of the convolution rate",
    ]
    print(f"| {' | '.join(headings)} |\n|---:|---|---:|---:|---:|---:|---:|---:|")
    for size, method, work, rate, ceilings in fractions:
        reached = work * rate
        rates = [reached, *(ceilings[name] for name in ("matmul", "convolution", "copy"))]
        shown = " | ".join(f"{one / 1e9:.1f}" for one in rates)
        fraction = f"{reached / ceilings['convolution']:.0%}"
        print(f"| {size} | {method} | {work / 1e9:.2f} | {shown} | {fraction} |")
    print("""
Convolutions and matrix products are counted as direct ones, forward and (for the extractor)
backward; nothing else is. Winograd convolution needs up to four times fewer multiplications, which
is how a fraction goes beyond 100 %.
""")


def compare_steps(args):
    print("## Sampling steps\n")
    print("Ours at its best against the fastest way of `scripts/bench/reference.py`, which passes")
    print("the golden cases first. The published networks are those of 256 px. A way slower than")
    print(f"{HOPELESS} times the fastest of its side was timed once.\n")
    headings = [
        "size",
        "step",
        "batch",
        "ours / best of theirs, images/s: median (range)",
        "best of theirs",
        "image steps/s of every way",
        "peak memory, ours / eager",
    ]
    print(f"| {' | '.join(headings)} |\n|---:|---|---:|---:|---|---|---:|")
    fractions = []
    with tempfile.TemporaryDirectory() as folder:
        for size in map(int, args.sizes.split(",")):
            options = write_configurations(size, folder)
            rates = {
                method: measure_steps(args, size, method, options)
                for method in ("egsde", "sdedit", "ilvr")
            }
            ceilings = measure_ceilings(args, options)
            work = {"sdedit": ceilings["diffusion"]}
            work["egsde"] = ceilings["diffusion"] + ceilings["extractor"]
            for method in ("egsde", "sdedit"):
                fractions.append((size, method, work[method], rates[method], ceilings))
    print_fractions(fractions)


def run_timed(command, cwd):
    """Seconds and output of a whole process."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)
    return time.perf_counter() - began, done.stdout


def make_eval_inputs(args, folder):
    """Two folders of synthetic images, a and b, and the weights of Inception by formula."""
    count = str(args.pictures // 2)
    command = [args.python, METRICS_REFERENCE, "pictures", folder, count, "256"]
    subprocess.run(command, cwd=ROOT, check=True)
    weights = os.path.join(folder, "w.safetensors")
    network = ["--network", "configs/networks/fid_inception.yaml", "--gain", "1.6"]
    command = [EGSDE, "weights", "synthesize", *network, weights]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return [os.path.join(folder, name) for name in "ab"], weights


def compare_eval(args):
    print("## `egsde eval` against pytorch-fid 0.3.0\n")
    count = args.pictures // 2
    print(f"FID of two folders of {count} synthetic PNG images of 256 px, whole processes.\n")
    headings = [
        "ours / theirs: median (range)",
        "ours, s",
        "theirs, s",
        "largest relative difference of FID",
    ]
    print(f"| {' | '.join(headings)} |\n|---:|---:|---:|---:|")
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        (a, b), weights = make_eval_inputs(args, folder)

        def run_ours():
            options = ["--translated", a, "--target", b, "--inception", weights, "--json"]
            # No features are kept in a fresh folder.
            with tempfile.TemporaryDirectory() as fresh:
                seconds, output = run_timed([EGSDE, "eval", *options], fresh)
            ours.append(json.loads(output)["metrics"]["fid"])
            return seconds

        def run_theirs():
            command = [args.python, METRICS_REFERENCE, "fid", weights, a, b, str(args.threads)]
            seconds, output = run_timed(command, ROOT)
            theirs.append(float(output.split()[-1]))
            return seconds

        timed = cells(args.pairs, run_ours, run_theirs)
    worst = max(abs(a / b - 1) for a, b in zip(ours, theirs))
    print(f"| {timed} | {worst:.1e} |\n")


def compare_frechet(args):
    print("## Fréchet distance of 2,048 features against scipy's `sqrtm`\n")
    print("From statistics of 4,000 and 5,000 rows.\n")
    headings = [
        "ours / theirs: median (range)",
        "ours, s",
        "theirs, s",
        "relative difference of the distance",
    ]
    print(f"| {' | '.join(headings)} |\n|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        command = [args.python, METRICS_REFERENCE, "statistics", folder]
        subprocess.run(command, cwd=ROOT, check=True)
        files = [os.path.join(folder, f"{name}.npz") for name in "ab"]
        ours = Worker([EGSDE_BENCH, "frechet", *files, "--threads", str(args.threads)])
        theirs = Worker([args.python, METRICS_REFERENCE, "frechet", *files])
        ours.work()
        timed = cells(args.pairs, ours.work, theirs.work)
        difference = abs(float(ours.answer[0]) / float(theirs.answer[0]) - 1)
        ours.end()
        theirs.end()
    print(f"| {timed} | {difference:.1e} |\n")


PARTS = {"steps": compare_steps, "eval": compare_eval, "frechet": compare_frechet}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("python")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--variants", help="only these ways of PyTorch, separated by commas")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--sizes", default=",".join(map(str, CASES)))
    parser.add_argument(
        "--pictures", type=int, default=200, help="images of eval, both folders together"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    print("# Performance\n")
    print("Printed by `just bench-vs-reference`. It measures no GPUs, and bf16 only on a processor")
    print("that has it.\n")
    print(f"Machine: {processor()}; {args.threads} threads; {args.pairs} pairs each, in turns; a")
    print("ratio above 1 means ours is faster.\n")
    for part in args.parts.split(","):
        PARTS[part](args)


if __name__ == "__main__":
    main()
