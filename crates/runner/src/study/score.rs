//! Turns answers into the AMT column.

use super::records::{Answer, KEY_FILE, Side, Trial, study_name};
use crate::error::{OrInvalidInput, invalid_input};
use anyhow::Result;
use egsde_data::files::read_bounded;
use egsde_metrics::intervals::{Interval, binomial_interval};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Largest file of keys or answers.
const MAX_FILE: u64 = 64 << 20;

/// How often one method was preferred to the other.
#[derive(Debug, Clone, Serialize)]
pub struct Preference {
    /// The row that was preferred.
    pub method: String,
    /// The row that stood beside it.
    pub over: String,
    /// Answers that preferred it.
    pub preferred: usize,
    /// Answers to questions with these two rows.
    pub answers: usize,
    /// Fraction in [0, 1] with its 95 % Clopper-Pearson interval, raters' answers taken as
    /// independent.
    pub amt: Interval,
}

/// One answer, the sides resolved to methods. Equal answers are equal votes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Vote {
    winner: String,
    loser: String,
}

impl Vote {
    fn new(trial: &Trial, answer: Side) -> Self {
        let (left, right) = (trial.left.clone(), trial.right.clone());
        match answer {
            Side::Left => Self {
                winner: left,
                loser: right,
            },
            Side::Right => Self {
                winner: right,
                loser: left,
            },
        }
    }

    fn reversed(&self) -> Self {
        Self {
            winner: self.loser.clone(),
            loser: self.winner.clone(),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    read_bounded(path, MAX_FILE).map_err(|error| invalid_input(format!("{error:#}")))
}

/// The lines of a CSV file; `path` names it in errors.
fn parse_lines<T: DeserializeOwned>(bytes: &[u8], path: &Path) -> Result<Vec<T>> {
    let mut reader = csv::Reader::from_reader(bytes);
    let lines: Result<Vec<T>, csv::Error> = reader.deserialize().collect();
    lines.or_invalid_input(path.display())
}

/// A study's questions by number, and its name.
struct Key {
    study: String,
    trials: BTreeMap<usize, Trial>,
}

impl Key {
    fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(KEY_FILE);
        let bytes = read(&path)?;
        let mut trials = BTreeMap::new();
        for trial in parse_lines::<Trial>(&bytes, &path)? {
            trials.insert(trial.trial, trial);
        }
        Ok(Self {
            study: study_name(&bytes),
            trials,
        })
    }

    /// The question of an answer; `at` names its file and line in errors.
    fn trial(&self, answer: &Answer, at: &str) -> Result<&Trial> {
        let study = &self.study;
        if answer.study != *study {
            return Err(invalid_input(format!(
                "{at}: an answer to study {}, this is {study}",
                answer.study
            )));
        }
        self.trials.get(&answer.trial).ok_or_else(|| {
            let (number, last) = (answer.trial, self.trials.len().saturating_sub(1));
            invalid_input(format!(
                "{at}: no question {number}; this study has 0 to {last}"
            ))
        })
    }

    /// The votes of one rater. An answer to another study, to no question or given twice is refused
    /// with its line.
    fn votes(&self, path: &Path) -> Result<Vec<Vote>> {
        let (mut votes, mut seen) = (Vec::new(), BTreeSet::new());
        for (i, answer) in parse_lines::<Answer>(&read(path)?, path)?
            .iter()
            .enumerate()
        {
            let at = format!("{}:{}", path.display(), i + 2);
            let trial = self.trial(answer, &at)?;
            if !seen.insert(answer.trial) {
                return Err(invalid_input(format!(
                    "{at}: question {} is answered twice by one rater",
                    answer.trial
                )));
            }
            votes.push(Vote::new(trial, answer.answer));
        }
        Ok(votes)
    }
}

/// How often each method of a study's folder was preferred; `files` are the raters' answers, one
/// file each.
///
/// # Errors
/// Invalid input: a file that cannot be read, an answer that does not belong to the study (with its
/// line), or no answers.
pub fn score_study(folder: &Path, files: &[PathBuf]) -> Result<Vec<Preference>> {
    let key = Key::read(folder)?;
    let mut counts: BTreeMap<Vote, usize> = BTreeMap::new();
    for path in files {
        for vote in key.votes(path)? {
            counts.entry(vote.reversed()).or_default();
            *counts.entry(vote).or_default() += 1;
        }
    }
    if counts.is_empty() {
        return Err(invalid_input(
            "no answers: give the CSV files that raters sent back",
        ));
    }
    let mut preferences = Vec::new();
    for (vote, preferred) in &counts {
        let answers = preferred + counts.get(&vote.reversed()).unwrap_or(&0);
        preferences.push(Preference {
            method: vote.winner.clone(),
            over: vote.loser.clone(),
            preferred: *preferred,
            answers,
            amt: binomial_interval(*preferred, answers)?,
        });
    }
    Ok(preferences)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "trial,picture,left,right\n\
                       0,a,EGSDE,SDEdit\n\
                       1,b,SDEdit,EGSDE\n\
                       2,c,EGSDE,SDEdit\n";

    /// The score of answers given as `STUDY,TRIAL,SIDE`, where `@` is the study's name.
    fn score(answers: &[&str]) -> Result<Vec<Preference>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(KEY_FILE), KEY).unwrap();
        let lines = answers.join("\n").replace('@', &study_name(KEY.as_bytes()));
        let path = folder.path().join("answers.csv");
        std::fs::write(&path, format!("study,trial,answer\n{lines}\n")).unwrap();
        score_study(folder.path(), &[path])
    }

    #[track_caller]
    fn refused(answers: &[&str], part: &str) {
        let error = format!("{:#}", score(answers).unwrap_err());
        assert!(error.contains(part), "{part:?} not in {error:?}");
    }

    #[test]
    fn sides_are_resolved_to_methods() {
        let found = score(&["@,0,left", "@,1,right", "@,2,right"]).unwrap();
        let egsde = found
            .iter()
            .find(|preference| preference.method == "EGSDE")
            .unwrap();
        assert_eq!(
            (egsde.preferred, egsde.answers, egsde.over.as_str()),
            (2, 3, "SDEdit")
        );
        let amt = egsde.amt;
        assert!(
            amt.low < 0.2 && amt.high > 0.95,
            "three answers say little: {amt:?}"
        );
    }

    #[test]
    fn answers_that_do_not_belong_are_refused_with_their_line() {
        refused(
            &["@,0,left", "@,9,left"],
            "answers.csv:3: no question 9; this study has 0 to 2",
        );
        refused(&["other,0,left"], "answers.csv:2: an answer to study other");
        refused(&["@,0,left", "@,0,right"], "answered twice");
        refused(&["@,0,both"], "both");
        refused(&[], "no answers");
    }
}
