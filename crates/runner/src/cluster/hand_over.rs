//! Handing a submission over to Slurm, whole or not at all.

use super::script::{collect_options, script, task_options};
use super::slurm::{self, Limits};
use super::submission::{JobArray, JobNumbers, Submission, SubmissionFolder};
use super::tasks::{ArrayRequest, array_requests};
use anyhow::Result;
use egsde_data::files::write_atomically;
use std::path::Path;

/// The script's argument for the job that collects.
pub const COLLECT: &str = "collect";

/// A submission on its way to Slurm.
#[derive(Debug, Clone, Copy)]
pub struct HandOver<'a> {
    /// The experiment's name.
    pub name: &'a str,
    /// What is handed over.
    pub submission: &'a Submission,
    /// Where it is kept.
    pub folder: &'a SubmissionFolder,
    /// How much Slurm takes.
    pub limits: Limits,
    /// This program, as the tasks start it.
    pub egsde: &'a Path,
}

impl HandOver<'_> {
    fn array_requests(&self) -> Vec<ArrayRequest> {
        array_requests(
            self.submission.tasks.len(),
            &self.submission.site,
            self.limits,
        )
    }

    fn array_options(&self, request: &ArrayRequest) -> Vec<String> {
        let mut options = vec![request.option()];
        options.extend(task_options(self.name, self.folder, &self.submission.site));
        options
    }

    /// Options of the job that collects once the jobs `after` have ended.
    fn collect_options(&self, after: &str) -> Vec<String> {
        let mut options = vec![format!("--dependency=afterany:{after}")];
        options.extend(collect_options(
            self.name,
            self.folder,
            &self.submission.site,
        ));
        options
    }

    /// Hands the submission over; one of which Slurm refuses a part is taken back whole.
    ///
    /// # Errors
    /// Invalid input: Slurm refuses, or the folder cannot be written.
    pub fn submit(&self) -> Result<JobNumbers> {
        let mut numbers = JobNumbers::default();
        let Err(error) = self.submit_parts(&mut numbers) else {
            return Ok(numbers);
        };
        if !numbers.arrays.is_empty() {
            slurm::cancel(&numbers.all())?;
        }
        self.folder.remove();
        Err(error)
    }

    /// Hands over arrays and collecting job; `numbers` has what was handed over even when a later
    /// part is refused.
    fn submit_parts(&self, numbers: &mut JobNumbers) -> Result<()> {
        self.folder.write_submission(self.submission)?;
        let script_file = self.folder.script();
        let text = script(self.submission, self.folder, self.egsde)?;
        write_atomically(&script_file, text.as_bytes())?;
        for request in self.array_requests() {
            let ArrayRequest { first, tasks, .. } = request;
            let options = self.array_options(&request);
            let job = slurm::submit(&script_file, &options, &first.to_string())?;
            numbers.arrays.push(JobArray { job, first, tasks });
            self.folder.write_numbers(numbers)?;
        }
        let arrays: Vec<String> = numbers.all().iter().map(u64::to_string).collect();
        let options = self.collect_options(&arrays.join(":"));
        numbers.collect = Some(slurm::submit(&script_file, &options, COLLECT)?);
        self.folder.write_numbers(numbers)
    }

    /// One command as a shell reads it.
    fn command_line(&self, options: Vec<String>, argument: &str) -> String {
        let mut words = vec!["sbatch".to_string()];
        words.extend(options);
        words.extend([self.folder.script().display().to_string(), argument.into()]);
        shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default()
    }

    /// Commands and script, as they would be.
    ///
    /// # Errors
    /// Invalid input: a path that cannot stand in a shell script.
    pub fn preview(&self) -> Result<String> {
        let mut text = String::new();
        for request in self.array_requests() {
            let options = self.array_options(&request);
            text += &self.command_line(options, &request.first.to_string());
            text += "\n";
        }
        text += &self.command_line(self.collect_options("JOB..."), COLLECT);
        text += "\n\n";
        Ok(text + &script(self.submission, self.folder, self.egsde)?)
    }
}
