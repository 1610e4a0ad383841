//! Writes the page and its key.

use super::Trial;
use crate::error::{Problem, UserError};
use crate::html::{data_uri, document};
use crate::plan::Plan;
use crate::store::JobFolder;
use anyhow::Result;
use egsde_metrics::pictures::Pictures;
use egsde_models::files::{sha256_hex, write_atomically};
use maud::{PreEscaped, html};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;

const STYLE: &str = include_str!("../../../../assets/study/style.css");
const SCRIPT: &str = include_str!("../../../../assets/study/study.js");

/// Which methods stand where; stays with whoever runs the study.
pub const KEY_FILE: &str = "key.csv";

/// What a study asks.
#[derive(Debug, Clone)]
pub struct Make {
    /// The row under study and the one it stands against.
    pub rows: [String; 2],
    /// Sources, from the first.
    pub pictures: usize,
    /// Of the order and the sides.
    pub seed: u64,
}

/// Pictures of a row at its first seed.
fn translations(plan: &Plan, row: &str, names: &[String]) -> Result<Pictures> {
    let finished = plan
        .jobs_of(row)?
        .into_iter()
        .map(|j| JobFolder::of(&plan.folder, j))
        .find(|f| f.scores().is_some());
    let folder = finished.ok_or_else(|| {
        Problem::user(format!(
            "row {row:?} has no finished job: run the experiment first"
        ))
    })?;
    folder.read_all(names, plan.task.image_size).user("study")
}

/// Sides and order by chance.
fn trials(names: &[String], make: &Make) -> Vec<Trial> {
    let mut random = ChaCha8Rng::seed_from_u64(make.seed);
    let mut order: Vec<&String> = names.iter().collect();
    order.shuffle(&mut random);
    let [a, b] = &make.rows;
    let trial = |(trial, picture): (usize, &String)| {
        let (left, right) = if random.random_bool(0.5) {
            (a, b)
        } else {
            (b, a)
        };
        Trial {
            trial,
            picture: picture.clone(),
            left: left.clone(),
            right: right.clone(),
        }
    };
    order.into_iter().enumerate().map(trial).collect()
}

/// `index.html` for raters and `key.csv` for the scorer; returns how many questions there are.
pub fn make(plan: &Plan, root: &Path, what: &Make, folder: &Path) -> Result<usize> {
    let [a, b] = &what.rows;
    if a == b {
        return Err(Problem::user(format!(
            "a study compares two rows, {a:?} stands twice"
        )));
    }
    let source = plan
        .task
        .source
        .load(root, plan.task.image_size, plan.spec.pictures)?
        .first(what.pictures);
    let made = [
        translations(plan, a, &source.names)?,
        translations(plan, b, &source.names)?,
    ];
    let trials = trials(&source.names, what);
    let uri = |pictures: &Pictures, name: &str| {
        data_uri(
            pictures,
            pictures.names.iter().position(|n| n == name).unwrap_or(0),
        )
    };
    let mut questions = Vec::new();
    for trial in &trials {
        let side = |row: &String| uri(&made[usize::from(row == b)], &trial.picture);
        questions.push(serde_json::json!({
            "source": uri(&source, &trial.picture)?, "left": side(&trial.left)?, "right": side(&trial.right)?,
        }));
    }
    let mut key = csv::Writer::from_writer(Vec::new());
    trials.iter().try_for_each(|t| key.serialize(t))?;
    let key = key.into_inner()?;
    // The page must not tell the methods: its name is a hash of the key.
    let name = &sha256_hex(&key)[..12];
    std::fs::create_dir_all(folder).user(format!("cannot write to {}", folder.display()))?;
    write_atomically(&folder.join(KEY_FILE), &key).user("study")?;
    write_atomically(
        &folder.join("index.html"),
        page(name, &plan.task.reference.domain, &questions)?.as_bytes(),
    )
    .user("study")?;
    Ok(trials.len())
}

fn page(study: &str, target: &str, questions: &[serde_json::Value]) -> Result<String> {
    // `<` cannot end the script element early: no picture's base64 holds one.
    let data = serde_json::to_string(&serde_json::json!({"study": study, "questions": questions}))?;
    let body = html! {
        main {
            h1 { "Which is the better " (target) "?" }
            p { "Choose the picture that is the more real " (target) " and keeps more of the source: press a picture, or the keys ← and →. Backspace takes the last answer back." }
            p #progress aria-live="polite" {}
            section #question {
                figure { img #source alt="source"; figcaption { "Source" } }
                div.choices {
                    button #left type="button" { img alt="left translation"; span { "← left" } }
                    button #right type="button" { img alt="right translation"; span { "right →" } }
                }
            }
            section #done hidden {
                p { "Thank you. Please send back the file:" }
                p { a #export download=(format!("answers-{study}.csv")) { "Save the answers (CSV)" } }
            }
        }
        script type="application/json" #data { (PreEscaped(data)) }
    };
    Ok(document("Which is better?", STYLE, &body, SCRIPT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_sides_are_random_but_fixed_and_every_picture_is_asked_once() {
        let names: Vec<String> = (0..200).map(|i| format!("p{i:03}")).collect();
        let what = Make {
            rows: ["A".into(), "B".into()],
            pictures: 200,
            seed: 4,
        };
        let found = trials(&names, &what);
        assert_eq!(found, trials(&names, &what));
        assert_ne!(
            found,
            trials(
                &names,
                &Make {
                    seed: 5,
                    ..what.clone()
                }
            )
        );
        let mut asked: Vec<&String> = found.iter().map(|t| &t.picture).collect();
        assert!(
            asked.windows(2).any(|w| w[0] > w[1]),
            "the order is the data set's"
        );
        asked.sort();
        asked.dedup();
        let left = found.iter().filter(|t| t.left == "A").count();
        // 200 fair coins: within four standard deviations of 100.
        assert!(asked.len() == 200 && left.abs_diff(100) < 29, "{left}");
    }
}
