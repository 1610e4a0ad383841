//! The files of a study: the key beside the page, and the answers that raters send back.

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
}

/// One of the two translations of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The left one.
    Left,
    /// The right one.
    Right,
}

/// Name of the study with this key. It is a hash, since the page must not tell the methods.
pub fn study_name(key: &[u8]) -> String {
    sha256_hex(key)[..12].to_string()
}
