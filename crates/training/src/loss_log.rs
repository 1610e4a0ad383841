//! The loss log of a training run, `loss.csv`, which a resumed run goes on with.

use anyhow::{Context, Result};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Whether a line of the loss log is of a step up to `step`.
fn is_up_to(line: &str, step: u64) -> bool {
    let logged = line
        .split(',')
        .next()
        .and_then(|text| text.parse::<u64>().ok());
    logged.is_some_and(|logged| logged <= step)
}

/// The log, open for appending. Each line begins with its step.
pub(crate) struct LossLog {
    file: File,
    path: PathBuf,
    /// Whether the line with the columns' names is still to be written.
    is_empty: bool,
}

impl LossLog {
    /// Opens a folder's `loss.csv`. Lines after the resumed step, of a run that was killed after
    /// its checkpoint, are removed.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn open(folder: &Path, step: u64) -> Result<Self> {
        let path = folder.join("loss.csv");
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        let lines = old.lines().enumerate();
        let kept = lines.filter(|(number, line)| *number == 0 || is_up_to(line, step));
        let text: String = kept.map(|(_, line)| format!("{line}\n")).collect();
        let is_empty = text.is_empty();
        let at = || format!("cannot write {}", path.display());
        let mut file = File::create(&path).with_context(at)?;
        file.write_all(text.as_bytes()).with_context(at)?;
        Ok(Self {
            file,
            path,
            is_empty,
        })
    }

    /// Adds a line, and in front of the first one the names of its columns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn append(&mut self, header: &str, line: &str) -> Result<()> {
        let header = match self.is_empty {
            true => format!("{header}\n"),
            false => String::new(),
        };
        self.is_empty = false;
        writeln!(self.file, "{header}{line}")
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_log_loses_the_steps_behind_its_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LossLog::open(folder.path(), 0).unwrap();
        for line in ["50,1.5", "100,1.4", "150,1.3"] {
            log.append("step,loss", line).unwrap();
        }
        let mut log = LossLog::open(folder.path(), 100).unwrap();
        log.append("step,loss", "150,1.2").unwrap();
        let text = std::fs::read_to_string(folder.path().join("loss.csv")).unwrap();
        assert_eq!(text, "step,loss\n50,1.5\n100,1.4\n150,1.2\n");
    }
}
