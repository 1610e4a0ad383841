#!/usr/bin/env python3
"""Checks the layers of the crates and a few limits that neither rustfmt nor clippy knows.

    scripts/check_layers.py               one line per finding; exits with 1 if there is any
    scripts/check_layers.py --self-test   feeds broken examples; exits with 1 if one goes unnoticed

Checked are:
- the crates: each imports only the crates that lie below it (sources and Cargo.toml);
- the runner: each folder or file of `crates/runner/src` imports only layers below its own;
- import circles between the files of one folder, by paths that start with `super::` or `crate::`;
- lines of .rs, .py, .sh and justfile: at most 100 characters;
- closures with a name (`let name = |..|`): at most 2 per 1,000 lines of Rust;
- functions and closures named `of`: none;
- top-level folders, those with a dot left out: at most 10.

The checks read the files that git tracks, and new ones that it does not ignore.
"""
import bisect
import os
import re
import subprocess
import sys

# The crates, and which of them the sources of each may import. Tests, benches and examples may also
# import what lies further below.
CRATES = {
    "data": [],
    "models": ["data"],
    "sampler": ["models"],
    "metrics": ["data", "models"],
    "training": ["data", "models", "sampler"],
    "runner": ["data", "models", "sampler", "metrics", "training"],
    "bench": ["data", "models", "sampler", "metrics", "training", "runner"],
}

# Folders and files of crates/runner/src, top first. Each may import every layer below its own.
RUNNER_LAYERS = [
    ["lib", "main", "launcher"],
    ["cli"],
    ["commands", "fuzzing", "gpu_check", "parity"],
    ["study", "report", "cluster"],
    ["analysis", "run"],
    ["scoring"],
    ["store"],
    ["plan"],
    ["config", "inputs"],
    ["csv_file", "yaml", "project", "runtime"],
    ["paths", "error"],
]

# What may be imported from the same layer; nothing else may.
RUNNER_SIBLINGS = {
    "commands": ["gpu_check", "parity"],
    "gpu_check": ["parity"],
    "study": ["report"],
}

MAX_LINE = 100
MAX_CLOSURES_PER_1000_LINES = 2.0
MAX_TOP_LEVEL_FOLDERS = 10

NOT_CODE = re.compile(
    r"""//[^\n]*
    | /\*.*?\*/
    | \b[bc]?r(?P<hashes>\#*)".*?"(?P=hashes)
    | "(?:\\.|[^"\\])*"
    | '(?:\\(?:x[0-9a-fA-F]{2}|u\{[^}]*\}|.)|[^\\'\n])'
    """,
    re.DOTALL | re.VERBOSE,
)
TOKEN = re.compile(r"[A-Za-z_]\w*|::|\S")
NAMED_CLOSURE = re.compile(r"\blet\s+(?:mut\s+)?(\w+)\s*(?::[^=;]+)?=\s*(?:move\s+)?\|")
FUNCTION_NAMED_OF = re.compile(r"\bfn\s+of\b")


def blank(match):
    """Spaces in the place of a match, its line breaks kept."""
    return re.sub(r"[^\n]", " ", match.group())


class Import:
    """One path of a source file, as it is written."""

    def __init__(self, segments, line, module, exported=False, name=None):
        self.segments, self.line = segments, line
        self.module = module  # the module in which the path stands, from the crate's root
        self.exported = exported  # whether it is a `pub use`
        self.name = name or segments[-1]  # under which it is known after a `use`

    def is_internal(self):
        return self.segments[0] in ("crate", "super", "self")

    def absolute(self):
        """The segments from the crate's root."""
        if self.segments[0] == "crate":
            return self.segments[1:]
        module, rest = self.module, self.segments
        while rest and rest[0] in ("self", "super"):
            module = module[:-1] if rest[0] == "super" else module
            rest = rest[1:]
        return module + rest


class RustFile:
    """The paths that one Rust file names, outside comments and literals."""

    def __init__(self, text, module):
        self.code = without_literals(text)
        self.line_breaks = [m.start() for m in re.finditer("\n", text)]
        self.tokens = [(m.group(), m.start()) for m in TOKEN.finditer(self.code)]
        self.imports = []
        self.read_imports(module)

    def word(self, at):
        return self.tokens[at][0] if 0 <= at < len(self.tokens) else ""

    def line(self, at):
        return bisect.bisect_left(self.line_breaks, self.tokens[at][1]) + 1

    def read_imports(self, module):
        outer, depth, at = [], 0, 0
        while at < len(self.tokens):
            word, following = self.word(at), self.word(at + 1)
            if word == "mod" and self.word(at + 2) == "{":
                outer.append((depth, module))
                module = module + [following]
                depth, at = depth + 1, at + 3
            elif word == "use" and following != "<":
                exported = self.word(at - 1) in ("pub", ")")
                at = self.read_use_tree(at + 1, [], module, exported)
            elif starts_path(word) and following == "::" and self.word(at - 1) != "::":
                at = self.read_path(at, module)
            else:
                depth += (word == "{") - (word == "}")
                if word == "}" and outer and outer[-1][0] == depth:
                    module = outer.pop()[1]
                at += 1

    def read_path(self, at, module):
        """Reads a path outside `use` and returns the place after it."""
        segments, line = [self.word(at)], self.line(at)
        while self.word(at + 1) == "::" and re.match(r"\w", self.word(at + 2)):
            at += 2
            segments.append(self.word(at))
        self.imports.append(Import(segments, line, module))
        return at + 1

    def read_use_tree(self, at, prefix, module, exported):
        """Reads one branch of a use tree and returns the place after it."""
        segments, line, name = list(prefix), self.line(at), None
        while self.word(at) not in ("", ";", ",", "}"):
            word = self.word(at)
            if word == "{":
                at += 1
                while self.word(at) not in ("", "}"):
                    at = self.read_use_tree(at, segments, module, exported)
                    at += self.word(at) == ","
                return at + 1
            if word == "as":
                at += 1
                name = self.word(at)
            elif word != "::" and not (word == "self" and segments):
                segments.append(word)
            at += 1
        if segments:
            self.imports.append(Import(segments, line, module, exported, name))
        return at


def without_literals(text):
    """The text with spaces in the place of comments, strings and characters."""
    return NOT_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def starts_path(word):
    return word in ("crate", "super", "self") or word.startswith("egsde_")


class Crate:
    """The module files of one crate's src folder, and what each imports from the others."""

    def __init__(self, folder, files):
        self.files, self.paths = {}, {}
        for path in sorted(p for p in files if p.startswith(folder) and p.endswith(".rs")):
            module = path[len(folder) : -len(".rs")].split("/")
            if module[-1] in ("mod", "lib"):
                module.pop()
            self.files[path] = RustFile(files[path], module)
            self.paths[tuple(module)] = path

    def find(self, segments, hops=4):
        """The file of the longest module that `segments` name, through the `pub use` in it."""
        length = len(segments)
        while length and tuple(segments[:length]) not in self.paths:
            length -= 1
        path = self.paths.get(tuple(segments[:length]))
        if path is None or length == len(segments) or hops == 0:
            return path
        for imported in self.files[path].imports:
            if imported.exported and imported.name == segments[length]:
                onward = imported.absolute()
                if not imported.is_internal():
                    onward = imported.module + imported.segments
                    if tuple(onward[: len(imported.module) + 1]) not in self.paths:
                        continue
                if onward != segments:
                    return self.find(onward, hops - 1)
        return path

    def imported_files(self, path):
        """Pairs of an import of `path` that stays in the crate, and the file it leads to."""
        for imported in self.files[path].imports:
            if imported.is_internal():
                target = self.find(imported.absolute())
                if target not in (None, path):
                    yield imported, target


def check_runner_layers(files):
    folder = "crates/runner/src/"
    height = {name: i for i, layer in enumerate(RUNNER_LAYERS) for name in layer}
    crate = Crate(folder, files)

    def layer_name(path):
        return path[len(folder) :].split("/")[0].removesuffix(".rs")

    for path in crate.files:
        name = layer_name(path)
        if name not in height:
            yield f"{path}: {name} has no layer in scripts/check_layers.py"
            continue
        for imported, target in crate.imported_files(path):
            other = layer_name(target)
            # What lib.rs itself defines (the version of the program) belongs to no layer.
            if other in (name, "lib") or other not in height:
                continue
            if height[other] > height[name] or other in RUNNER_SIBLINGS.get(name, []):
                continue
            where = "beside" if height[other] == height[name] else "above"
            written = "::".join(imported.segments)
            yield f"{path}:{imported.line}: {name} imports {written}: {other} lies {where} it"


def crates_below(name):
    """All crates that lie below one, over any number of steps."""
    below = set(CRATES[name])
    return below.union(*(crates_below(other) for other in CRATES[name]))


def check_crate_imports(files):
    for path in sorted(files):
        match = re.match(r"crates/(\w+)/(src/)?.*\.rs$", path)
        if match is None:
            continue
        name, in_sources = match.group(1), bool(match.group(2))
        if name not in CRATES:
            yield f"{path}: the crate {name} is not listed in scripts/check_layers.py"
            continue
        allowed = {name, *(CRATES[name] if in_sources else crates_below(name))}
        for imported in RustFile(files[path], []).imports:
            other = imported.segments[0].removeprefix("egsde_")
            if imported.segments[0].startswith("egsde_") and other not in allowed:
                yield f"{path}:{imported.line}: {name} imports {other}: it may not"


def check_crate_manifests(files):
    for name in CRATES:
        path, section = f"crates/{name}/Cargo.toml", ""
        for number, line in enumerate(files.get(path, "").splitlines(), 1):
            header = re.match(r"\[(?:.*\.)?([\w-]+)\]", line)
            section = header.group(1) if header else section
            dependency = re.match(r"egsde-(\w+)", line)
            allowed = CRATES[name] if section == "dependencies" else crates_below(name)
            if dependency and dependency.group(1) not in allowed:
                yield f"{path}:{number}: {name} depends on {dependency.group(1)}: it may not"


def check_circles(files):
    for name in CRATES:
        crate = Crate(f"crates/{name}/src/", files)
        edges = {path: {} for path in crate.files}
        for path in crate.files:
            for imported, target in crate.imported_files(path):
                if os.path.dirname(target) == os.path.dirname(path):
                    edges[path].setdefault(target, imported.line)
        reported = set()
        for path in edges:
            circle = shortest_circle(edges, path)
            if circle and not reported & set(circle):
                reported |= set(circle)
                steps = zip(circle, circle[1:] + circle[:1])
                shown = [f"{os.path.basename(a)}:{edges[a][b]}" for a, b in steps]
                folder = os.path.dirname(path)
                yield f"{folder}: import circle {' -> '.join(shown + shown[:1])}"


def shortest_circle(edges, start):
    """The files of the shortest circle through `start`, in order; None where there is none."""
    came_from, queue = {}, [start]
    for path in queue:
        for target in edges[path]:
            if target == start:
                circle = [path]
                while circle[-1] != start:
                    circle.append(came_from[circle[-1]])
                return circle[::-1]
            if target not in came_from:
                came_from[target] = path
                queue.append(target)
    return None


def check_line_lengths(files):
    for path in sorted(files):
        if path.endswith((".rs", ".py", ".sh")) or path == "justfile":
            for number, line in enumerate(files[path].splitlines(), 1):
                if len(line) > MAX_LINE:
                    yield f"{path}:{number}: {len(line)} characters, at most {MAX_LINE}"


def check_names(files):
    lines, closures = 0, {}
    for path in sorted(p for p in files if p.endswith(".rs")):
        code = without_literals(files[path])
        lines += code.count("\n")
        named = list(NAMED_CLOSURE.finditer(code))
        closures[path] = len(named)
        called_of = [m for m in named if m.group(1) == "of"]
        for match in called_of + list(FUNCTION_NAMED_OF.finditer(code)):
            line = code.count("\n", 0, match.start()) + 1
            yield f"{path}:{line}: a function or closure is named `of`: use a verb or `from_*`"
    ratio = 1000 * sum(closures.values()) / max(lines, 1)
    if ratio > MAX_CLOSURES_PER_1000_LINES:
        most = sorted(closures, key=closures.get, reverse=True)[:5]
        shown = ", ".join(f"{path} {closures[path]}" for path in most)
        yield (
            f"{ratio:.1f} closures with a name per 1,000 lines of Rust, at most "
            f"{MAX_CLOSURES_PER_1000_LINES}: {shown}"
        )


def check_top_level_folders(files):
    folders = {path.split("/")[0] for path in files if "/" in path}
    shown = sorted(folder for folder in folders if not folder.startswith("."))
    if len(shown) > MAX_TOP_LEVEL_FOLDERS:
        yield f"{len(shown)} top-level folders, at most {MAX_TOP_LEVEL_FOLDERS}: {' '.join(shown)}"


def findings(files):
    """All findings over `files`: paths from the root of the repository, with their texts."""
    checks = [
        check_crate_imports,
        check_crate_manifests,
        check_runner_layers,
        check_circles,
        check_line_lengths,
        check_names,
        check_top_level_folders,
    ]
    return [finding for check in checks for finding in check(files)]


def read_repository():
    """The repository's files by path; the text of those kinds only that some check reads."""
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    files = {}
    for path in filter(None, listed.split("\0")):
        place = os.path.join(root, path)
        if not os.path.isfile(place):  # deleted, and not committed yet
            continue
        files[path] = ""
        if path.endswith((".rs", ".py", ".sh", "Cargo.toml")) or path == "justfile":
            with open(place, encoding="utf-8") as file:
                files[path] = file.read()
    return files


# A tree without a finding, to which each broken example of the self-test is added.
SOUND = {
    "crates/data/Cargo.toml": "[dependencies]\nanyhow.workspace = true\n",
    "crates/data/src/lib.rs": "pub mod files;\n",
    "crates/models/src/lib.rs": "use egsde_data::files;\n",
    "crates/sampler/examples/one.rs": "use egsde_data::files;\nuse egsde_sampler::noise;\n",
    "crates/runner/src/lib.rs": "pub mod plan;\npub use error::Interrupted;\n",
    "crates/runner/src/main.rs": "fn main() {\n    egsde_runner::cli::main()\n}\n",
    "crates/runner/src/commands/run.rs": "use crate::parity;\nuse crate::run::pipeline;\n",
    "crates/runner/src/config/row.rs": "pub struct Row;\n",
    "crates/runner/src/error.rs": "pub struct Interrupted;\n",
    "crates/runner/src/parity.rs": "use crate::run;\n",
    "crates/runner/src/plan/job.rs": "use crate::CODE;\nuse super::settings::Settings;\n",
    "crates/runner/src/plan/mod.rs": "pub mod job;\npub mod settings;\npub use job::Job;\n",
    "crates/runner/src/plan/settings.rs": "use crate::{Interrupted, config::row};\n",
    "crates/runner/src/report/page.rs": "//! `crate::study`\nconst A: &str = \"crate::cli\";\n",
    "crates/runner/src/run/mod.rs": "pub mod pipeline;\n",
    "crates/runner/src/run/pipeline.rs": "use crate::plan::{self, Job};\n" + "\n" * 1000,
    "crates/runner/src/scoring/mod.rs": "fn f<'a>(a: &'a str) -> char {\n    '\"'\n}\n",
    "crates/runner/src/store/mod.rs": "/* use crate::run; */ const A: &str = r#\"crate::run\"#;\n",
    "crates/runner/src/study/make.rs": "use crate::report::page;\n",
}

# Name of the example, its files, and what the findings must say.
BROKEN = [
    (
        "a plain use",
        {"crates/runner/src/plan/x.rs": "\nuse crate::run::pipeline;\n"},
        "crates/runner/src/plan/x.rs:2: plan imports crate::run::pipeline: run lies above it",
    ),
    (
        "nested braces over several lines",
        {"crates/runner/src/store/x.rs": "use crate::{\n  plan,\n  report::{page, y::Z},\n};\n"},
        "crates/runner/src/store/x.rs:3: store imports crate::report::page",
    ),
    (
        "a path inside a function",
        {"crates/runner/src/plan/x.rs": "fn f() {\n    crate::scoring::g::<u8>()\n}\n"},
        "crates/runner/src/plan/x.rs:2: plan imports crate::scoring::g",
    ),
    (
        "a use inside a function",
        {"crates/runner/src/yaml.rs": "fn f() {\n    use crate::config::row as r;\n}\n"},
        "crates/runner/src/yaml.rs:2: yaml imports crate::config::row",
    ),
    (
        "super out of the folder",
        {"crates/runner/src/plan/x.rs": "mod tests {\n    use super::super::super::store;\n}\n"},
        "crates/runner/src/plan/x.rs:2: plan imports super::super::super::store",
    ),
    (
        "a re-export of lib.rs",
        {
            "crates/runner/src/lib.rs": "pub use run::pipeline::Pipeline;\n",
            "crates/runner/src/plan/x.rs": "use crate::Pipeline;\n",
        },
        "crates/runner/src/plan/x.rs:1: plan imports crate::Pipeline: run lies above it",
    ),
    (
        "run imports analysis",
        {
            "crates/runner/src/analysis/mod.rs": "",
            "crates/runner/src/run/x.rs": "use crate::analysis;\n",
        },
        "crates/runner/src/run/x.rs:1: run imports crate::analysis: analysis lies beside it",
    ),
    (
        "report imports study",
        {"crates/runner/src/report/x.rs": "use crate::study::make;\n"},
        "crates/runner/src/report/x.rs:1: report imports crate::study::make: study lies beside it",
    ),
    (
        "a folder without a layer",
        {"crates/runner/src/helpers/x.rs": ""},
        "crates/runner/src/helpers/x.rs: helpers has no layer",
    ),
    (
        "a crate imports upwards",
        {"crates/models/src/x.rs": "fn f() -> egsde_sampler::noise::N {}\n"},
        "crates/models/src/x.rs:1: models imports sampler",
    ),
    (
        "an unlisted crate",
        {"crates/helpers/src/lib.rs": ""},
        "crates/helpers/src/lib.rs: the crate helpers is not listed",
    ),
    (
        "a test of a crate imports upwards",
        {"crates/metrics/tests/x.rs": "use egsde_runner::plan;\n"},
        "crates/metrics/tests/x.rs:1: metrics imports runner",
    ),
    (
        "a manifest depends upwards",
        {"crates/data/Cargo.toml": "[dependencies]\negsde-models.workspace = true\n"},
        "crates/data/Cargo.toml:2: data depends on models",
    ),
    (
        "a circle of two files",
        {
            "crates/metrics/src/a.rs": "use super::b::B;\n",
            "crates/metrics/src/b.rs": "\nfn f() { crate::a::g() }\n",
        },
        "crates/metrics/src: import circle a.rs:1 -> b.rs:2 -> a.rs:1",
    ),
    (
        "a circle of three files through a re-export",
        {
            "crates/models/src/n/mod.rs": "pub use c::C;\n",
            "crates/models/src/n/a.rs": "use super::b;\n",
            "crates/models/src/n/b.rs": "use super::C;\n",
            "crates/models/src/n/c.rs": "use crate::n::a;\n",
        },
        "crates/models/src/n: import circle a.rs:1 -> b.rs:1 -> c.rs:1 -> a.rs:1",
    ),
    (
        "a circle of a file and its mod.rs",
        {
            "crates/models/src/n/mod.rs": "use crate::n::a;\n",
            "crates/models/src/n/a.rs": "use super::T;\n",
        },
        "crates/models/src/n: import circle a.rs:1 -> mod.rs:1 -> a.rs:1",
    ),
    ("a long line", {"scripts/x.sh": "#" * 101 + "\n"}, "scripts/x.sh:1: 101 characters"),
    ("a long line of the justfile", {"justfile": "\n" + "é" * 101}, "justfile:2: 101 characters"),
    (
        "many named closures",
        {"crates/data/src/x.rs": "    let mut f = move |x| x;\n    let g: F = || 1;\n" * 2},
        "closures with a name per 1,000 lines of Rust, at most 2.0: crates/data/src/x.rs 4",
    ),
    ("a function named of", {"fuzz/x.rs": "\npub fn of() {}\n"}, "fuzz/x.rs:2: a function"),
    ("a closure named of", {"fuzz/x.rs": "let of = |x| x;\n"}, "fuzz/x.rs:1: a function"),
    (
        "eleven folders",
        {f"folder{i}/x": "" for i in range(10)},
        "11 top-level folders, at most 10: crates folder0",
    ),
]


def self_test():
    unnoticed = [f"the sound tree has a finding: {finding}" for finding in findings(SOUND)]
    for name, broken, expected in BROKEN:
        found = findings({**SOUND, **broken})
        if not any(expected in finding for finding in found):
            unnoticed.append(f"{name}: expected {expected!r}, found {found}")
    for line in unnoticed:
        print(f"self-test: {line}")
    print(f"self-test: {len(BROKEN)} broken examples, {len(unnoticed)} failures")
    return 1 if unnoticed else 0


def main(arguments):
    if arguments == ["--self-test"]:
        return self_test()
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    found = findings(read_repository())
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
