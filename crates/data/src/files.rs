//! Files that are read within bounds, written whole or not at all, and identified by their SHA-256.

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tempfile::NamedTempFile;

/// Lower-case hexadecimal SHA-256 of bytes.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A writer that hashes what is written to it.
struct HashingWriter(Sha256);

impl Write for HashingWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Lower-case hexadecimal SHA-256 of what `write_content` writes, for content too large to hold in
/// memory.
///
/// # Errors
/// Those of `write_content`.
pub fn sha256_stream(write_content: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<String> {
    let mut writer = HashingWriter(Sha256::new());
    write_content(&mut writer)?;
    Ok(hex(&writer.0.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Lower-case hexadecimal SHA-256 of a file of any size.
///
/// # Errors
/// The file cannot be read; the error names it.
pub fn sha256_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).with_context(|| cannot_read(path))? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

/// The error of a path behind which no file is found. Of a link that leads nowhere the system
/// says that there is nothing, though its name is there to see.
fn unreachable_file(path: &Path, error: io::Error) -> anyhow::Error {
    let context = cannot_read(path);
    match (error.kind(), std::fs::read_link(path)) {
        (ErrorKind::NotFound, Ok(target)) => anyhow::Error::new(error).context(format!(
            "{context}: it is a link to {}, which leads nowhere",
            target.display()
        )),
        _ => anyhow::Error::new(error).context(context),
    }
}

/// Reads a whole regular file of at most `max_bytes`.
///
/// # Errors
/// The file is larger, is no regular file (a folder, a pipe, a device), or cannot be read. The
/// first two are found before anything is read.
pub fn read_bounded(path: &Path, max_bytes: u64) -> Result<Vec<u8>> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => bail!(unreachable_file(path, error)),
    };
    ensure!(
        !metadata.is_dir(),
        "cannot read {}: it is a folder, not a file",
        path.display()
    );
    ensure!(
        metadata.is_file(),
        "cannot read {}: not a regular file",
        path.display()
    );
    let size = metadata.len();
    ensure!(
        size <= max_bytes,
        "{} has {size} bytes, more than the {max_bytes} such a file may have",
        path.display()
    );
    let mut bytes = Vec::with_capacity(size as usize);
    let file = File::open(path).with_context(|| cannot_read(path))?;
    // The bound holds even when the file has grown since its size was read.
    file.take(max_bytes)
        .read_to_end(&mut bytes)
        .with_context(|| cannot_read(path))?;
    Ok(bytes)
}

/// Reads a text file; see [`read_bounded`] and [`decode_text`].
///
/// # Errors
/// Those of [`read_bounded`], and content that is no text.
pub fn read_text(path: &Path, max_bytes: u64) -> Result<String> {
    let bytes = read_bounded(path, max_bytes)?;
    decode_text(bytes).with_context(|| format!("{} is not text (UTF-8)", path.display()))
}

/// Text as editors and shells save it: UTF-8, or UTF-16 with a byte order mark, which is left out.
///
/// # Errors
/// The line with the first byte that is no text.
pub fn decode_text(bytes: Vec<u8>) -> Result<String> {
    const MARK: char = '\u{feff}';
    let text = match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => decode_utf16(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => decode_utf16(rest, u16::from_be_bytes)?,
        _ => match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
                bail!("line {line} holds other bytes: save it as UTF-8")
            }
        },
    };
    match text.strip_prefix(MARK) {
        Some(rest) => Ok(rest.to_string()),
        None => Ok(text),
    }
}

/// Text of pairs of bytes.
fn decode_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
    match String::from_utf16(&units) {
        Ok(text) if rest.is_empty() => Ok(text),
        _ => bail!("it begins as UTF-16 and is cut or damaged: save it as UTF-8"),
    }
}

/// End of the names of temporary files. The owner of a folder may remove those that a killed
/// process left in it.
pub const TEMPORARY: &str = ".tmp";

/// Characters of a file's name that its temporary file carries.
const TEMPORARY_CHARACTERS: usize = 32;

/// Writes a file whole or not at all: a temporary file in the same folder is written, synced and
/// renamed. Missing folders are created.
///
/// # Errors
/// The file cannot be written; the error names it, and an older file of that name stays as it was.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_and_rename(path, bytes, Existing::Replace).with_context(|| cannot_write(path))
}

/// Checks that a file can be written, before the work whose result it is to hold. Missing folders
/// are created.
///
/// # Errors
/// The path is a folder or no path that the file system takes, or nothing can be written beside it;
/// the error names it.
pub fn check_writable(path: &Path) -> Result<()> {
    ensure!(!path.is_dir(), "{} is a folder, not a file", path.display());
    match path.symlink_metadata() {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| cannot_write(path));
        }
        _ => {}
    }
    let folder = parent_folder(path);
    std::fs::create_dir_all(folder).with_context(|| cannot_write(path))?;
    temporary_in(folder, ".trial.").with_context(|| cannot_write(path))?;
    Ok(())
}

/// Makes a folder, with the folders above it.
///
/// # Errors
/// The folder cannot be made; the error names it.
pub fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// Makes a folder for what a command writes, with the folders above it.
///
/// # Errors
/// The folder cannot be made or nothing can be written in it, or a file has its name; the error
/// names it.
pub fn make_writable_folder(folder: &Path) -> Result<()> {
    let cannot_write = || format!("cannot write to {}", folder.display());
    let first_there = folder
        .ancestors()
        .find(|part| part.symlink_metadata().is_ok());
    if let Some(part) = first_there.filter(|part| part.exists() && !part.is_dir()) {
        bail!(
            "{}: {} is a file, not a folder",
            cannot_write(),
            part.display()
        );
    }
    std::fs::create_dir_all(folder).with_context(cannot_write)?;
    temporary_in(folder, ".trial.").with_context(cannot_write)?;
    Ok(())
}

/// A file that is removed unless it gets another name, for everyone whom the user's umask lets read
/// it. Its name is unique over processes and machines, and no error names it: it means nothing to
/// the user.
fn temporary_in(folder: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).suffix(TEMPORARY);
    builder.make_in(folder, |path| {
        let mut options = File::options();
        options.read(true).write(true).create_new(true).mode(0o666);
        options.open(path)
    })
}

/// As [`write_atomically`], but never over something that is there.
///
/// # Errors
/// Those of [`write_atomically`], and something of that name.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    write_and_rename(path, bytes, Existing::Keep).with_context(|| cannot_write(path))
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

/// What becomes of a file that has the name already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Replace,
    Keep,
}

/// The folder that a file lies in.
fn parent_folder(path: &Path) -> &Path {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

fn write_and_rename(path: &Path, bytes: &[u8], existing: Existing) -> io::Result<()> {
    let folder = parent_folder(path);
    std::fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // A name that the file system just takes must not become too long by what is added.
    let begins: String = name.chars().take(TEMPORARY_CHARACTERS).collect();
    let prefix = format!(".{begins}.");
    let mut file = temporary_in(folder, &prefix)?;
    file.as_file_mut().write_all(bytes)?;
    file.as_file().sync_all()?;
    match existing {
        Existing::Replace => file.persist(path)?,
        Existing::Keep => file.persist_noclobber(path)?,
    };
    // The new name itself has to survive a power cut. Some file systems cannot sync a folder, which
    // is no reason to fail.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_written_in_pieces_hashes_like_the_whole() {
        let streamed = sha256_stream(|writer| {
            for piece in ["a", "", "bc"] {
                writer.write_all(piece.as_bytes())?;
            }
            Ok(())
        });
        assert_eq!(streamed.unwrap(), sha256_hex(b"abc"));
    }

    #[test]
    fn a_file_that_is_too_large_or_not_regular_is_refused_unread() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        write_atomically(&path, b"12345").unwrap();
        assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
        let error = read_bounded(&path, 4).unwrap_err().to_string();
        assert!(error.contains("5 bytes, more than the 4"), "{error}");
        for (path, reason) in [
            (folder.path(), "it is a folder, not a file"),
            (Path::new("/dev/zero"), "not a regular file"),
        ] {
            let error = read_bounded(path, 9).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        let error = format!("{:#}", read_bounded(&link, 9).unwrap_err());
        assert!(error.contains("it is a link to nowhere"), "{error}");
        write_atomically(&path, b"ab\n\xff").unwrap();
        let error = format!("{:#}", read_text(&path, 9).unwrap_err());
        assert!(error.contains("not text (UTF-8): line 2"), "{error}");
    }

    #[test]
    fn text_is_read_as_editors_save_it() {
        let little: Vec<u8> = "\u{feff}aλ\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let big: Vec<u8> = "\u{feff}aλ\n"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        for bytes in ["aλ\n".into(), "\u{feff}aλ\n".into(), little.clone(), big] {
            assert_eq!(decode_text(bytes).unwrap(), "aλ\n");
        }
        let error = decode_text(little[..5].to_vec()).unwrap_err().to_string();
        assert!(error.contains("UTF-16"), "{error}");
    }

    #[test]
    fn a_name_as_long_as_the_file_system_takes_is_written() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a".repeat(255), "é".repeat(127)] {
            let path = folder.path().join(name);
            write_atomically(&path, b"x").unwrap();
            assert_eq!(std::fs::read(path).unwrap(), b"x");
        }
    }

    #[test]
    fn a_new_file_is_never_written_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        write_new(&path, b"first").unwrap();
        let error = format!("{:#}", write_new(&path, b"second").unwrap_err());
        assert!(
            error.contains("cannot write") && error.contains("exists"),
            "{error}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("taken")).unwrap();
        std::fs::write(folder.path().join("taken/in"), "x").unwrap();
        let error = check_writable(&folder.path().join("taken")).unwrap_err();
        assert!(error.to_string().contains("is a folder"), "{error}");
        let below_a_file = folder.path().join("taken/in/x.npz");
        let error = check_writable(&below_a_file).unwrap_err().to_string();
        assert!(
            error.contains("cannot write") && error.contains("x.npz"),
            "{error}"
        );
        check_writable(&folder.path().join("new")).unwrap();
        let too_long = folder.path().join("x".repeat(300));
        let error = format!("{:#}", check_writable(&too_long).unwrap_err());
        assert!(error.contains("File name too long"), "{error}");
        let error = make_writable_folder(&below_a_file).unwrap_err().to_string();
        assert!(
            error.contains("taken/in is a file, not a folder"),
            "{error}"
        );
        // What the temporary file is called means nothing to the user.
        for written in [
            write_atomically(Path::new("/proc/x"), b"x"),
            check_writable(Path::new("/proc/x")),
            make_writable_folder(Path::new("/proc/self")),
        ] {
            let error = format!("{:#}", written.unwrap_err());
            assert!(error.contains("cannot write"), "{error}");
            assert!(!error.contains(TEMPORARY), "{error}");
        }
        // A folder that is not empty cannot be replaced by a file.
        assert!(write_atomically(&folder.path().join("taken"), b"new").is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
