//! `egsde plan | run | table | report EXPERIMENT`.

use crate::baseline;
use crate::error::{Problem, UserError};
use crate::execute::{Resources, execute};
use crate::plan::Plan;
use crate::plot;
use crate::progress::seconds;
use crate::render;
use crate::spec::Experiment;
use crate::store::JobFolder;
use crate::table::Table;
use anyhow::Result;
use egsde_models::weights::write_atomically;
use std::path::{Path, PathBuf};
use tch::Device;

/// What names an experiment and changes its keys.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Experiment file, for example experiments/table1.yaml.
    experiment: PathBuf,
    /// Change a key: pictures=64, runs_dir=/data/runs, methods.EGSDE.lambda_s=30.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Seeds instead of the file's.
    #[arg(long, value_delimiter = ',')]
    seeds: Vec<u64>,
    /// Working precision instead of the file's.
    #[arg(long, value_parser = ["f32", "bf16"])]
    precision: Option<String>,
}

impl Which {
    fn plan(&self, root: &Path) -> Result<Plan> {
        let mut sets = self.sets.clone();
        if !self.seeds.is_empty() {
            sets.push(format!("seeds={:?}", self.seeds));
        }
        if let Some(precision) = &self.precision {
            sets.push(format!("precision={precision}"));
        }
        Plan::new(Experiment::read(&self.experiment, root, &sets)?, root)
    }
}

/// Arguments of `egsde run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    which: Which,
    /// At most this many jobs, then stop.
    #[arg(long)]
    limit: Option<usize>,
    /// Where to compute: cpu or cuda:0.
    #[arg(long, default_value = "cpu", value_parser = crate::cli::device)]
    device: Device,
    /// Pictures at a time instead of the file's; never changes a result.
    #[arg(long)]
    batch_size: Option<usize>,
}

/// Arguments of `egsde plan`.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    #[command(flatten)]
    which: Which,
}

/// Arguments of `egsde table`.
#[derive(Debug, clap::Args)]
pub struct TableArgs {
    #[command(flatten)]
    which: Which,
    /// One JSON document instead of Markdown.
    #[arg(long)]
    json: bool,
}

/// Arguments of `egsde report`.
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    #[command(flatten)]
    which: Which,
    /// Folder to write instead of the experiment's `report`.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Arguments of `egsde compare`.
#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    #[command(flatten)]
    which: Which,
    /// Stored numbers (results/baselines/*.csv).
    baseline: PathBuf,
    /// Write the numbers instead of comparing them.
    #[arg(long)]
    update: bool,
}

/// `egsde compare`: exits with 1 when a number left its tolerance, naming it.
pub fn compare(args: &CompareArgs, root: &Path) -> Result<()> {
    let plan = args.which.plan(root)?;
    let table = Table::of(&plan, root)?;
    if !table.missing.is_empty() {
        let text =
            format!("{} of {} jobs have no result: egsde run {}", table.missing.len(), plan.jobs.len(), args.which.experiment.display());
        return Err(Problem::No(text).into());
    }
    let new = baseline::lines(&table);
    if args.update {
        return write_atomically(&args.baseline, baseline::write(&new)?.as_bytes());
    }
    baseline::compare(&new, &baseline::read(&args.baseline)?)?;
    println!("{}: {} numbers within tolerance of {}", plan.spec.name, new.len(), args.baseline.display());
    Ok(())
}

/// `egsde plan`: every job, what is done, what it costs, how long by what this experiment's finished jobs took.
pub fn plan(args: &PlanArgs, root: &Path) -> Result<()> {
    let plan = args.which.plan(root)?;
    let mut done = 0;
    let (mut measured, mut measured_evaluations, mut left) = (0.0, 0usize, 0usize);
    let mut grid = comfy_table::Table::new();
    grid.load_style(comfy_table::presets::NOTHING);
    grid.set_header(["job", "state", "evaluations a picture (diffusion + extractor)"]);
    for job in &plan.jobs {
        let folder = JobFolder::of(&plan.folder, job);
        let cost = job.identity.settings.evaluations();
        let state = match folder.scores() {
            Some(scores) => {
                done += 1;
                measured += scores.conditions.sampling_seconds;
                measured_evaluations += scores.conditions.sampled_pictures * cost.diffusion;
                "done".to_string()
            }
            None => {
                let have = folder.count_images();
                left += plan.spec.pictures.saturating_sub(have) * cost.diffusion;
                format!("{have}/{} pictures", plan.spec.pictures)
            }
        };
        grid.add_row([job.id.clone(), state, format!("{} + {}", cost.diffusion, cost.extractor + cost.extractor_gradient)]);
    }
    println!("{grid}");
    let time = match measured_evaluations {
        _ if left == 0 => "nothing left to do".to_string(),
        0 => "time not measured yet".to_string(),
        n => format!("about {} left", seconds(measured / n as f64 * left as f64)),
    };
    println!("{done} of {} jobs done, {left} evaluations left, {time}", plan.jobs.len());
    for (what, file) in [("diffusion", &plan.task.diffusion), ("extractor", &plan.task.extractor), ("features", &plan.task.features)] {
        if !root.join(&file.file).exists() {
            println!("missing: {what} weights {} (SHA-256 {})", file.file.display(), file.sha256);
        }
    }
    Ok(())
}

/// `egsde run`.
pub fn run(args: &RunArgs, root: &Path) -> Result<()> {
    let plan = args.which.plan(root)?;
    let batch_size = args.batch_size.unwrap_or(plan.spec.batch_size);
    if batch_size == 0 {
        return Err(Problem::user("--batch-size is 0: must be at least 1"));
    }
    let ran = execute(&plan, root, &Resources { device: args.device, batch_size }, args.limit)?;
    let total = plan.jobs.len();
    match ran {
        0 => eprintln!("{}: nothing to do, all {total} jobs are done in {}", plan.spec.name, plan.folder.display()),
        n => eprintln!("{}: ran {n} jobs into {}", plan.spec.name, plan.folder.display()),
    }
    Ok(())
}

/// `egsde table`: exits with 1 when a job has no result.
pub fn table(args: &TableArgs, root: &Path) -> Result<()> {
    let plan = args.which.plan(root)?;
    let table = Table::of(&plan, root)?;
    if args.json {
        println!("{}", serde_json::to_string(&table)?);
    } else {
        println!("{}", render::markdown(&table));
    }
    match table.missing.len() {
        0 => Ok(()),
        n => {
            Err(Problem::No(format!("{n} of {} jobs have no result: egsde run {}", plan.jobs.len(), args.which.experiment.display()))
                .into())
        }
    }
}

/// How many rows the picture grid has.
const GRID_ROWS: usize = 10;

/// `egsde report`: table in three formats, plot, picture grid.
pub fn report(args: &ReportArgs, root: &Path) -> Result<()> {
    let plan = args.which.plan(root)?;
    let table = Table::of(&plan, root)?;
    let folder = args.out.clone().unwrap_or_else(|| plan.folder.join("report"));
    std::fs::create_dir_all(&folder).user(format!("cannot write to {}", folder.display()))?;
    write_atomically(&folder.join("table.md"), render::markdown(&table).as_bytes())?;
    write_atomically(&folder.join("table.csv"), render::csv(&table)?.as_bytes())?;
    write_atomically(&folder.join("table.tex"), render::latex(&table).as_bytes())?;
    let mut made = vec!["table.md", "table.csv", "table.tex"];
    if plot::tradeoff(&table, &folder.join("tradeoff"))? {
        made.extend(["tradeoff.png", "tradeoff.svg"]);
    }
    let source = plan.task.source.load(root, plan.task.image_size)?.first(plan.spec.pictures);
    if plot::grid(&plan, &source, GRID_ROWS, &folder.join("grid.png"))? {
        made.push("grid.png");
    }
    eprintln!("{}: wrote {} into {}", plan.spec.name, made.join(", "), folder.display());
    Ok(())
}
