//! `egsde plan`: every job, what is done, what it costs, how long it takes, and what is missing.

use crate::plan::experiment_args::ExperimentArgs;
use crate::plan::{Job, Plan};
use crate::project::Project;
use crate::runtime::console::stdout;
use crate::runtime::device::named_device;
use crate::runtime::progress::seconds;
use crate::store::job_dir::JobDir;
use crate::store::results::Results;
use crate::store::timings::Timings;
use anyhow::Result;
use egsde_sampler::cost::Evaluations;
use egsde_sampler::method::MethodSettings;
use tch::Device;

/// Arguments of `egsde plan`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// Device whose measured speed the time left is taken from.
    #[arg(long, default_value = "cpu", value_parser = named_device)]
    device: Device,
}

/// What a plan's jobs still cost.
#[derive(Debug, Default)]
struct RemainingWork {
    /// Evaluations of the networks that make the images.
    evaluations: usize,
    /// Seconds of the evaluations whose kind this machine has measured.
    seconds: f64,
    /// Evaluations whose kind this machine has not measured.
    unmeasured: usize,
}

/// What the list shows of one job.
struct JobState {
    state: String,
    time: String,
}

impl RemainingWork {
    /// Adds a job without a result. `each` is the time of one evaluation in seconds, where it was
    /// measured.
    fn add(&mut self, plan: &Plan, job: &Job, each: Option<f64>) -> JobState {
        let wanted = plan.experiment.pictures;
        let found = JobDir::new(&plan.folder, job).count_images();
        let evaluations = wanted.saturating_sub(found) * job.evaluations();
        self.evaluations += evaluations;
        let time = match each {
            _ if evaluations == 0 => "-".into(),
            Some(each) => {
                self.seconds += each * evaluations as f64;
                seconds(each * evaluations as f64)
            }
            None => {
                self.unmeasured += evaluations;
                "not measured".into()
            }
        };
        JobState {
            state: format!("{found}/{wanted} pictures"),
            time,
        }
    }

    /// The time that is left, for people.
    fn time(&self) -> String {
        let measured = format!(
            "about {} by what this machine measured",
            seconds(self.seconds)
        );
        match (self.evaluations, self.unmeasured) {
            (0, _) => "nothing left to sample".into(),
            (all, unmeasured) if all == unmeasured => {
                "time not measured on this machine yet".into()
            }
            (_, 0) => measured,
            (_, unmeasured) => format!("{measured}, and {unmeasured} evaluations not measured yet"),
        }
    }
}

/// What one image costs, as the list shows it.
fn cost_text(cost: Evaluations) -> String {
    if cost.generator > 0 {
        return format!("{} of the generator", cost.generator);
    }
    let extractor = cost.extractor + cost.extractor_gradient;
    format!("{} + {extractor}", cost.diffusion)
}

/// One line on each file and folder that is not there, with how to get it.
fn print_missing_inputs(plan: &Plan, project: &Project) -> Result<()> {
    for input in plan.inputs.iter().filter(|input| !input.exists()) {
        writeln!(stdout(), "missing: {}", input.instructions())?;
    }
    for missing in plan.missing_files(project) {
        writeln!(stdout(), "missing: {missing}")?;
    }
    Ok(())
}

/// Runs the command.
///
/// # Errors
/// Those of [`ExperimentArgs::plan`] and [`Plan::check`].
pub fn run(args: &Args, project: &Project) -> Result<()> {
    let plan = args.experiment.plan(project)?;
    plan.check(project)?;
    let results = Results::read(&plan);
    let timings = Timings::read(&plan);
    let mut remaining = RemainingWork::default();
    let mut grid = comfy_table::Table::new();
    grid.load_style(comfy_table::presets::NOTHING);
    grid.set_header([
        "job",
        "state",
        "evaluations per picture (diffusion + extractor)",
        "time",
    ]);
    for (place, job) in plan.jobs.iter().enumerate() {
        let JobState { state, time } = match results.scores(place) {
            Some(_) => JobState {
                state: "done".into(),
                time: "-".into(),
            },
            None => remaining.add(&plan, job, timings.seconds(&plan, job, args.device)),
        };
        let cost = job.identity.settings.evaluations();
        grid.add_row([job.id.clone(), state, cost_text(cost), time]);
    }
    writeln!(stdout(), "{grid}")?;
    writeln!(
        stdout(),
        "{} of {} jobs done, {} evaluations left, {}",
        results.count(),
        plan.jobs.len(),
        remaining.evaluations,
        remaining.time()
    )?;
    for line in plan.notes().into_iter().chain(plan.write_problem()) {
        writeln!(stdout(), "{line}")?;
    }
    // At the embedded scale nothing is compared with the authors' numbers, and no GPU is needed.
    if plan.task.protocol.published().is_some() {
        let precision = plan.experiment.precision;
        writeln!(stdout(), "precision {precision}: {}", precision.meaning())?;
    }
    print_missing_inputs(&plan, project)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_tells_what_was_not_measured() {
        let nothing = RemainingWork::default();
        assert_eq!(nothing.time(), "nothing left to sample");
        let unmeasured = RemainingWork {
            evaluations: 10,
            seconds: 0.0,
            unmeasured: 10,
        };
        assert_eq!(unmeasured.time(), "time not measured on this machine yet");
        let half = RemainingWork {
            evaluations: 10,
            seconds: 48.0,
            unmeasured: 5,
        };
        assert!(
            half.time()
                .starts_with("about 48 s by what this machine measured, and 5 eval")
        );
        let whole = RemainingWork {
            evaluations: 10,
            seconds: 48.0,
            unmeasured: 0,
        };
        assert_eq!(whole.time(), "about 48 s by what this machine measured");
    }
}
