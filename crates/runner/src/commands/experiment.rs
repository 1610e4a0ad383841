//! `egsde plan | run | table | report EXPERIMENT`.

use crate::baseline;
use crate::error::Problem;
use crate::measured::Measured;
use crate::plan::{Job, Plan};
use crate::progress::seconds;
use crate::render;
use crate::report;
use crate::store::JobFolder;
use crate::table::Table;
use crate::which::Which;
use crate::workers::{Part, Resources, Shard, execute};
use anyhow::Result;
use egsde_models::files::write_atomically;
use std::path::{Path, PathBuf};
use tch::Device;

/// Arguments of `egsde run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    which: Which,
    /// At most this many jobs, then stop.
    #[arg(long)]
    limit: Option<usize>,
    /// Only every n-th job from the i-th on (2/8), for machines that share no folder; see egsde merge.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Where to compute: cpu, cuda:0, or several that share the jobs (cuda:0,cuda:1; cpu,cpu).
    #[arg(long = "device", default_value = "cpu", value_delimiter = ',', value_parser = crate::device::open_device)]
    devices: Vec<Device>,
    /// Pictures between two writes instead of the file's; never changes a result.
    #[arg(long)]
    batch_size: Option<usize>,
    /// Then write the report beside the results, unless it is up to date, and print the table.
    #[arg(long)]
    report: bool,
}

/// Arguments of `egsde plan`.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    #[command(flatten)]
    which: Which,
    /// Device whose measured speed the time left is taken from.
    #[arg(long, default_value = "cpu", value_parser = crate::device::named_device)]
    device: Device,
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
        let text = format!(
            "{} of {} jobs have no result: egsde run {}",
            table.missing.len(),
            plan.jobs.len(),
            args.which.file().display()
        );
        return Err(Problem::No(text).into());
    }
    let new = baseline::lines(&table);
    if args.update {
        return write_atomically(&args.baseline, baseline::write(&new)?.as_bytes());
    }
    baseline::compare(&new, &baseline::read(&args.baseline)?)?;
    println!(
        "{}: {} numbers within tolerance of {}",
        plan.spec.name,
        new.len(),
        args.baseline.display()
    );
    Ok(())
}

/// What a plan's jobs still cost.
#[derive(Default)]
struct Left {
    done: usize,
    evaluations: usize,
    seconds: f64,
    /// Evaluations whose like this machine has not measured.
    unmeasured: usize,
}

impl Left {
    /// Adds a job; returns its line's state and time.
    fn add(
        &mut self,
        plan: &Plan,
        job: &Job,
        measured: &Measured,
        device: &str,
    ) -> (String, String) {
        let folder = JobFolder::of(&plan.folder, job);
        if folder.scores().is_some() {
            self.done += 1;
            return ("done".into(), "-".into());
        }
        let (have, wanted) = (folder.count_images(), plan.spec.pictures);
        let left = wanted.saturating_sub(have) * job.identity.settings.evaluations().diffusion;
        self.evaluations += left;
        let state = format!("{have}/{wanted} pictures");
        match measured.seconds(plan, job, device) {
            _ if left == 0 => (state, "-".into()),
            Some(each) => {
                self.seconds += each * left as f64;
                (state, seconds(each * left as f64))
            }
            None => {
                self.unmeasured += left;
                (state, "not measured".into())
            }
        }
    }

    fn time(&self) -> String {
        match (self.evaluations, self.unmeasured) {
            (0, _) => "nothing left to sample".into(),
            (all, none) if all == none => "time not measured on this machine yet".into(),
            (_, 0) => format!(
                "about {} by what this machine measured",
                seconds(self.seconds)
            ),
            (_, n) => format!(
                "about {} by what this machine measured, and {n} evaluations not measured yet",
                seconds(self.seconds)
            ),
        }
    }
}

/// `egsde plan`: every job, what is done, what it costs, how long by what this machine measured, and what is missing.
pub fn plan(args: &PlanArgs, root: &Path) -> Result<()> {
    let plan = args.which.plan(root)?;
    let (measured, device) = (Measured::read(&plan), format!("{:?}", args.device));
    let mut left = Left::default();
    let mut grid = comfy_table::Table::new();
    grid.load_style(comfy_table::presets::NOTHING);
    grid.set_header([
        "job",
        "state",
        "evaluations a picture (diffusion + extractor)",
        "time",
    ]);
    for job in &plan.jobs {
        let cost = job.identity.settings.evaluations();
        let (state, time) = left.add(&plan, job, &measured, &device);
        grid.add_row([
            job.id.clone(),
            state,
            format!(
                "{} + {}",
                cost.diffusion,
                cost.extractor + cost.extractor_gradient
            ),
            time,
        ]);
    }
    println!("{grid}");
    println!(
        "{} of {} jobs done, {} evaluations left, {}",
        left.done,
        plan.jobs.len(),
        left.evaluations,
        left.time()
    );
    for input in plan.inputs.iter().filter(|i| !i.exists()) {
        println!("missing: {}", input.instructions());
    }
    for network in [
        &plan.task.diffusion,
        &plan.task.extractor,
        &plan.task.features,
    ] {
        if let Some(file) = network.file.as_ref().filter(|f| !root.join(f).exists()) {
            let sha256 = network.sha256.as_deref().unwrap_or("not given");
            println!(
                "missing: {} (SHA-256 {sha256}): restore it (git checkout) or make it again (just train-embedded)",
                file.display()
            );
        }
    }
    Ok(())
}

/// `egsde run`.
pub fn run(args: &RunArgs, root: &Path) -> Result<()> {
    let plan = args.which.pinned_plan(root)?;
    let batch_size = args.batch_size.unwrap_or(plan.spec.batch_size);
    if batch_size == 0 {
        return Err(Problem::user("--batch-size is 0: must be at least 1"));
    }
    let ran = execute(
        &plan,
        root,
        &Resources {
            devices: args.devices.clone(),
            batch_size,
        },
        Part {
            shard: args.shard,
            only: None,
            limit: args.limit,
        },
    )?;
    let total = plan.jobs.len();
    match ran {
        0 => eprintln!(
            "{}: nothing to do, all {total} jobs are done in {}",
            plan.spec.name,
            plan.folder.display()
        ),
        n => eprintln!(
            "{}: ran {n} jobs into {}",
            plan.spec.name,
            plan.folder.display()
        ),
    }
    if args.report {
        report_and_table(&plan, root, args.which.file())
    } else {
        Ok(())
    }
}

/// The end of `egsde run --report`.
fn report_and_table(plan: &Plan, root: &Path, file: &Path) -> Result<()> {
    let table = Table::of(plan, root)?;
    let folder = report_folder(plan);
    if report::stamp::is_fresh(plan, &table, &folder)? {
        eprintln!(
            "{}: the report is up to date in {}",
            plan.spec.name,
            folder.display()
        );
    } else {
        write_report(&table, plan, root, file, None)?;
    }
    print_table(&table, plan, file, false)
}

/// `egsde table`: exits with 1 when a job has no result.
pub fn table(args: &TableArgs, root: &Path) -> Result<()> {
    let plan = args.which.plan(root)?;
    print_table(
        &Table::of(&plan, root)?,
        &plan,
        args.which.file(),
        args.json,
    )
}

/// Prints a plan's table; `file` is told when jobs are missing.
pub(super) fn print_table(table: &Table, plan: &Plan, file: &Path, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(table)?);
    } else {
        println!("{}", render::markdown(table));
    }
    match table.missing.len() {
        0 => Ok(()),
        n => Err(Problem::No(format!(
            "{n} of {} jobs have no result: egsde run {}",
            plan.jobs.len(),
            file.display()
        ))
        .into()),
    }
}

/// `egsde report`: tables, plots, picture grids and the page that holds them.
pub fn report(args: &ReportArgs, root: &Path) -> Result<()> {
    let plan = args.which.plan(root)?;
    write_report(
        &Table::of(&plan, root)?,
        &plan,
        root,
        args.which.file(),
        args.out.as_deref(),
    )
}

/// Where a plan's report lies unless told otherwise.
fn report_folder(plan: &Plan) -> PathBuf {
    plan.folder.join("report")
}

/// Writes a plan's report, beside its results unless told otherwise; `file` is told when nothing is finished.
pub(super) fn write_report(
    table: &Table,
    plan: &Plan,
    root: &Path,
    file: &Path,
    out: Option<&Path>,
) -> Result<()> {
    if table.missing.len() == plan.jobs.len() {
        let text = format!(
            "{} holds no finished job: egsde run {}",
            plan.folder.display(),
            file.display()
        );
        return Err(Problem::user(text));
    }
    let folder = out.map_or_else(|| report_folder(plan), Path::to_path_buf);
    let made = report::write(plan, table, root, &folder)?;
    // A report put elsewhere is never asked whether it is up to date.
    if out.is_none() {
        report::stamp::keep(plan, table, &folder, &made)?;
    }
    eprintln!(
        "{}: wrote {} into {}",
        plan.spec.name,
        made.join(", "),
        folder.display()
    );
    Ok(())
}
