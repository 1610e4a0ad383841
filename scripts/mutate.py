#!/usr/bin/env python3
"""Breaks the program on purpose, one way at a time, and asks whether the baseline comparison
notices.

    scripts/mutate.py [NAME ...]      runs some mutations (all of them when none is named)
    scripts/mutate.py --list-places   only shows that each mutation finds exactly one place

A mutation takes about a minute and needs a clean checkout, which is restored afterwards. It prints
one line: caught or NOT CAUGHT, and the rows and metrics that left their tolerance. The last name,
`unbroken`, runs the program as it is 20 times with other values of --save-every and other thread
counts; all of these must stay within the tolerance. The exit code is 1 when one of this is not so.
"""
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
EGSDE = "target/release/egsde"
EXPERIMENT = "experiments/ci.yaml"
BASELINE = "results/baselines/ci.csv"
UNBROKEN = "unbroken"
UNBROKEN_RUNS = 20
# A row and a metric in the comparison's output.
DEPARTURE = re.compile(r"([\w†]+ (?:fid|kid|l2|psnr|ssim|precision|recall)):")


class Mutation:
    """A text in a file, where it must stand once, and what takes its place."""

    def __init__(self, path, old, new):
        self.path, self.old, self.new = path, old, new

    def read(self):
        with open(os.path.join(ROOT, self.path)) as file:
            return file.read()

    def write(self, text):
        with open(os.path.join(ROOT, self.path), "w") as file:
            file.write(text)

    def line_numbers(self):
        """The lines on which the text to replace begins, from 1."""
        try:
            text = self.read()
        except FileNotFoundError:
            return []
        starts = [match.start() for match in re.finditer(re.escape(self.old), text)]
        return [text.count("\n", 0, start) + 1 for start in starts]


MUTATIONS = {
    "sign of the energy gradient": Mutation(
        "crates/sampler/src/solver.rs",
        "Some(g) => mean - g * (beta / root)",
        "Some(g) => mean + g * (beta / root)",
    ),
    "lambda_s off by 10 %": Mutation(
        "crates/sampler/src/energy/domain_specific.rs",
        """\
impl Expert for DomainSpecific<'_> {
    fn weight(&self) -> Weight {
        self.weight
""",
        """\
impl Expert for DomainSpecific<'_> {
    fn weight(&self) -> Weight {
        match self.weight {
            Weight::Constant(w) => Weight::Constant(w * 1.1),
            other => other,
        }
""",
    ),
    "first step's variance": Mutation(
        "crates/sampler/src/method/egsde.rs",
        """\
        let next = self.solver.step(&step, memory);
""",
        """\
        let mut next = self.solver.step(&step, memory);
        if i + 1 == self.start_steps {
            next.std = (0.5 * self.schedule.log_variance(self.variance, i / 2, None)).exp();
        }
""",
    ),
    "noise reused between images": Mutation(
        "crates/sampler/src/noise/mod.rs",
        "stream_key(self.seed, name, purpose)",
        "stream_key(self.seed, &self.names[0], purpose)",
    ),
    "SSIM window 7 instead of 11": Mutation(
        "crates/metrics/src/pairwise.rs",
        "const WINDOW: i64 = 11;",
        "const WINDOW: i64 = 7;",
    ),
    "reference statistics from cats": Mutation(
        "crates/runner/src/scoring/evaluator.rs",
        "task.reference.load(",
        "task.source.load(",
    ),
    "one duplicated image among 64": Mutation(
        "crates/runner/src/store/job_dir.rs",
        """\
        let image = image_file::decode(&bytes).ok()?;
""",
        """\
        let bytes = match name {
            "cat-00005" => std::fs::read(self.image("cat-00006")).unwrap_or(bytes),
            _ => bytes,
        };
        let image = image_file::decode(&bytes).ok()?;
""",
    ),
}


def run(command, **more):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **more)


def build():
    built = run(["cargo", "build", "--release", "--quiet", "--locked"])
    if built.returncode != 0:
        sys.exit(built.stderr)


def compare(options=(), environment=None):
    """Runs the CI subset; returns whether its numbers stayed within their tolerance, and the
    comparison's output."""
    with tempfile.TemporaryDirectory() as folder:
        runs = ["--set", f"runs_dir={folder}"]
        environment = {**os.environ, **(environment or {})}
        ran = run([EGSDE, "run", EXPERIMENT, *runs, *options], env=environment)
        if ran.returncode != 0:
            return False, ran.stderr.strip().splitlines()[-1]
        found = run([EGSDE, "compare", EXPERIMENT, BASELINE, *runs])
    return found.returncode == 0, (found.stdout + found.stderr).strip()


def departures(output):
    return ", ".join(sorted(set(DEPARTURE.findall(output)))) or output


def is_caught(name):
    """Builds and runs the program with one mutation, and prints what came of it."""
    mutation = MUTATIONS[name]
    original = mutation.read()
    try:
        mutation.write(original.replace(mutation.old, mutation.new))
        build()
        is_same, output = compare()
    finally:
        mutation.write(original)
    verdict = "NOT CAUGHT" if is_same else f"caught: {departures(output)}"
    print(f"{name}: {verdict}", flush=True)
    return not is_same


def stays_unbroken():
    """Runs the program as it is in other conditions, none of which may change a number."""
    good = 0
    for i in range(UNBROKEN_RUNS):
        options = ["--save-every", str(1 + 5 * i % 64)]
        is_same, output = compare(options, {"OMP_NUM_THREADS": str(1 + i % 4)})
        good += is_same
        if not is_same:
            print(f"{UNBROKEN}, run {i}: {output}", flush=True)
    conditions = "other values of --save-every and thread counts"
    print(f"{UNBROKEN}, {conditions}: {good} of {UNBROKEN_RUNS} within tolerance", flush=True)
    return good == UNBROKEN_RUNS


def have_one_place_each(names):
    """Prints where each mutation takes place; returns whether each has exactly one place."""
    found = True
    for name in names:
        mutation = MUTATIONS[name]
        lines = mutation.line_numbers()
        if len(lines) == 1:
            print(f"{name}: {mutation.path}:{lines[0]}")
        else:
            print(f"{name}: {len(lines)} places in {mutation.path}, expected one")
            found = False
    return found


def main():
    arguments = sys.argv[1:]
    if arguments == ["--list-places"]:
        sys.exit(0 if have_one_place_each(MUTATIONS) else 1)
    names = arguments or [*MUTATIONS, UNBROKEN]
    for name in names:
        if name not in MUTATIONS and name != UNBROKEN:
            sys.exit(f"no mutation {name!r}: there are {', '.join([*MUTATIONS, UNBROKEN])}")
    mutations = [name for name in names if name != UNBROKEN]
    if not have_one_place_each(mutations):
        sys.exit(1)
    results = []
    try:
        for name in mutations:
            results.append(is_caught(name))
    finally:
        build()
    if UNBROKEN in names:
        results.append(stays_unbroken())
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
