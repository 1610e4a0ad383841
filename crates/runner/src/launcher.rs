//! The binary `egsde`: finds libtorch and becomes `egsde-engine`, which does everything.
//!
//! The engine cannot say a word where its libraries are missing, since the system's loader ends it
//! first. This program needs none of them.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::env;
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The program that is linked with libtorch.
const ENGINE: &str = "egsde-engine";

/// A library that every libtorch has.
const LIBRARY: &str = "libtorch_cpu.so";

/// Where libtorch lay when this program was built.
const BUILT_WITH: &str = env!("EGSDE_LIBTORCH_DIR");

/// The same as seen from the folder of this program.
const BUILT_WITH_RELATIVE: &str = env!("EGSDE_LIBTORCH_RELATIVE");

/// The folder into which both programs were built.
const BUILT_INTO: &str = env!("EGSDE_BUILT_INTO");

/// The engine beside this program or, where this one was copied alone, where it was built.
fn find_engine(folder: &Path) -> Option<PathBuf> {
    let candidates = [folder.join(ENGINE), Path::new(BUILT_INTO).join(ENGINE)];
    candidates.into_iter().find(|path| path.is_file())
}

/// Whether libtorch lies where the engine's loader looks first.
fn libtorch_is_there(engine: &Path) -> bool {
    let beside = engine.parent().unwrap_or(Path::new("."));
    let searched = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&searched).collect();
    folders.push(beside.join(BUILT_WITH_RELATIVE));
    folders.push(BUILT_WITH.into());
    folders.iter().any(|folder| folder.join(LIBRARY).is_file())
}

/// The libraries that the system's loader does not find for the engine.
fn missing_libraries(engine: &Path) -> Vec<String> {
    let listed = Command::new(engine)
        .env("LD_TRACE_LOADED_OBJECTS", "1")
        .output();
    let text = listed.map_or(String::new(), |output| {
        String::from_utf8_lossy(&output.stdout).into_owned()
    });
    let missing = text.lines().filter(|line| line.contains("not found"));
    missing
        .filter_map(|line| line.split_whitespace().next().map(String::from))
        .collect()
}

/// Why the engine cannot be started, with what to do.
fn problem(engine: Option<&Path>, folder: &Path) -> Option<String> {
    let Some(engine) = engine else {
        return Some(format!(
            "{ENGINE} is missing from {}: copy both programs, or build them again (./justw setup)",
            folder.display()
        ));
    };
    if libtorch_is_there(engine) {
        return None;
    }
    let missing = missing_libraries(engine);
    (!missing.is_empty()).then(|| {
        format!(
            "{} not found: libtorch lay in {BUILT_WITH} when this program was built; install it \
             there and build again (./justw setup in the checkout), or name its folder in \
             LD_LIBRARY_PATH",
            missing.join(", ")
        )
    })
}

/// How OpenMP's threads wait for their next work; it is read once, as the engine is loaded. By
/// default they spin, which gains nothing on an idle machine and costs most of a busy one.
const WAITING: &str = "OMP_WAIT_POLICY";

/// Lets the engine's threads sleep while they wait, unless the user has said how they wait.
fn let_threads_sleep(command: &mut Command) {
    let is_chosen = [WAITING, "GOMP_SPINCOUNT"]
        .iter()
        .any(|name| env::var_os(name).is_some());
    if !is_chosen {
        command.env(WAITING, "passive");
    }
}

fn main() -> ExitCode {
    let program = env::current_exe().unwrap_or_default();
    let program = program.canonicalize().unwrap_or(program);
    let folder = program.parent().unwrap_or(Path::new("."));
    let engine = find_engine(folder);
    let problem = problem(engine.as_deref(), folder).unwrap_or_else(|| {
        let mut arguments = env::args_os();
        let name = arguments.next();
        let mut command = Command::new(engine.unwrap_or_default());
        command.arg0(name.as_deref().unwrap_or(OsStr::new("egsde")));
        let_threads_sleep(&mut command);
        // It comes back only where the engine cannot be started.
        let error = command.args(arguments).exec();
        format!("{ENGINE} cannot be started: {error}")
    });
    // Standard error may lie on a full disk; the exit code tells then.
    let _ = writeln!(std::io::stderr(), "egsde: {problem}");
    ExitCode::from(2)
}
