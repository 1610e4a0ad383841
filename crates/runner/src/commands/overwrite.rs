//! Weight files that a command writes where the user says: never over something that it did not
//! make, unless asked to.

use crate::error::invalid_input;
use anyhow::Result;
use egsde_data::files::{check_writable, write_atomically, write_new};
use egsde_models::weights::read_metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Metadata key under which a weight file says which command made it.
pub const COMMAND_KEY: &str = "egsde.command";

/// An output of a command.
#[derive(Debug, Clone, Copy)]
pub struct Output<'a> {
    /// Where it is written.
    pub path: &'a Path,
    /// The command, as its files name it under [`COMMAND_KEY`].
    pub command: &'a str,
    /// Whether the user allows to write over another file.
    pub force: bool,
}

/// The command that made a weight file, where the file says so.
fn made_by(path: &Path) -> Option<String> {
    read_metadata(path)?.remove(COMMAND_KEY)
}

impl Output<'_> {
    /// Whether what is there may be replaced.
    fn may_replace(&self) -> bool {
        self.force || made_by(self.path).is_some_and(|command| command == self.command)
    }

    /// Refuses to write over what is there or where nothing can be written, before any work is
    /// done for it.
    ///
    /// # Errors
    /// Invalid input: something of that name, which the command did not make; or it is no regular
    /// file, which nothing may replace; or the folder cannot be written.
    pub fn check(&self) -> Result<()> {
        let Ok(found) = self.path.symlink_metadata() else {
            return self.check_writable();
        };
        let at = self.path.display();
        let is_file = self
            .path
            .metadata()
            .map_or(found.is_symlink(), |m| m.is_file());
        if self.path.is_dir() {
            return Err(invalid_input(format!("{at} is a folder: name a file")));
        }
        if !is_file {
            return Err(invalid_input(format!(
                "{at} is no regular file: name another one"
            )));
        }
        if self.may_replace() {
            return self.check_writable();
        }
        Err(invalid_input(format!(
            "{at} is there already: give another name, or --force to write over it"
        )))
    }

    fn check_writable(&self) -> Result<()> {
        check_writable(self.path).map_err(|error| invalid_input(format!("{error:#}")))
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// Invalid input: as [`Output::check`], or the file cannot be written.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        self.check()?;
        let written = match self.may_replace() {
            true => write_atomically(self.path, bytes),
            // Whatever has come into being since then stays.
            false => write_new(self.path, bytes),
        };
        written.map_err(|error| invalid_input(format!("{error:#}")))
    }
}

/// Refuses an output that is the input, under whatever name.
///
/// # Errors
/// Invalid input: both are one file.
pub fn check_apart(input: &Path, output: &Path) -> Result<()> {
    let (Ok(from), Ok(to)) = (input.metadata(), output.metadata()) else {
        return Ok(());
    };
    if (from.dev(), from.ino()) == (to.dev(), to.ino()) {
        return Err(invalid_input(format!(
            "{} is the input itself: give another name",
            output.display()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(path: &Path, force: bool) -> Output<'_> {
        Output {
            path,
            command: "weights test",
            force,
        }
    }

    #[test]
    fn nothing_is_written_over_what_is_there_unless_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        output(&path, false).check().unwrap();
        std::fs::write(&path, "mine").unwrap();
        let error = output(&path, false).write(b"new").unwrap_err().to_string();
        assert!(error.contains("notes.txt") && error.contains("--force"));
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        output(&path, true).write(b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        for other in [folder.path(), Path::new("/dev/null")] {
            assert!(output(other, true).check().is_err(), "{}", other.display());
        }
        let error = output(Path::new("/proc/x"), false)
            .check()
            .unwrap_err()
            .to_string();
        assert!(error.contains("cannot write /proc/x"), "{error}");
        // A link that leads nowhere has the name too.
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert!(output(&link, false).check().is_err());
    }

    #[test]
    fn what_the_command_made_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        for (command, may) in [("weights test", true), ("weights other", false)] {
            let path = folder.path().join(command);
            let header = format!(r#"{{"__metadata__":{{"{COMMAND_KEY}":"{command}"}}}}"#);
            let length = (header.len() as u64).to_le_bytes();
            std::fs::write(&path, [&length[..], header.as_bytes()].concat()).unwrap();
            assert_eq!(output(&path, false).check().is_ok(), may, "{command}");
        }
    }

    #[test]
    fn the_input_is_known_under_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link, other] = ["w.pth", "link.pth", "other"].map(|n| folder.path().join(n));
        std::fs::write(&file, "weights").unwrap();
        std::fs::hard_link(&file, &link).unwrap();
        assert!(check_apart(&file, &link).is_err());
        check_apart(&file, &other).unwrap();
    }
}
