//! `egsde check-gpu`: whether a device computes what the reference computes, and how fast.

use crate::error::{OrInvalidInput, check_failed, invalid_input};
use crate::gpu_check::{
    Findings, HEADING, Scale, Setting, case_errors, check_python, run_whole_jobs, time_pytorch,
    time_steps,
};
use crate::paths::path_parser;
use crate::plan::experiment_args::parse_count;
use crate::project::Project;
use crate::runtime::console::stdout;
use crate::runtime::device::{device_name, open_device};
use anyhow::Result;
use egsde_data::files::{check_writable, write_atomically};
use std::path::{Path, PathBuf};
use tch::Device;

/// Where the golden cases lie in a checkout.
const GOLDEN: &str = "crates/runner/tests/golden";

/// Experiments of the paper's scale that take part: all three families of networks.
const EXPERIMENTS: &str = "many_to_one_cat table1_cat2dog table1_male2female";

/// The one that takes part in a small check.
const ONE_EXPERIMENT: &str = "table1_cat2dog";

/// Arguments of `egsde check-gpu`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to check: cuda:0, or cpu to see that the check itself works.
    #[arg(long, default_value = "cuda:0", value_parser = open_device)]
    device: Device,
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Pictures per batch of the timed steps.
    #[arg(long, default_value_t = 20, value_parser = parse_count)]
    batch_size: usize,
    /// Steps that are timed.
    #[arg(long, default_value_t = 10, value_parser = parse_count)]
    steps: usize,
    /// Small networks at 32 px for the timed steps, one experiment of whole jobs.
    #[arg(long)]
    small: bool,
    /// A Python that has PyTorch, for the rows of a plain loop.
    #[arg(long, value_parser = path_parser())]
    python: Option<PathBuf>,
    /// Folder of the scratch project and of logs.
    #[arg(long, default_value = "runs/check-gpu", value_parser = path_parser())]
    folder: PathBuf,
    /// Also write the document here, for example to reports/performance-gpu.md.
    #[arg(long, value_parser = path_parser())]
    out: Option<PathBuf>,
}

/// A part of the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Errors of the golden cases in each precision.
    Parity,
    /// Milliseconds and memory per step, and whether steps repeat to the bit.
    Steps,
    /// Whole paper-scale jobs of two pictures, twice.
    Paper,
    /// The same steps of a plain PyTorch loop; needs --python.
    Pytorch,
}

impl Args {
    fn has(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// Refuses what cannot end well before any work is done.
    fn check(&self) -> Result<()> {
        if let Some(path) = &self.out {
            check_output(path)?;
        }
        match &self.python {
            Some(python) if self.has(Part::Pytorch) => check_python(python),
            None if self.only.contains(&Part::Pytorch) => Err(invalid_input(
                "--only pytorch needs --python PYTHON, one that can import torch",
            )),
            _ => Ok(()),
        }
    }

    fn find(&self, project: &Project) -> Result<Findings> {
        let device = self.device;
        let name = device_name(device);
        let settings = Setting::of_device(device);
        let precision = settings.first().map(|setting| setting.precision);
        let scale = if self.small {
            Scale::small()?
        } else {
            Scale::published(project)?
        };
        let mut findings = Findings {
            device,
            settings,
            batch: self.batch_size,
            scale,
            errors: None,
            steps: None,
            jobs: None,
            pytorch: None,
        };
        if self.has(Part::Parity) {
            let golden = project.resolve(GOLDEN);
            let errors = case_errors(&golden, device, &findings.settings);
            findings.errors = Some(errors.or_invalid_input("parity")?);
        }
        if self.has(Part::Steps) {
            let (batch, steps) = (self.batch_size, self.steps);
            let Findings {
                scale, settings, ..
            } = &findings;
            let rows = time_steps(scale, device, settings, batch, steps)?;
            findings.steps = Some(rows);
        }
        if self.has(Part::Paper) {
            let folder = project.resolve(&self.folder);
            let experiments = if self.small {
                ONE_EXPERIMENT
            } else {
                EXPERIMENTS
            };
            let precision = precision.unwrap_or_default();
            let jobs = run_whole_jobs(project, &folder, &name, precision, experiments)?;
            findings.jobs = Some(jobs);
        }
        if let Some(python) = self.python.as_ref().filter(|_| self.has(Part::Pytorch)) {
            let (folder, batch) = (project.resolve(&self.folder), self.batch_size);
            let rows = time_pytorch(project, python, &folder, &name, batch, self.small)?;
            findings.pytorch = Some(rows);
        }
        Ok(findings)
    }
}

/// Checks before all work that the document can be written and takes the place of nothing but
/// another such document.
fn check_output(path: &Path) -> Result<()> {
    let is_ours = || std::fs::read(path).is_ok_and(|text| text.starts_with(HEADING.as_bytes()));
    if path.is_file() && !is_ours() {
        return Err(invalid_input(format!(
            "--out: {} is there and is no document of this command: name another file",
            path.display()
        )));
    }
    check_writable(path).or_invalid_input("--out")
}

/// Runs the command.
///
/// # Errors
/// Check failed: an error is larger than its precision allows, or the same command gave other
/// images. Invalid input: files of the checkout that are missing, a part that cannot be run, a
/// document that cannot be written.
pub fn run(args: &Args, project: &Project) -> Result<()> {
    args.check()?;
    let findings = args.find(project)?;
    let document = findings.markdown();
    write!(stdout(), "{document}")?;
    if let Some(path) = &args.out {
        write_atomically(path, document.as_bytes()).or_invalid_input("--out")?;
    }
    if findings.ok() {
        Ok(())
    } else {
        Err(check_failed("the device fails a check: see the verdicts"))
    }
}
