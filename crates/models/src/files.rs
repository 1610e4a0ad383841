//! Files read within bounds, written whole or not at all, and known by their SHA-256.

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Lower-case hexadecimal SHA-256 of bytes.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The same of whatever is written in pieces, for what is too large to put together first.
///
/// # Errors
/// Those of `pieces`.
pub fn sha256_of(pieces: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<String> {
    struct Pieces(Sha256);
    impl Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut hasher = Pieces(Sha256::new());
    pieces(&mut hasher)?;
    Ok(hex(&hasher.0.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| {
            [
                DIGITS[usize::from(b >> 4)] as char,
                DIGITS[usize::from(b & 15)] as char,
            ]
        })
        .collect()
}

/// Lower-case hexadecimal SHA-256 of a file, read in pieces.
pub fn sha256_file(path: &Path) -> Result<String> {
    let mut file =
        std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match std::io::Read::read(&mut file, &mut buffer)
            .with_context(|| format!("cannot read {}", path.display()))?
        {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// Reads a whole regular file of at most `most` bytes; anything else (a pipe, a device, something huge) is refused unread.
pub fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>> {
    let about =
        std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        about.is_file(),
        "cannot read {}: not a regular file",
        path.display()
    );
    ensure!(
        about.len() <= most,
        "{} has {} bytes, more than the {most} such a file may have",
        path.display(),
        about.len()
    );
    let mut bytes = Vec::with_capacity(about.len() as usize);
    let file =
        std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    // It may have grown since.
    file.take(most)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

/// The same as text.
pub fn read_text(path: &Path, most: u64) -> Result<String> {
    String::from_utf8(read_bounded(path, most)?)
        .with_context(|| format!("{} is not text (UTF-8)", path.display()))
}

/// End of the temporary names; whoever owns a folder may remove those a killed process left.
pub const TEMPORARY: &str = ".tmp";

/// Temporary name, fsync, rename; makes the folder when it is missing.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let folder = path
            .parent()
            .filter(|f| !f.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let prefix = format!(
            ".{}.",
            path.file_name().unwrap_or_default().to_string_lossy()
        );
        let mut builder = tempfile::Builder::new();
        // A name no other process on any machine has; readable by whoever the user's umask lets.
        builder
            .prefix(&prefix)
            .suffix(TEMPORARY)
            .permissions(std::fs::Permissions::from_mode(0o666));
        let mut file = builder.tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        // The new name itself must survive a power cut; a file system that cannot sync a folder is not asked twice.
        let _ = std::fs::File::open(folder).and_then(|f| f.sync_all());
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_hash_like_the_whole() {
        let pieces = sha256_of(|to| {
            Ok(["a", "", "bc"]
                .iter()
                .try_for_each(|piece| to.write_all(piece.as_bytes()))?)
        })
        .unwrap();
        assert_eq!(pieces, sha256_hex(b"abc"));
    }

    #[test]
    fn what_is_too_large_or_no_file_is_refused_unread() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        write_atomically(&path, b"12345").unwrap();
        assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
        assert!(
            read_bounded(&path, 4)
                .unwrap_err()
                .to_string()
                .contains("5 bytes, more than the 4")
        );
        assert!(
            read_bounded(folder.path(), 9)
                .unwrap_err()
                .to_string()
                .contains("not a regular file")
        );
        assert!(
            read_bounded(Path::new("/dev/zero"), 9)
                .unwrap_err()
                .to_string()
                .contains("not a regular file")
        );
        write_atomically(&path, b"\xff\xfe").unwrap();
        assert!(
            read_text(&path, 9)
                .unwrap_err()
                .to_string()
                .contains("not text")
        );
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("taken")).unwrap();
        std::fs::write(folder.path().join("taken/in"), "x").unwrap();
        // A folder that is not empty cannot be replaced by a file.
        assert!(write_atomically(&folder.path().join("taken"), b"new").is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
