//! Whole projects in folders of their own, for changing and breaking their files.

use super::{Assert, AssertText, OutputAssertExt, checkout, copy_folder, edited, egsde_in};
use egsde_data::files::sha256_file;
use egsde_runner::project::Project;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A project's folder with the experiment file `e.yaml`.
pub struct TestProject {
    folder: tempfile::TempDir,
}

/// What the embedded scale needs.
const EMBEDDED: [&str; 5] = [
    "configs/tasks",
    "datasets",
    "datasets/embedded",
    "checkpoints/embedded",
    "results",
];

/// Copies the files of a folder, without the folders in it.
fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from)
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().is_file())
    {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

impl TestProject {
    /// A project with the checkout's embedded tasks, networks and images, and an experiment.
    pub fn embedded(experiment: &str) -> Self {
        let project = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for part in EMBEDDED {
            copy_files(&checkout().join(part), &project.path(part));
        }
        project.write("e.yaml", experiment);
        project
    }

    /// A copy of a project in `tests/fixtures`.
    pub fn fixture(name: &str) -> Self {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let project = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        copy_folder(&fixtures.join(name), project.folder.path());
        project
    }

    /// A path inside its folder.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    /// The project as the library knows it, with nothing remembered.
    pub fn open(&self) -> Project {
        Project::new(self.folder.path())
    }

    /// The binary in its folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut egsde = egsde_in(self.folder.path());
        egsde.args(arguments);
        egsde
    }

    /// The end of the binary in its folder.
    pub fn egsde(&self, arguments: &[&str]) -> Assert {
        self.command(arguments).assert()
    }

    /// The end of `egsde run e.yaml`.
    pub fn run(&self) -> Assert {
        self.egsde(&["run", "e.yaml"])
    }

    /// The table as JSON.
    #[track_caller]
    pub fn table(&self) -> Value {
        self.egsde(&["table", "e.yaml", "--json"]).printed_json()
    }

    /// The text of a file.
    pub fn read(&self, inside: &str) -> String {
        std::fs::read_to_string(self.path(inside)).unwrap()
    }

    /// Writes a file, and the folders it needs.
    pub fn write(&self, inside: &str, contents: impl AsRef<[u8]>) {
        let path = self.path(inside);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }

    /// Replaces a part of a file, which must be there.
    #[track_caller]
    pub fn replace(&self, inside: &str, from: &str, to: &str) {
        self.write(inside, edited(&self.read(inside), from, to));
    }

    /// Removes a file.
    pub fn remove(&self, inside: &str) {
        std::fs::remove_file(self.path(inside)).unwrap();
    }

    /// Writes weights by formula for the network of a configuration file.
    #[track_caller]
    pub fn synthesize(&self, network: &str, gain: &str, file: &str) {
        let options = ["--network", network, "--gain", gain, file];
        self.egsde(&[["weights", "synthesize"].as_slice(), &options].concat())
            .success();
    }

    /// Flips one bit of a file, counted from its end.
    pub fn flip_bit(&self, inside: &str, bytes_from_end: usize) {
        let mut bytes = std::fs::read(self.path(inside)).unwrap();
        let at = bytes.len() - bytes_from_end;
        bytes[at] ^= 1;
        self.write(inside, bytes);
    }

    /// Flips the last bit of a weight file's last number, and puts the file's new hash into a task.
    pub fn change_weights(&self, weights: &str, task: &str) {
        let before = sha256_file(&self.path(weights)).unwrap();
        self.flip_bit(weights, 4);
        let after = sha256_file(&self.path(weights)).unwrap();
        self.replace(task, &before, &after);
    }
}
