//! Sources and their translations, paired by stem.

use super::bad_images::BadImages;
use crate::inputs::image_folder::ImageFolder;
use anyhow::Result;
use egsde_metrics::registry::PerImageValues;
use std::path::PathBuf;

/// A source and its translation.
#[derive(Debug, Clone)]
pub struct ImagePair {
    /// File of the image that was translated.
    pub source: PathBuf,
    /// File of its translation, which has the same stem.
    pub translated: PathBuf,
}

/// Source and translation that were compared, and their values.
#[derive(Debug, Default)]
pub struct ComparedPairs {
    /// Values by metric, in the order of the pairs that were compared.
    pub values: PerImageValues,
    /// Translations of those pairs.
    pub translated: Vec<PathBuf>,
}

/// Source and translation of each stem; what has no counterpart is bad.
///
/// # Errors
/// Invalid input: two images of one folder have one stem.
pub fn pair_up(
    source: &ImageFolder,
    translated: &ImageFolder,
    bad: &mut BadImages,
) -> Result<Vec<ImagePair>> {
    let (sources, translated) = (source.by_stem()?, translated.by_stem()?);
    for (stem, path) in &sources {
        if !translated.contains_key(stem) {
            let path = path.display();
            bad.add(format!("source {path} has no translation named {stem}.*"));
        }
    }
    let mut pairs = Vec::new();
    for (stem, path) in translated {
        match sources.get(&stem) {
            Some(source) => pairs.push(ImagePair {
                source: source.clone(),
                translated: path,
            }),
            None => {
                let path = path.display();
                bad.add(format!("translation {path} has no source named {stem}.*"));
            }
        }
    }
    Ok(pairs)
}
