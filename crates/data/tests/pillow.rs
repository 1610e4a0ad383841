//! Odd image files, read as Pillow reads them: `odd_images.tar.gz` holds the files and what Pillow
//! made of each (`scripts/compare_pillow.py --write-tests`).

use egsde_data::files::sha256_hex;
use egsde_data::image_file::decode;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Name of the file of the archive with what is expected of the others.
const EXPECTED: &str = "expected.json";

/// The archive's files by name.
fn stored_files() -> BTreeMap<String, Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/odd_images.tar.gz");
    let decoder = flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap());
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(decoder).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(name, bytes);
    }
    files
}

#[test]
fn odd_files_are_read_as_pillow_reads_them_or_refused_with_the_reason() {
    let mut files = stored_files();
    let expected = files.remove(EXPECTED).unwrap();
    let expected: BTreeMap<String, String> = serde_json::from_slice(&expected).unwrap();
    assert_eq!(files.len(), expected.len());
    let mut read_as_pillow = BTreeMap::new();
    for (name, bytes) in &files {
        let found = match decode(bytes) {
            Ok(image) => {
                let (width, height) = (image.width, image.height);
                format!("{width}x{height} {}", sha256_hex(&image.pixels))
            }
            Err(error) => format!("refused {error:#}"),
        };
        let wanted = &expected[name];
        // Where Pillow refuses too, its reason is another one.
        let matches = found == *wanted || (wanted == "refused" && found.starts_with("refused "));
        assert!(matches, "{name}: {found}, expected {wanted}");
        if !wanted.starts_with("refused") {
            let extension = name.rsplit('.').next().unwrap();
            *read_as_pillow.entry(extension).or_insert(0) += 1;
        }
    }
    for (extension, fewest) in [
        ("jpg", 40),
        ("png", 90),
        ("bmp", 90),
        ("tif", 250),
        ("webp", 120),
        ("ppm", 10),
        ("pgm", 10),
    ] {
        let count = read_as_pillow.get(extension).copied().unwrap_or(0);
        assert!(count >= fewest, "only {count} {extension}");
    }
}

#[test]
fn no_cut_or_changed_file_panics() {
    for (name, bytes) in stored_files() {
        let step = bytes.len() / 40 + 1;
        for at in (0..bytes.len()).step_by(step) {
            let _ = decode(&bytes[..at]);
            let mut changed = bytes.clone();
            changed[at] ^= 0x55;
            if let Ok(image) = decode(&changed) {
                assert_eq!(
                    image.pixels.len(),
                    image.width * image.height * 3,
                    "{name} at {at}"
                );
            }
        }
    }
}
