//! Numbers that the paper published, from `results/published.csv`.

use crate::csv_file::{csv_text, parse_csv};
use crate::error::invalid_input;
use crate::project::Project;
use crate::yaml::with_suggestion;
use anyhow::Result;
use serde::{Deserialize, Serialize};

/// Who measured a published number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provenance {
    /// The paper's authors.
    Measured,
    /// Others: the paper quotes it.
    Quoted,
    /// The paper marks it as quoted, and the line's `source` says why that is doubtful.
    Doubtful,
}

impl Provenance {
    /// As files spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Quoted => "quoted",
            Self::Doubtful => "doubtful",
        }
    }

    /// What stands behind the number in a table.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Measured => "",
            Self::Quoted => "*",
            Self::Doubtful => "*?",
        }
    }
}

/// One published number.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PublishedLine {
    /// Number of the paper's table.
    pub table: String,
    /// Name of the paper's task, for example `cat2dog`.
    pub task: String,
    /// The method, as the paper spells it.
    pub method: String,
    /// Key of the metric in the registry.
    pub metric: String,
    /// The number, in the metric's stored unit.
    pub mean: f64,
    /// Its standard deviation, where the paper has one.
    pub std: Option<f64>,
    /// Who measured it.
    pub provenance: Provenance,
    /// Where it was read, and what is doubtful about it.
    pub source: String,
}

/// Every line of the file, in its order.
///
/// # Errors
/// Invalid input: the file is missing or has a line in another format.
pub fn read_published(project: &Project) -> Result<Vec<PublishedLine>> {
    let path = project.published_numbers();
    let records = parse_csv(&csv_text(&path)?, &path)
        .map_err(|error| invalid_input(with_suggestion(&error.to_string())))?;
    Ok(records.into_iter().map(|record| record.fields).collect())
}

/// The published number of a method and metric among the lines of one table and task.
pub fn published_mean(lines: &[PublishedLine], method: &str, metric: &str) -> Option<f64> {
    let mut found = lines
        .iter()
        .filter(|line| line.method == method && line.metric == metric);
    found.next().map(|line| line.mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<PublishedLine>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("results")).unwrap();
        std::fs::write(folder.path().join("results/published.csv"), text).unwrap();
        read_published(&Project::new(folder.path()))
    }

    #[test]
    fn a_line_says_who_measured_its_number() {
        let lines = read_published(&Project::of_this_checkout()).unwrap();
        let provenance = |method: &str, metric: &str| {
            let mut found = lines
                .iter()
                .filter(|line| line.method == method && line.metric == metric);
            found.next().unwrap().provenance
        };
        assert_eq!(provenance("CycleGAN", "fid"), Provenance::Quoted);
        assert_eq!(provenance("CUT", "l2"), Provenance::Doubtful);
        assert_eq!(provenance("EGSDE", "l2"), Provenance::Measured);
        assert_eq!(published_mean(&lines, "EGSDE†", "fid"), Some(51.04));
    }

    #[test]
    fn a_wrong_line_is_named_with_the_nearest_word() {
        let head = "table,task,method,metric,mean,std,provenance,source\n";
        let error = read(&format!("{head}1,a,A,fid,1,,qouted,s\n")).unwrap_err();
        let text = error.to_string();
        for part in ["published.csv:2:", "qouted", "did you mean `quoted`?"] {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
        let error = read("table,task,method,metric,mean,std,source\n1,a,A,fid,1,,s\n");
        assert!(error.unwrap_err().to_string().contains("`provenance`"));
    }
}
