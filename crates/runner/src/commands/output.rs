//! What commands show of an experiment's results: its table and its report.

use crate::analysis::table::Table;
use crate::error::{check_failed, invalid_input};
use crate::plan::experiment_args::ExperimentArgs;
use crate::project::Project;
use crate::report::{self, fingerprint, markdown};
use crate::runtime::console::{log, stdout};
use crate::scoring::evaluator::LazyEvaluator;
use crate::store::results::Results;
use anyhow::Result;
use std::path::Path;

/// How a table is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFormat {
    Markdown,
    /// One JSON document.
    Json,
}

impl TableFormat {
    /// The format that the presence of `--json` asks for.
    pub fn from_json_option(json: bool) -> Self {
        if json { Self::Json } else { Self::Markdown }
    }
}

/// The results of an experiment, its table, and what both are shown with.
pub struct Output<'a> {
    results: &'a Results<'a>,
    project: &'a Project,
    /// The experiment's file and options as a shell reads them, for advice.
    words: String,
    evaluator: LazyEvaluator<'a>,
    table: Table,
}

impl<'a> Output<'a> {
    /// Makes the table of whatever is finished.
    ///
    /// # Errors
    /// Those of [`Table::new`].
    pub fn new(
        results: &'a Results<'a>,
        project: &'a Project,
        experiment: &ExperimentArgs,
    ) -> Result<Self> {
        let evaluator = LazyEvaluator::new(results.plan, project);
        let table = Table::new(results, &evaluator)?;
        Ok(Self {
            results,
            project,
            words: experiment.words(),
            evaluator,
            table,
        })
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The table, where nothing else is needed of the results.
    pub fn into_table(self) -> Table {
        self.table
    }

    /// Holds that some job has a result.
    ///
    /// # Errors
    /// Invalid input: none has, and how to run them.
    pub fn require_some_result(&self) -> Result<()> {
        if self.results.count() > 0 {
            return Ok(());
        }
        Err(invalid_input(format!(
            "{} holds no finished job: egsde run {}",
            self.results.plan.folder.display(),
            self.words
        )))
    }

    /// Holds that every job has a result.
    ///
    /// # Errors
    /// Check failed: how many have none, and how to run them.
    pub fn require_all_results(&self) -> Result<()> {
        match self.table.missing.len() {
            0 => Ok(()),
            missing => Err(check_failed(format!(
                "{missing} of {} jobs have no result: egsde run {}{}",
                self.results.plan.jobs.len(),
                self.words,
                self.unknown_inputs()
            ))),
        }
    }

    /// Why results that were made elsewhere may not be found: jobs are named by the hashes of
    /// published files, and some are not known here. Empty where all are.
    fn unknown_inputs(&self) -> String {
        let inputs = self.results.plan.inputs.iter();
        let unknown: Vec<&str> = inputs
            .filter(|input| !input.is_pinned())
            .map(|input| input.key.as_str())
            .collect();
        if unknown.is_empty() {
            return String::new();
        }
        format!(
            "; results from elsewhere are found with the datasets/pins.yaml beside which they were \
             made, since jobs are named by the SHA-256 of {}",
            unknown.join(", ")
        )
    }

    /// Prints the table.
    ///
    /// # Errors
    /// Those of [`Output::require_all_results`]; what is finished is printed first.
    pub fn print_table(&self, format: TableFormat) -> Result<()> {
        match format {
            TableFormat::Markdown => writeln!(stdout(), "{}", markdown::markdown(&self.table))?,
            TableFormat::Json => writeln!(stdout(), "{}", serde_json::to_string(&self.table)?)?,
        }
        self.require_all_results()
    }

    /// Prints the paper's claims with their verdicts, or why there are none.
    ///
    /// # Errors
    /// Those of [`Output::require_all_results`]; what is finished is printed first.
    pub fn print_claims(&self, format: TableFormat) -> Result<()> {
        let Table {
            experiment,
            claims,
            pictures,
            ..
        } = &self.table;
        match format {
            TableFormat::Json => {
                let document = serde_json::json!({"experiment": experiment, "claims": claims});
                writeln!(stdout(), "{document}")?;
            }
            TableFormat::Markdown if claims.is_empty() => {
                writeln!(stdout(), "{}", self.why_no_claims())?;
            }
            TableFormat::Markdown => {
                writeln!(stdout(), "{}", markdown::claims(claims, *pictures))?;
            }
        }
        self.require_all_results()
    }

    fn why_no_claims(&self) -> String {
        let plan = self.results.plan;
        let name = &plan.experiment.name;
        match &plan.paper {
            None => format!(
                "{name}: no claims, since the experiment names no table of the paper in `published`"
            ),
            Some(paper) if paper.claims.is_empty() => format!(
                "{name}: results/claims.yaml has no claims about the paper's Table {}, {}",
                paper.table, paper.task
            ),
            Some(paper) => format!(
                "{name}: none of the {} claims about the paper's Table {}, {}, can be tested with \
                 its rows and what is finished of them",
                paper.claims.len(),
                paper.table,
                paper.task
            ),
        }
    }

    /// Draws the report; returns the names of its files.
    fn draw_report(&self, folder: &Path) -> Result<Vec<String>> {
        self.require_some_result()?;
        report::write(
            self.results,
            &self.table,
            self.project,
            &self.evaluator,
            folder,
        )
    }

    fn log_report(&self, names: &[String], folder: &Path) {
        let experiment = &self.results.plan.experiment.name;
        writeln!(
            log(),
            "{experiment}: wrote {} into {}",
            names.join(", "),
            folder.display()
        );
    }

    /// Writes the report into a folder of its own, where nothing tells later whether it is fresh.
    ///
    /// # Errors
    /// Invalid input: no job is finished, the folder cannot be written, or it holds files of other
    /// origin and `force` is not given.
    pub fn write_report_to(&self, folder: &Path, force: bool) -> Result<()> {
        if !force {
            report::check_target(folder)?;
        }
        let names = self.draw_report(folder)?;
        self.log_report(&names, folder);
        Ok(())
    }

    /// Writes the report beside the results.
    ///
    /// # Errors
    /// As [`Output::write_report_to`].
    pub fn write_report(&self) -> Result<()> {
        let folder = self.results.plan.report_folder();
        let names = self.draw_report(&folder)?;
        fingerprint::keep(self.results, &self.table, &folder, &names)?;
        self.log_report(&names, &folder);
        Ok(())
    }

    /// Writes the report beside the results unless the one there would come out the same.
    ///
    /// # Errors
    /// As [`Output::write_report_to`].
    pub fn update_report(&self) -> Result<()> {
        let plan = self.results.plan;
        let folder = plan.report_folder();
        if !fingerprint::is_fresh(self.results, &self.table, &folder)? {
            return self.write_report();
        }
        let (name, folder) = (&plan.experiment.name, folder.display());
        writeln!(log(), "{name}: the report is up to date in {folder}");
        Ok(())
    }
}
