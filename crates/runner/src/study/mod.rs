//! Human evaluation as in the slides' AMT column: a blinded page that asks which of two
//! translations is better, and the score of its answers.

mod make;
mod records;
mod score;

pub use make::{StudySettings, make_study};
pub use records::{Answer, KEY_FILE, Side, Trial};
pub use score::{Preference, score_study};
