//! Human evaluation as in the slides' AMT column: a blinded page that asks which of two translations is better, and its score.

mod make;
mod score;

pub use make::{KEY_FILE, Make, make};
pub use score::{Preference, score};

use serde::{Deserialize, Serialize};

/// One question, as the key file beside the page has it; the page itself knows only the number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    pub trial: usize,
    /// Source picture.
    pub picture: String,
    pub left: String,
    pub right: String,
}

/// One answer, as the page exports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Name of this study, so that answers to another are noticed.
    pub study: String,
    pub trial: usize,
    /// left or right.
    pub answer: Side,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Left,
    Right,
}
