//! The files of a study: the key beside the page, and the answers that raters send back.

use anyhow::Result;
use egsde_data::files::sha256_hex;
use serde::{Deserialize, Serialize};

/// The file that says which methods stand where. It stays with the people who run the study.
pub const KEY_FILE: &str = "key.csv";

/// One question, as the key has it; the page itself knows only the number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Its number, from 0.
    pub trial: usize,
    /// Name of the source image.
    pub picture: String,
    /// The row on the left.
    pub left: String,
    /// The row on the right.
    pub right: String,
}

/// One answer, as the page exports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Name of the study, so that answers to another are noticed.
    pub study: String,
    /// Number of the question.
    pub trial: usize,
    /// The preferred one.
    pub answer: Side,
    /// What tells raters apart: the page draws it for each. Empty in files without it.
    #[serde(default)]
    pub rater: String,
}

/// One of the two translations of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The left one.
    Left,
    /// The right one.
    Right,
}

/// The bytes of the key file.
///
/// # Errors
/// None in practice: the text is written into memory.
pub fn key_bytes(trials: &[Trial]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for trial in trials {
        writer.serialize(trial)?;
    }
    Ok(writer.into_inner()?)
}

/// Name of the study with this key. It is a hash, since the page must not tell the methods.
pub fn study_name(key: &[u8]) -> String {
    sha256_hex(key)[..12].to_string()
}
