//! Which files are images that are read, by their names and first bytes.

use egsde_data::file_kind::file_kind;
use egsde_data::image_file::{self, EXTENSIONS, FORMATS};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Extensions of images of formats that are not read, lower case. Other names are told by content.
const OTHER_EXTENSIONS: [&str; 10] = [
    "gif", "avif", "heic", "heif", "jp2", "jxl", "svg", "psd", "exr", "apng",
];

/// How many of a file's first bytes are read to tell what it is.
const FIRST_BYTES: u64 = 1024;

/// The extension of a file in lower case, without its dot; empty when it has none.
pub fn extension(path: &Path) -> String {
    let extension = path.extension().unwrap_or_default();
    extension.to_string_lossy().to_ascii_lowercase()
}

/// Whether a file's name has the extension of an image that is read.
pub fn has_image_extension(path: &Path) -> bool {
    EXTENSIONS.contains(&extension(path).as_str())
}

/// Whether a file's or folder's name says that it is none of the user's own.
pub fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// The first bytes of a file; none of what is no file or cannot be read.
pub fn first_bytes(path: &Path) -> Option<Vec<u8>> {
    // A pipe would wait for its writer.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(FIRST_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Why a file without the extension of an image that is read is an image all the same; none of
/// other files.
pub fn unread_image(path: &Path) -> Option<String> {
    let bytes = first_bytes(path).unwrap_or_default();
    let (kind, shown) = (file_kind(&bytes), path.display());
    if image_file::is_readable(&bytes) && kind.is_some_and(|kind| kind.is_image) {
        let kind = kind.map_or("an image", |kind| kind.name);
        return Some(format!(
            "{shown}: {kind} without its extension: rename it, or take it out"
        ));
    }
    let by_name = OTHER_EXTENSIONS.contains(&extension(path).as_str());
    match kind.filter(|kind| kind.is_image) {
        Some(kind) => Some(format!(
            "{shown}: it is {}, none of {FORMATS}: convert it, or take it out",
            kind.name
        )),
        None => by_name
            .then(|| format!("{shown}: of a format that is not read ({FORMATS} are): convert it")),
    }
}
