//! Folders of images beside FID Inception's weights by formula, for `egsde eval`.

use super::{Assert, egsde};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A folder of the golden cases' images.
pub fn golden_images(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/images")
        .join(name)
}

/// Folders beside FID Inception's synthetic weights of the golden cases.
pub struct Evaluation {
    pub folder: tempfile::TempDir,
    pub inception: PathBuf,
}

/// What `egsde eval` is asked.
pub struct Question<'a> {
    /// Folder of sources, where they take part.
    pub source: Option<&'a Path>,
    /// What is scored.
    pub translated: &'a Path,
    /// What it is compared with.
    pub target: &'a Path,
    /// Further options.
    pub options: &'a [&'a str],
}

/// FID Inception's weights by formula, made once per test program.
fn inception_by_formula() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let program = std::env::current_exe().unwrap();
        let name = program.file_stem().unwrap().to_string_lossy();
        // Cargo puts a hash behind the name, another one after a change.
        let name = name.split('-').next().unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let file = folder.join(format!("{name}-inception.safetensors"));
        let _ = std::fs::remove_file(&file);
        let network = "configs/networks/fid_inception.yaml";
        let path = file.to_str().unwrap();
        let arguments = ["--network", network, "--gain", "1.6", path];
        egsde(&[["weights", "synthesize"].as_slice(), &arguments].concat()).success();
        file
    })
}

impl Evaluation {
    /// An empty folder beside the weights.
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            inception: inception_by_formula().into(),
        }
    }

    /// A path in the folder.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    /// A folder of three of the reference's images, for adding bad ones.
    pub fn three_images(&self, name: &str) -> PathBuf {
        let folder = self.path(name);
        std::fs::create_dir(&folder).unwrap();
        for name in ["im0.jpg", "im1.jpg", "im2.jpg"] {
            std::fs::copy(golden_images("a").join(name), folder.join(name)).unwrap();
        }
        folder
    }

    /// The end of `egsde eval --json` with weights of this path.
    pub fn ask_with(&self, inception: &Path, question: &Question) -> Assert {
        let mut arguments = vec!["eval", "--json", "--inception", inception.to_str().unwrap()];
        if let Some(source) = question.source {
            arguments.extend(["--source", source.to_str().unwrap()]);
        }
        arguments.extend(["--translated", question.translated.to_str().unwrap()]);
        arguments.extend(["--target", question.target.to_str().unwrap()]);
        arguments.extend(question.options);
        egsde(&arguments)
    }

    /// The end of `egsde eval` with these arguments and the weights by formula.
    pub fn eval(&self, arguments: &[&str]) -> Assert {
        let inception = ["eval", "--inception", self.inception.to_str().unwrap()];
        egsde(&[inception.as_slice(), arguments].concat())
    }

    /// The end of `egsde eval --json`.
    pub fn ask(&self, question: &Question) -> Assert {
        self.ask_with(&self.inception, question)
    }
}
