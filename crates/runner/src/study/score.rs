//! Turns answers into the AMT column.

use super::records::{Answer, KEY_FILE, Side, Trial, key_bytes, study_name};
use crate::csv_file::{Record, csv_text, parse_csv};
use crate::error::invalid_input;
use anyhow::Result;
use egsde_metrics::intervals::{Interval, binomial_interval};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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

/// A study's questions by number, and its name.
struct Key {
    study: String,
    trials: BTreeMap<usize, Trial>,
}

impl Key {
    fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(KEY_FILE);
        let records = parse_csv::<Trial>(&csv_text(&path)?, &path)?;
        let trials: Vec<Trial> = records.into_iter().map(|record| record.fields).collect();
        Ok(Self {
            // Of what the file holds, not of how it was saved: a spreadsheet may have done that.
            study: study_name(&key_bytes(&trials)?),
            trials: trials
                .into_iter()
                .map(|trial| (trial.trial, trial))
                .collect(),
        })
    }

    /// The question of an answer; `at` names its file and line in errors.
    fn trial(&self, answer: &Answer, at: &str) -> Result<&Trial> {
        let study = &self.study;
        if answer.study != *study {
            return Err(invalid_input(format!(
                "{at}: an answer to study {}, this is {study} (by the content of {KEY_FILE})",
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

    /// The answers of each rater in a file, which must belong to this study.
    fn answers(&self, path: &Path) -> Result<BTreeMap<String, Sheet>> {
        let mut raters: BTreeMap<String, Sheet> = BTreeMap::new();
        for Record { line, fields } in parse_csv::<Answer>(&csv_text(path)?, path)? {
            let at = format!("{}:{line}", path.display());
            self.trial(&fields, &at)?;
            let sheet = raters.entry(fields.rater).or_default();
            if sheet.insert(fields.trial, fields.answer).is_some() {
                return Err(invalid_input(format!(
                    "{at}: question {} is answered twice by one rater",
                    fields.trial
                )));
            }
        }
        Ok(raters)
    }
}

/// A rater's answers by question.
type Sheet = BTreeMap<usize, Side>;

/// Sheets that were counted, with the file in which each lay: a copy counts a rater twice.
#[derive(Default)]
struct Counted<'a> {
    by_rater: BTreeMap<String, &'a Path>,
    by_answers: BTreeMap<Sheet, &'a Path>,
}

impl<'a> Counted<'a> {
    /// Notes a sheet.
    ///
    /// # Errors
    /// Invalid input: the same rater's answers were in another file.
    fn add(&mut self, rater: &str, sheet: &Sheet, path: &'a Path) -> Result<()> {
        let earlier = if rater.is_empty() {
            self.by_answers.insert(sheet.clone(), path)
        } else {
            self.by_rater.insert(rater.into(), path)
        };
        let Some(earlier) = earlier else {
            return Ok(());
        };
        let (path, earlier) = (path.display(), earlier.display());
        Err(invalid_input(if rater.is_empty() {
            format!(
                "{path} holds the same answers as {earlier}: a copy counts its rater twice; leave \
                 one out or, if two raters answered alike, tell them apart in a column `rater`"
            )
        } else {
            format!("{path} holds answers of the rater of {earlier}: give each rater's file once")
        }))
    }
}

/// How often each method of a study's folder was preferred; `files` are the raters' answers.
///
/// # Errors
/// Invalid input: a file that cannot be read, an answer that does not belong to the study (with its
/// line), a rater's answers given twice, or no answers.
pub fn score_study(folder: &Path, files: &[PathBuf]) -> Result<Vec<Preference>> {
    let key = Key::read(folder)?;
    let mut counts: BTreeMap<Vote, usize> = BTreeMap::new();
    let mut counted = Counted::default();
    for path in files {
        for (rater, sheet) in key.answers(path)? {
            counted.add(&rater, &sheet, path)?;
            for (trial, answer) in &sheet {
                let vote = Vote::new(&key.trials[trial], *answer);
                counts.entry(vote.reversed()).or_default();
                *counts.entry(vote).or_default() += 1;
            }
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

    /// The score of files of answers, in which `@` is the study's name.
    fn score_files(key: &str, files: &[&str]) -> Result<Vec<Preference>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(KEY_FILE), key).unwrap();
        let mut paths = Vec::new();
        for (i, text) in files.iter().enumerate() {
            let path = folder.path().join(format!("answers{i}.csv"));
            std::fs::write(&path, text.replace('@', &study_name(KEY.as_bytes()))).unwrap();
            paths.push(path);
        }
        score_study(folder.path(), &paths)
    }

    /// The score of answers given as `STUDY,TRIAL,SIDE`.
    fn score(answers: &[&str]) -> Result<Vec<Preference>> {
        let lines = answers.join("\n");
        score_files(KEY, &[&format!("study,trial,answer\n{lines}\n")])
    }

    #[test]
    fn a_rater_counts_once() {
        let refused = |files: &[&str]| score_files(KEY, files).unwrap_err().to_string();
        let plain = "study,trial,answer\n@,0,left\n@,1,left\n";
        let shuffled = "study,trial,answer\n@,1,left\n@,0,left\n";
        for copy in [plain, shuffled] {
            let error = refused(&[plain, copy]);
            assert!(error.contains("the same answers as"), "{error}");
        }
        let named = |rater: &str| {
            plain
                .replace("answer", "answer,rater")
                .replace("left", rater)
        };
        let (a, b) = (named("left,a"), named("left,b"));
        let error = refused(&[&a, "study,trial,answer,rater\n@,2,left,a\n"]);
        assert!(error.contains("of the rater of"), "{error}");
        let found = score_files(KEY, &[&a, &b]).unwrap();
        assert_eq!(found[0].answers, 4, "two raters may answer alike");
        // Several raters in one file, too.
        let together = format!("{a}{}", b.split_once('\n').unwrap().1);
        assert_eq!(score_files(KEY, &[&together]).unwrap()[0].answers, 4);
    }

    #[test]
    fn files_that_a_spreadsheet_saved_are_read() {
        let answers = "\u{feff}study;trial;answer\n@;0;left\n@;1;right\n";
        let key = KEY.replace(',', ";").replace('\n', "\r\n");
        let found = score_files(&key, &[answers]).unwrap();
        assert_eq!((found[0].method.as_str(), found[0].preferred), ("EGSDE", 2));
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
            "answers0.csv:3: no question 9; this study has 0 to 2",
        );
        refused(
            &["other,0,left"],
            "answers0.csv:2: an answer to study other",
        );
        refused(&["@,0,left", "@,0,right"], "answered twice");
        refused(&["@,0,both"], "both");
        refused(&[], "no answers");
    }
}
