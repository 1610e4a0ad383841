//! What a file is by its first bytes: for messages about files that are not what was asked for.

/// What a file is by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileKind {
    /// Its name with an article.
    pub name: &'static str,
    /// Whether it is an image, of whatever format.
    pub is_image: bool,
}

const fn image(name: &'static str) -> FileKind {
    FileKind {
        name,
        is_image: true,
    }
}

const fn other(name: &'static str) -> FileKind {
    FileKind {
        name,
        is_image: false,
    }
}

/// Name of the kind that `.npz` archives and PyTorch's newer files are of too.
pub const ZIP: &str = "a zip archive";

/// First bytes of kinds of files.
const KINDS: [(&[u8], FileKind); 23] = [
    (b"\xff\xd8\xff", image("a JPEG")),
    (b"\x89PNG", image("a PNG")),
    (b"GIF8", image("a GIF")),
    (b"II*\0", image("a TIFF")),
    (b"MM\0*", image("a TIFF")),
    (b"II+\0", image("a BigTIFF")),
    (b"MM\0+", image("a BigTIFF")),
    (b"\0\0\0\x0cjP  ", image("a JPEG 2000")),
    (b"\xff\x4f\xff\x51", image("a JPEG 2000")),
    (b"\0\0\0\x0cJXL ", image("a JPEG XL")),
    (b"\xff\x0a", image("a JPEG XL")),
    (b"8BPS", image("a Photoshop file")),
    (b"v/1\x01", image("an OpenEXR file")),
    (b"#?RADIANCE", image("a Radiance HDR file")),
    (b"DDS ", image("a DDS texture")),
    (
        b"\0\x05\x16\x07",
        other("a leftover of macOS (AppleDouble)"),
    ),
    (
        b"version https://git-lfs",
        other("a Git LFS pointer (git lfs pull fetches the file itself)"),
    ),
    (b"%PDF", other("a PDF")),
    (b"PK\x03\x04", other(ZIP)),
    (b"\x1f\x8b", other("a gzip archive")),
    (b"\x93NUMPY", other("a NumPy array (.npy)")),
    (b"\x89HDF", other("an HDF5 file")),
    (b"\x80\x02", other("a pickle")),
];

/// Kinds of files whose mark stands behind the first bytes, with the mark's place.
const PLACED_KINDS: [(usize, &[u8], FileKind); 6] = [
    (8, b"WEBP", image("a WebP")),
    (4, b"ftypavif", image("an AVIF")),
    (4, b"ftypavis", image("an AVIF")),
    (4, b"ftyphei", image("a HEIC")),
    (4, b"ftypmif1", image("a HEIF")),
    (4, b"ftyp", other("a video or HEIF file")),
];

/// Bytes that are looked at, at most.
const LOOKED_AT: usize = 1024;

/// Text may begin with the two letters too; the size of a header follows them in images alone.
fn bmp_kind(bytes: &[u8]) -> Option<FileKind> {
    let size = bytes.get(14..18)?;
    let is_size = [12, 40, 52, 56, 64, 108, 124].contains(&size[0]) && size[1..] == [0; 3];
    (bytes.starts_with(b"BM") && is_size).then_some(image("a BMP"))
}

fn page_kind(bytes: &[u8]) -> Option<FileKind> {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with("<!doctype html") || text.starts_with("<html") {
        return Some(other(
            "a web page: the download failed (a quota or a login)",
        ));
    }
    if text.starts_with('<') && text.contains("<svg") {
        return Some(image("an SVG drawing"));
    }
    None
}

/// What a file is, from its first bytes (1,024 are enough); none when it is not known.
pub fn file_kind(bytes: &[u8]) -> Option<FileKind> {
    let bytes = &bytes[..bytes.len().min(LOOKED_AT)];
    if bytes.is_empty() {
        return Some(other("empty"));
    }
    if bytes.iter().all(|byte| *byte == 0) {
        return Some(other("nothing but zeros (a copy that was cut off)"));
    }
    let placed = PLACED_KINDS
        .iter()
        .find(|(at, mark, _)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(mark)));
    let first = KINDS.iter().find(|(mark, _)| bytes.starts_with(mark));
    placed
        .map(|(_, _, kind)| *kind)
        .or(first.map(|(_, kind)| *kind))
        .or_else(|| bmp_kind(bytes))
        .or_else(|| page_kind(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_kinds_are_known_by_their_first_bytes() {
        for (bytes, name) in [
            (b"".as_slice(), "empty"),
            (b"\xff\xd8\xff\xe0", "a JPEG"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "a WebP"),
            (b"\0\0\0\x20ftypavif\0\0", "an AVIF"),
            (b"\xef\xbb\xbf\n<!DOCTYPE HTML>", "web page"),
            (b"<?xml version='1.0'?><svg/>", "an SVG"),
            (b"version https://git-lfs.github.com/spec/v1", "LFS pointer"),
            (&[0; 40], "zeros"),
        ] {
            let found = file_kind(bytes).unwrap().name;
            assert!(found.contains(name), "{found} for {name}");
        }
        assert_eq!(file_kind(b"any text"), None);
        assert_eq!(file_kind(b"BMW, and other makes of cars"), None);
        assert!(file_kind(b"GIF89a").unwrap().is_image);
        assert!(!file_kind(b"%PDF-1.7").unwrap().is_image);
    }
}
