//! Turns answers into the AMT column.

use super::{Answer, KEY_FILE, Side, Trial};
use crate::error::{Problem, UserError};
use anyhow::Result;
use egsde_metrics::spread::{Interval, binomial};
use egsde_models::files::{read_bounded, sha256_hex};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Largest file of keys or answers.
const MAX_FILE: u64 = 64 << 20;

/// How often one method was preferred to the other.
#[derive(Debug, Clone, Serialize)]
pub struct Preference {
    pub method: String,
    pub over: String,
    pub preferred: usize,
    pub answers: usize,
    /// Share in [0, 1] with its 95 % Clopper-Pearson interval, raters' answers taken as independent.
    pub amt: Interval,
}

fn rows<T: serde::de::DeserializeOwned>(path: &Path) -> Result<(Vec<T>, Vec<u8>)> {
    let bytes = read_bounded(path, MAX_FILE).map_err(|e| Problem::user(format!("{e:#}")))?;
    let rows = csv::Reader::from_reader(bytes.as_slice())
        .deserialize()
        .collect::<Result<Vec<T>, csv::Error>>()
        .user(path.display())?;
    Ok((rows, bytes))
}

/// The winner and the loser of each answer; an answer of another study, to no question or given twice is refused with its line.
fn votes(
    key: &BTreeMap<usize, Trial>,
    study: &str,
    files: &[PathBuf],
) -> Result<Vec<(String, String)>> {
    let mut votes = Vec::new();
    for path in files {
        let (answers, _) = rows::<Answer>(path)?;
        let mut seen = BTreeSet::new();
        for (i, answer) in answers.iter().enumerate() {
            let at = format!("{}:{}", path.display(), i + 2);
            if answer.study != study {
                return Err(Problem::user(format!(
                    "{at}: an answer to study {}, this is {study}",
                    answer.study
                )));
            }
            let Some(trial) = key.get(&answer.trial) else {
                return Err(Problem::user(format!(
                    "{at}: no question {}; this study has 0 to {}",
                    answer.trial,
                    key.len().saturating_sub(1)
                )));
            };
            if !seen.insert(answer.trial) {
                return Err(Problem::user(format!(
                    "{at}: question {} is answered twice by one rater",
                    answer.trial
                )));
            }
            let (l, r) = (trial.left.clone(), trial.right.clone());
            votes.push(if answer.answer == Side::Left {
                (l, r)
            } else {
                (r, l)
            });
        }
    }
    Ok(votes)
}

/// For each method of a study folder how often it was preferred; `files` are the raters' answers, one file each.
pub fn score(folder: &Path, files: &[PathBuf]) -> Result<Vec<Preference>> {
    let (trials, bytes) = rows::<Trial>(&folder.join(KEY_FILE))?;
    let study = sha256_hex(&bytes)[..12].to_string();
    let key: BTreeMap<usize, Trial> = trials.into_iter().map(|t| (t.trial, t)).collect();
    let votes = votes(&key, &study, files)?;
    if votes.is_empty() {
        return Err(Problem::user(
            "no answers: give the CSV files that raters sent back",
        ));
    }
    let methods: BTreeSet<(String, String)> = votes
        .iter()
        .flat_map(|(w, l)| [(w.clone(), l.clone()), (l.clone(), w.clone())])
        .collect();
    let of = |(method, over): (String, String)| {
        let preferred = votes
            .iter()
            .filter(|(w, l)| *w == method && *l == over)
            .count();
        let answers = votes
            .iter()
            .filter(|(w, l)| (w, l) == (&method, &over) || (w, l) == (&over, &method))
            .count();
        Ok(Preference {
            amt: binomial(preferred, answers)?,
            method,
            over,
            preferred,
            answers,
        })
    };
    methods.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn study() -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let key =
            "trial,picture,left,right\n0,a,EGSDE,SDEdit\n1,b,SDEdit,EGSDE\n2,c,EGSDE,SDEdit\n";
        std::fs::write(folder.path().join(KEY_FILE), key).unwrap();
        (folder, sha256_hex(key.as_bytes())[..12].into())
    }

    fn scored(answers: impl Fn(&str) -> String) -> Result<Vec<Preference>> {
        let (folder, name) = study();
        let path = folder.path().join("answers.csv");
        std::fs::write(&path, answers(&name)).unwrap();
        score(folder.path(), &[path])
    }

    #[test]
    fn sides_are_resolved_to_methods() {
        let found =
            scored(|s| format!("study,trial,answer\n{s},0,left\n{s},1,right\n{s},2,right\n"))
                .unwrap();
        let egsde = found.iter().find(|p| p.method == "EGSDE").unwrap();
        assert_eq!(
            (egsde.preferred, egsde.answers, egsde.over.as_str()),
            (2, 3, "SDEdit")
        );
        assert!(
            egsde.amt.low < 0.2 && egsde.amt.high > 0.95,
            "three answers say little: {:?}",
            egsde.amt
        );
    }

    #[test]
    fn answers_that_do_not_belong_are_refused_with_their_line() {
        let error = |answers: fn(&str) -> String| format!("{:#}", scored(answers).unwrap_err());
        assert!(
            error(|s| format!("study,trial,answer\n{s},0,left\n{s},9,left\n"))
                .contains("answers.csv:3: no question 9; this study has 0 to 2")
        );
        assert!(
            error(|_| "study,trial,answer\nother,0,left\n".into())
                .contains("answers.csv:2: an answer to study other")
        );
        assert!(
            error(|s| format!("study,trial,answer\n{s},0,left\n{s},0,right\n"))
                .contains("answered twice")
        );
        assert!(error(|s| format!("study,trial,answer\n{s},0,both\n")).contains("both"));
        assert!(error(|_| "study,trial,answer\n".into()).contains("no answers"));
    }
}
