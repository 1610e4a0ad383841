//! Writes a study's page and its key.

use super::records::{KEY_FILE, Trial, key_bytes, study_name};
use crate::error::{OrInvalidInput, invalid_input};
use crate::project::Project;
use crate::report::html::{data_uri, document};
use crate::store::results::Results;
use anyhow::{Context, Result};
use egsde_data::files::{make_writable_folder, write_atomically};
use egsde_data::image_set::ImageSet;
use maud::{PreEscaped, html};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::path::Path;

const STYLE: &str = include_str!("../../assets/study/style.css");
const SCRIPT: &str = include_str!("../../assets/study/study.js");

/// What a study asks.
#[derive(Debug, Clone)]
pub struct StudySettings {
    /// The row under study and the one with which it is compared.
    pub rows: [String; 2],
    /// Number of sources, from the first.
    pub pictures: usize,
    /// Decides the order of the questions and the sides.
    pub seed: u64,
    /// Whether a study that lies in the folder is written over.
    pub force: bool,
    /// What to type where a row has no result yet.
    pub run: String,
}

/// One question, as the page has it: images as data URIs.
#[derive(Debug, Serialize)]
struct Question {
    source: String,
    left: String,
    right: String,
}

/// What the page's script reads.
#[derive(Debug, Serialize)]
struct PageData<'a> {
    study: &'a str,
    questions: &'a [Question],
}

/// Translations of a row at its first seed.
fn translations(results: &Results, row: &str, names: &[String], run: &str) -> Result<ImageSet> {
    // An unknown row is named with the nearest one.
    results.plan.jobs_of_row(row)?;
    let finished = results.finished().find(|finished| finished.job.row == row);
    let finished =
        finished.ok_or_else(|| invalid_input(format!("row {row:?} has no finished job: {run}")))?;
    finished
        .dir()
        .read_all(names, results.plan.task.image_size)
        .or_invalid_input("study")
}

/// The questions, in random order and with random sides.
fn trials(names: &[String], settings: &StudySettings) -> Vec<Trial> {
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
    let mut order: Vec<&String> = names.iter().collect();
    order.shuffle(&mut random);
    let [a, b] = &settings.rows;
    let mut trials = Vec::new();
    for (trial, picture) in order.into_iter().enumerate() {
        let (left, right) = if random.random_bool(0.5) {
            (a, b)
        } else {
            (b, a)
        };
        let (left, right) = (left.clone(), right.clone());
        trials.push(Trial {
            trial,
            picture: picture.clone(),
            left,
            right,
        });
    }
    trials
}

/// The image of this name as a data URI.
fn named_data_uri(images: &ImageSet, name: &str) -> Result<String> {
    let i = images.names.iter().position(|other| other == name);
    data_uri(images, i.with_context(|| format!("no picture {name}"))?)
}

/// Writes `index.html` for raters and `key.csv` for the score; returns the number of questions.
///
/// # Errors
/// Invalid input: a row that is unknown, given twice or not finished, or a folder that cannot be
/// written to.
pub fn make_study(
    results: &Results,
    project: &Project,
    settings: &StudySettings,
    folder: &Path,
) -> Result<usize> {
    let [a, b] = &settings.rows;
    if a == b {
        return Err(invalid_input(format!(
            "a study compares two rows, {a:?} stands twice"
        )));
    }
    let key_file = folder.join(KEY_FILE);
    if key_file.exists() && !settings.force {
        return Err(invalid_input(format!(
            "{} holds a study already, whose answers need its {KEY_FILE}: choose another folder, \
             or --force writes over it",
            folder.display()
        )));
    }
    let (experiment, task) = (&results.plan.experiment, &results.plan.task);
    let count = experiment.pictures.min(settings.pictures);
    let source = task.source.load(project, task.image_size, count)?;
    let a_images = translations(results, a, &source.names, &settings.run)?;
    let b_images = translations(results, b, &source.names, &settings.run)?;
    let trials = trials(&source.names, settings);
    let mut questions = Vec::new();
    for Trial { picture, left, .. } in &trials {
        let (left, right) = if left == a {
            (&a_images, &b_images)
        } else {
            (&b_images, &a_images)
        };
        questions.push(Question {
            source: named_data_uri(&source, picture)?,
            left: named_data_uri(left, picture)?,
            right: named_data_uri(right, picture)?,
        });
    }
    let key = key_bytes(&trials)?;
    let page = page(&study_name(&key), &task.reference.domain, &questions)?;
    make_writable_folder(folder).or_invalid_input("study")?;
    write_atomically(&key_file, &key).or_invalid_input("study")?;
    write_atomically(&folder.join("index.html"), page.as_bytes()).or_invalid_input("study")?;
    Ok(trials.len())
}

fn page(study: &str, target: &str, questions: &[Question]) -> Result<String> {
    // No image's base64 holds `<`, so nothing in it can end the script element early.
    let data = serde_json::to_string(&PageData { study, questions })?;
    let body = html! {
        main {
            h1 { "Which is the better " (target) "?" }
            p {
                "Choose the picture that is the more real " (target) " and keeps more of the "
                "source: press a picture, or the keys ← and →. Backspace takes the last answer "
                "back."
            }
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
                p {
                    a #export download=(format!("answers-{study}.csv")) { "Save the answers (CSV)" }
                }
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
    fn order_and_sides_are_random_but_fixed_and_every_image_is_asked_once() {
        let names: Vec<String> = (0..200).map(|i| format!("p{i:03}")).collect();
        let settings = StudySettings {
            rows: ["A".into(), "B".into()],
            pictures: 200,
            seed: 4,
            force: false,
            run: String::new(),
        };
        let found = trials(&names, &settings);
        assert_eq!(found, trials(&names, &settings));
        assert_ne!(
            found,
            trials(
                &names,
                &StudySettings {
                    seed: 5,
                    ..settings.clone()
                }
            )
        );
        let mut asked: Vec<&String> = found.iter().map(|trial| &trial.picture).collect();
        assert!(
            asked.windows(2).any(|pair| pair[0] > pair[1]),
            "the order is the data set's"
        );
        asked.sort();
        asked.dedup();
        let left = found.iter().filter(|trial| trial.left == "A").count();
        // 200 fair coins: within four standard deviations of 100.
        assert!(asked.len() == 200 && left.abs_diff(100) < 29, "{left}");
    }
}
