#!/usr/bin/env python3
"""Applies the worked examples of docs/extending.md to a copy of the project, builds it, and runs
the commands of the page.

    scripts/check_extending.py             one line per check; exits with 1 if one fails
    scripts/check_extending.py --diffs     stops before it builds (`just check`)

The page's blocks are read in their order:
- ```diff blocks are unified diffs; all of them are applied before anything is built;
- ```console blocks are commands after `$ `, each with lines of its output. Each line must stand in
  what the command prints, in this order; `...` in a line stands for any text. A command whose
  expected output begins with `egsde: ` must fail, any other must succeed.

The table at the top of the page is held against the diffs: own files are those that a diff makes,
places are the hunks in other files. What the examples compute is checked for its meaning.

The copy is target/extending/tree. Only files that differ are written to it, so that the next build
compiles only what changed. It shares the project's target folder, and third-party crates with it.
"""
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
PAGE = "docs/extending.md"
FOLDER = os.path.join(ROOT, "target/extending")
TREE = os.path.join(FOLDER, "tree")
# The copy's binary in the shared target folder; its launcher would start the project's own.
BINARY = "egsde-engine-extending"
EGSDE = os.path.join(ROOT, "target/release", BINARY)
# Rows of this file use what the examples add; a row is no place in the code.
EXPERIMENT = "experiments/extending.yaml"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SECTION = re.compile(r"^## (\d+)\. ", re.MULTILINE)
# | [1. A method](#anchor) | `own file` | `other files` | places | ...
TABLE_ROW = re.compile(r"^\| \[(\d+)\. [^|]*\|([^|]*)\|([^|]*)\| (\d+) \|", re.MULTILINE)
HEADER = re.compile(r"^--- (\S+)\n\+\+\+ b/(\S+)$", re.MULTILINE)
# The build script of the runner runs again whenever this file of git changes; without one, always.
GIT_LOG = ".git/logs/HEAD"


class Command:
    """A command of the page, and the lines that it must print."""

    def __init__(self, line):
        self.line, self.expected = line, []

    def must_fail(self):
        return bool(self.expected) and self.expected[0].startswith("egsde: ")


def read_blocks(page):
    """The diffs and the commands of the page, both in order."""
    diffs, commands = [], []
    for kind, text in BLOCK.findall(page):
        if kind == "diff":
            diffs.append(text)
        elif kind == "console":
            for line in text.splitlines():
                if line.startswith("$ "):
                    commands.append(Command(line[2:]))
                elif line.strip():
                    commands[-1].expected.append(line)
    return diffs, commands


def count_places(page):
    """By section: the new files, the other files, and the hunks in these."""
    counts = {}
    starts = list(SECTION.finditer(page))
    ends = [match.start() for match in starts[1:]] + [len(page)]
    for match, end in zip(starts, ends):
        own, others, places = [], [], 0
        for kind, text in BLOCK.findall(page[match.start() : end]):
            if kind == "diff":
                own_part, others_part, places_part = count_diff(text)
                own, others, places = own + own_part, others + others_part, places + places_part
        counts[int(match.group(1))] = (set(own), set(others), places)
    return counts


def count_diff(text):
    own, others, places = [], [], 0
    headers = list(HEADER.finditer(text))
    ends = [match.start() for match in headers[1:]] + [len(text)]
    for match, end in zip(headers, ends):
        old, name = match.groups()
        if old == "/dev/null":
            own.append(name)
        elif name != EXPERIMENT:
            others.append(name)
            places += len(re.findall(r"^@@ ", text[match.end() : end], re.MULTILINE))
    return own, others, places


def read_table(page):
    """The same by section, as the table at the top of the page has it."""
    counts = {}
    for number, own, others, places in TABLE_ROW.findall(page):
        own, others = set(re.findall(r"`([^`]+)`", own)), set(re.findall(r"`([^`]+)`", others))
        counts[int(number)] = (own, others, int(places))
    return counts


def find_missing_line(expected, output):
    """The first expected line that the output lacks, or has too early; None where all stand in it.
    White space counts once, wherever lines break."""
    output, at = " ".join(output.split()), 0
    for line in expected:
        pieces = [" ".join(piece.split()) for piece in line.split("...")]
        pattern = ".*?".join(re.escape(piece) for piece in pieces if piece)
        found = re.compile(pattern).search(output, at)
        if found is None:
            return line
        at = found.end()
    return None


def project_files():
    """The files that git tracks, and new ones that it does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )
    names = [name for name in listed.stdout.split("\0") if name]
    return sorted(name for name in names if os.path.isfile(os.path.join(ROOT, name)))


def copy_into(folder, source, names):
    for name in names:
        target = os.path.join(folder, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy2(os.path.join(source, name), target)


def apply_diff(diff, folder):
    """Applies one diff; returns what is wrong with it, if anything is."""
    # Without the ceiling, git would take the folder for a part of the repository around it.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": os.path.dirname(folder)}
    applied = subprocess.run(
        ["git", "apply", "-C1", "-"],
        cwd=folder, env=environment, input=diff, capture_output=True, text=True,
    )
    return applied.stderr.strip() if applied.returncode else None


def files_below(folder):
    for place, _, names in os.walk(folder):
        for name in names:
            yield os.path.relpath(os.path.join(place, name), folder)


def read_bytes(path):
    with open(path, "rb") as file:
        return file.read()


def update_tree(fresh):
    """Makes the tree's files those of `fresh`, and touches no file that is the same."""
    wanted = set(files_below(fresh))
    for name in wanted:
        new, old = os.path.join(fresh, name), os.path.join(TREE, name)
        if not os.path.isfile(old):
            copy_into(TREE, fresh, [name])
        elif read_bytes(new) != read_bytes(old):
            shutil.copyfile(new, old)
    for name in set(files_below(TREE)) - wanted - {GIT_LOG}:
        os.remove(os.path.join(TREE, name))
    if not os.path.exists(os.path.join(TREE, GIT_LOG)):
        os.makedirs(os.path.dirname(os.path.join(TREE, GIT_LOG)))
        open(os.path.join(TREE, GIT_LOG), "w").close()


class Checks:
    """Counts checks and prints a line for each."""

    def __init__(self):
        self.passed, self.failed = 0, 0

    def record(self, name, problem=None):
        if problem:
            self.failed += 1
            print(f"FAILED {name}: {problem}", flush=True)
        else:
            self.passed += 1
            print(f"ok {name}", flush=True)
        return not problem

    def require(self, name, is_so, found):
        return self.record(name, None if is_so else f"found {found}")

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed else 0)


def cargo_build(folder, *options):
    """Builds in release; returns the errors, if there are any."""
    environment = {
        **os.environ,
        "CARGO_TARGET_DIR": os.path.join(ROOT, "target"),
        "LIBTORCH": os.path.join(ROOT, ".libtorch"),
    }
    command = ["cargo", "build", "--release", "--offline", "--locked", "--quiet", *options]
    built = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return built.stderr.strip() if built.returncode else None


def edit(path, old, new):
    """Replaces what a pattern finds in a file; it must find something."""
    with open(path, encoding="utf-8") as file:
        text, count = re.subn(old, new, file.read(), flags=re.MULTILINE)
    if not count:
        sys.exit(f"check_extending: {path} has no {old!r}")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def tell_apart(folder):
    """Gives the copy's packages a version and its binary a name of their own: cargo knows packages
    by name, version and place in their workspace, and would take the project's for them."""
    workspace, lock = (os.path.join(folder, name) for name in ("Cargo.toml", "Cargo.lock"))
    with open(workspace, encoding="utf-8") as file:
        version = re.search(r'^version = "([^"]*)"$', file.read(), re.MULTILINE).group(1)
    edit(workspace, f'^version = "{version}"$', f'version = "{version}-extending"')
    own = rf'^(name = "egsde-\w+"\nversion = "{version})"$'
    edit(lock, own, r'\1-extending"')
    runner = os.path.join(folder, "crates/runner/Cargo.toml")
    edit(runner, r'^name = "egsde-engine"$', f'name = "{BINARY}"')


def copy_project(diffs, folder, checks):
    """Copies the project with the diffs into a folder; returns whether all of them apply."""
    copy_into(folder, ROOT, project_files())
    for diff in diffs:
        names = ", ".join(match.group(2) for match in HEADER.finditer(diff))
        if not checks.record(f"the diff of {names} applies", apply_diff(diff, folder)):
            return False
    return True


def build_tree(diffs, checks):
    """Makes the copy with the diffs and its binary; returns whether that went well."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as fresh:
        if not copy_project(diffs, fresh, checks):
            return False
        tell_apart(fresh)
        update_tree(fresh)
    shutil.rmtree(os.path.join(TREE, "runs"), ignore_errors=True)
    problem = cargo_build(TREE, "-p", "egsde-runner", "--bin", BINARY)
    return checks.record("the project with the examples builds", problem)


def run_egsde(line):
    """Runs a command line that begins with `egsde` in the tree."""
    words = shlex.split(line)
    assert words[0] == "egsde", line
    return subprocess.run([EGSDE, *words[1:]], cwd=TREE, capture_output=True, text=True)


def find_problem(command):
    """What is wrong with a command of the page, if anything is."""
    ran = run_egsde(command.line)
    output = ran.stdout + ran.stderr
    if (ran.returncode != 0) != command.must_fail():
        return f"exit code {ran.returncode}: {output.strip()}"
    missing = find_missing_line(command.expected, output)
    return f"no {missing!r} in: {output.strip()}" if missing else None


def read_values(*options):
    """Runs the experiment; returns its rows' values by name and metric."""
    options = shlex.join(options)
    for command in (f"run {EXPERIMENT} {options}", f"table {EXPERIMENT} --json {options}"):
        ran = run_egsde(f"egsde {command}")
        if ran.returncode != 0:
            raise RuntimeError(f"egsde {command}: {ran.stderr.strip()}")
    rows = json.loads(ran.stdout)["rows"]
    values = {}
    for row in rows:
        metrics = row["metrics"].items()
        values[row["method"]] = {key: cell["mean"] for key, cell in metrics}
    return values


def check_values(checks):
    """What the examples compute must mean what the page says."""
    values = read_values()
    error = {row: metrics["mae"] for row, metrics in values.items()}
    distance = {row: metrics["mean_distance"] for row, metrics in values.items()}
    checks.require("every row has the new metrics", have_new_metrics(values), values)
    checks.require("the error of the source is 0", error["Source"] == 0, error)
    rows = ["Blend", "Mean colour", "No noise"]
    is_own = all(error[row] not in (0, error["SDEdit"]) for row in rows)
    checks.require("the new rows have images of their own", is_own, error)
    tells_apart = len(set(distance.values())) == len(distance)
    checks.require("the metric over sets tells rows apart", tells_apart, distance)
    colour = read_values("--set", "methods.Mean colour.experts.0.weight=0")["Mean colour"]
    is_sdedit = colour["mae"] == error["SDEdit"]
    checks.require("without its weight the expert does nothing", is_sdedit, colour)
    blend = read_values("--set", "methods.Blend.amount=0")["Blend"]
    checks.require("a blend with an amount of 0 is the source", blend["mae"] == 0, blend)
    dogs = read_values("--set", "task=dog2dog-32")
    checks.require("the new task has other sources", dogs["SDEdit"] != values["SDEdit"], dogs)


def have_new_metrics(values):
    keys = ("mae", "mean_distance")
    return all(isinstance(row.get(key), float) for row in values.values() for key in keys)


def check_family(checks):
    """A task with the new family as its diffusion network."""
    weights = "runs/tiny_conv.safetensors"
    with open(os.path.join(TREE, "configs/tasks/cat2dog-32.yaml")) as file:
        task = file.read()
    sha256 = hashlib.sha256(read_bytes(os.path.join(TREE, weights))).hexdigest()
    task = task.replace("name: cat2dog-32", "name: tiny")
    diffusion = f"diffusion:\n  file: {weights}\n  sha256: {sha256}\n"
    task = re.sub(r"diffusion:\n.*\n.*\n", diffusion, task)
    with open(os.path.join(TREE, "configs/tasks/tiny.yaml"), "w") as file:
        file.write(task)
    tiny = read_values("--set", "task=tiny")
    checks.require("a task translates with the new family", have_new_metrics(tiny), tiny)


def check_places(page, checks):
    """The table at the top of the page counts what the diffs do."""
    counted, table = count_places(page), read_table(page)
    for number in sorted({*counted, *table}):
        in_diffs, in_table = counted.get(number), table.get(number)
        found = f"{in_diffs} in the diffs, {in_table} in the table"
        checks.require(f"the places of example {number}", in_diffs == in_table, found)


def check_built(diffs, commands, checks):
    """Builds the copy, runs the page's commands and checks what the examples compute."""
    if not build_tree(diffs, checks):
        return
    for command in commands:
        checks.record(command.line, find_problem(command))
    for check in (check_values, check_family):
        try:
            check(checks)
        except (RuntimeError, KeyError, OSError) as error:
            checks.record(check.__name__, repr(error))


def main():
    if sys.argv[1:] not in ([], ["--diffs"]):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    with open(os.path.join(ROOT, PAGE)) as file:
        page = file.read()
    checks = Checks()
    diffs, commands = read_blocks(page)
    check_places(page, checks)
    os.makedirs(FOLDER, exist_ok=True)
    if sys.argv[1:]:
        with tempfile.TemporaryDirectory(dir=FOLDER) as fresh:
            copy_project(diffs, fresh, checks)
    else:
        check_built(diffs, commands, checks)
    checks.finish()


if __name__ == "__main__":
    main()
