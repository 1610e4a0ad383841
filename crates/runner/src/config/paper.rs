//! What the paper has about the table beside which an experiment sets itself.

use super::claims::{Claim, read_claims};
use super::experiment::Published;
use super::published::{PublishedLine, read_published};
use crate::error::invalid_input;
use crate::project::Project;
use anyhow::Result;
use egsde_data::nearest::offer;
use std::collections::BTreeSet;

/// The published numbers and claims of one table and task.
#[derive(Debug, Clone)]
pub struct Paper {
    /// Number of the paper's table.
    pub table: String,
    /// Name of the paper's task.
    pub task: String,
    /// Its numbers, in the file's order.
    pub lines: Vec<PublishedLine>,
    /// Its claims, in the file's order.
    pub claims: Vec<Claim>,
}

impl Paper {
    /// Reads the numbers and claims of the table that an experiment names in `published`; `name` is
    /// that of the experiment.
    ///
    /// # Errors
    /// Invalid input: a file with a mistake, or a table and task without numbers.
    pub fn read(project: &Project, name: &str, published: &Published) -> Result<Self> {
        let Published { table, task } = published;
        let all = read_published(project)?;
        let claims = read_claims(project, &all)?;
        let lines: Vec<PublishedLine> = all
            .iter()
            .filter(|line| line.table == *table && line.task == *task)
            .cloned()
            .collect();
        if lines.is_empty() {
            let names: BTreeSet<String> = all
                .iter()
                .map(|line| format!("{} {}", line.table, line.task))
                .collect();
            let wanted = format!("{table} {task}");
            let offer = offer(&wanted, names.iter().map(String::as_str));
            let names = names.iter().cloned().collect::<Vec<_>>().join(", ");
            return Err(invalid_input(format!(
                "experiment {name}: published names table and task `{wanted}`, \
                 results/published.csv has {names}{offer}"
            )));
        }
        let claims = claims
            .into_iter()
            .filter(|claim| claim.table == *table && claim.tasks.contains(task))
            .collect();
        Ok(Self {
            table: table.clone(),
            task: task.clone(),
            lines,
            claims,
        })
    }
}
