//! What kind of file a file is: one of the formats of weights, or something else that people take
//! for one, named for what it is.

use crate::weights::MAX_HEADER_BYTES;
use anyhow::{Result, bail, ensure};

/// A format of weight files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Safetensors,
    /// PyTorch's zip archive, since version 1.6.
    Zip,
    /// PyTorch's format before that.
    Legacy,
}

/// What a file that is no weights begins with, and what to say of it.
const OTHERS: [(&[u8], &str); 17] = [
    (
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer, not the file that it points to: git lfs pull",
    ),
    (
        b"/annex/objects/",
        "a git-annex pointer, not the file that it points to: git annex get",
    ),
    (b"\x1f\x8b", "a gzip archive: unpack it first (gunzip, tar)"),
    (b"BZh", "a bzip2 archive: unpack it first"),
    (b"\xfd7zXZ\0", "an xz archive: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file (Keras), not weights of PyTorch",
    ),
    (b"\x93NUMPY", "one NumPy array (.npy), without names"),
    (b"GGUF", "weights of llama.cpp (GGUF), not of PyTorch"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF document"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3\0", "an SQLite database"),
    (
        b"PK\x05\x06",
        "an empty zip archive: the download failed; fetch it again",
    ),
];

/// Bytes that are looked at to tell a text.
const HEAD: usize = 512;

/// The format of a file's bytes.
///
/// # Errors
/// The file is none of them; the error says what it is.
pub(super) fn format(bytes: &[u8]) -> Result<Format> {
    ensure!(!bytes.is_empty(), "the file is empty");
    if looks_like_safetensors(bytes)? {
        return Ok(Format::Safetensors);
    }
    match bytes {
        [b'P', b'K', 3, 4, ..] => return Ok(Format::Zip),
        [0x80, 2..=5, ..] => return Ok(Format::Legacy),
        _ => {}
    }
    if let Some((_, what)) = OTHERS.iter().find(|(start, _)| bytes.starts_with(start)) {
        bail!("it is {what}");
    }
    if bytes.get(257..262) == Some(b"ustar") {
        bail!("it is a tar archive: unpack it first");
    }
    if bytes.iter().all(|byte| *byte == 0) {
        bail!("it holds nothing but zeros: the download did not finish; fetch it again");
    }
    name_text(&bytes[..bytes.len().min(HEAD)])?;
    bail!(
        "it is neither safetensors nor a PyTorch checkpoint (first bytes {:02x?})",
        &bytes[..bytes.len().min(8)]
    )
}

/// Refuses a text by what it is.
fn name_text(head: &[u8]) -> Result<()> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let head = String::from_utf8_lossy(head.trim_ascii()).to_lowercase();
    if head.starts_with("<!doctype html") || head.starts_with("<html") || head.starts_with('<') {
        bail!(
            "it is a web page, not weights: the download failed (a quota or a login); fetch it \
             again"
        );
    }
    if head.starts_with('{') && head.contains("\"weight_map\"") {
        bail!("it is the list of a checkpoint's parts, not weights: give the parts");
    }
    if head.starts_with('{') || head.starts_with('[') {
        bail!("it is a JSON text, not weights");
    }
    let is_text = head.chars().all(|c| !c.is_control() || c.is_whitespace());
    if is_text && !head.contains('\u{fffd}') {
        let start: String = head.chars().take(40).collect();
        bail!("it is a text, not weights: it begins {start:?}");
    }
    Ok(())
}

/// Whether the bytes start with a header's length and a JSON object. Errors where the header or
/// the file ends early.
fn looks_like_safetensors(bytes: &[u8]) -> Result<bool> {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Ok(false);
    };
    let length = u64::from_le_bytes(*length);
    // No text begins so.
    if rest.first() != Some(&b'{') || length > MAX_HEADER_BYTES {
        return Ok(false);
    }
    ensure!(
        length <= rest.len() as u64,
        "it is a truncated safetensors file: its header has {length} bytes, {} are there; fetch \
         it again",
        rest.len()
    );
    Ok(true)
}

/// What a zip archive without PyTorch's files is, from the names in it.
pub(super) fn other_archive(names: &[&str]) -> String {
    let holds = |ends: &[&str]| {
        names
            .iter()
            .any(|n| ends.iter().any(|end| n.ends_with(end)))
    };
    if names.iter().all(|name| name.ends_with(".npy")) {
        return "it is a NumPy archive (.npz), not weights of PyTorch".into();
    }
    if holds(&["serialized_exported_program.json", "archive_format"]) {
        return "it is a program (torch.export), not weights: save model.state_dict()".into();
    }
    let listed = names.iter().take(4).copied().collect::<Vec<_>>().join(", ");
    let more = if names.len() > 4 { ", ..." } else { "" };
    let advice = match holds(&[".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".pkl"]) {
        true => ": unpack it first",
        false => "",
    };
    format!("it is a zip archive of {listed}{more}, not a checkpoint (no data.pkl inside){advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_wrong_file_is_named_for_what_it_is() {
        let tar = [&[b'a'; 257][..], b"ustar\x0000"].concat();
        let cut = [&200u64.to_le_bytes()[..], b"{\"a\":"].concat();
        for (bytes, part) in [
            (
                &b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"[..],
                "Git LFS pointer",
            ),
            (b"\n<!DOCTYPE html><html>quota</html>", "web page"),
            (b"\xef\xbb\xbf <html>", "web page"),
            (b"<?xml version=\"1.0\"?><Error>AccessDenied", "web page"),
            (b"{\"error\": \"gated\"}", "JSON"),
            (b"{\"metadata\": {}, \"weight_map\": {}}", "parts"),
            (b"Access to this file is denied", "a text"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"\x89HDF\r\n\x1a\n", "HDF5"),
            (b"\x93NUMPY\x01", "NumPy"),
            (&tar, "tar archive"),
            (&cut, "truncated safetensors"),
            (&[0; 600], "zeros"),
            (b"", "empty"),
            (b"\x08\x07\x12\x07pytorch\x1a", "neither"),
        ] {
            let error = format(bytes).unwrap_err().to_string();
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }

    #[test]
    fn an_archive_is_named_by_what_is_in_it() {
        for (names, part) in [
            (&["x.npy", "y.npy"][..], "NumPy"),
            (&["afhq_dog_4m.pt", "readme"], "unpack it first"),
            (&["a", "b", "c", "d", "e"], "a, b, c, d, ..."),
        ] {
            let text = other_archive(names);
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
    }
}
