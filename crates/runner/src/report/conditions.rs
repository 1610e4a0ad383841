//! The conditions under which an experiment's numbers were made.

use crate::analysis::cost::Machine;
use crate::plan::Plan;
use crate::runtime::progress::seconds;
use crate::store::results::Results;
use crate::store::scores::Scores;
use std::collections::BTreeSet;

/// One condition, for people.
#[derive(Debug)]
pub struct Condition {
    pub name: &'static str,
    pub value: String,
}

fn condition(name: &'static str, value: impl Into<String>) -> Condition {
    Condition {
        name,
        value: value.into(),
    }
}

/// The different values that finished jobs have, in order.
fn distinct(results: &Results, value: impl Fn(&Scores) -> String) -> String {
    let values: BTreeSet<String> = results.finished().map(|job| value(job.scores)).collect();
    values.into_iter().collect::<Vec<_>>().join("; ")
}

/// What the experiment asks for.
fn asked_for(plan: &Plan) -> Vec<Condition> {
    let (experiment, task) = (&plan.experiment, &plan.task);
    let seeds: Vec<String> = experiment.seeds.iter().map(u64::to_string).collect();
    let pictures = format!("{}; {}", experiment.pictures, seeds.join(", "));
    let stored = format!("{}, {}", experiment.precision, experiment.format);
    vec![
        condition("Task", &task.title),
        condition("Pictures, seeds", pictures),
        condition("Precision, stored as", stored),
    ]
}

/// The device of a job's images, its machine, and of a GPU what else its rounding depends on.
fn device(scores: &Scores) -> String {
    let sampling = &scores.sampling;
    let device = format!("{}: {}", sampling.device, Machine::from(sampling));
    match &sampling.gpu {
        Some(gpu) => format!(
            "{device} ({}, driver {}, cuDNN {})",
            gpu.name, gpu.driver, gpu.cudnn
        ),
        None => device,
    }
}

fn kernels(scores: &Scores) -> String {
    if scores.sampling.own_kernels {
        "own and libtorch's"
    } else {
        "libtorch's"
    }
    .into()
}

/// How the images of finished jobs were made.
fn sampling(results: &Results) -> Vec<Condition> {
    let (mut evaluations, mut images, mut time, mut peak) = (0, 0, 0.0, 0);
    let mut gpu_peak = None;
    for finished in results.finished() {
        let sampling = &finished.scores.sampling;
        evaluations += finished.job.evaluations() * results.plan.experiment.pictures;
        images += sampling.images;
        time += sampling.seconds;
        peak = peak.max(sampling.peak_memory_bytes);
        gpu_peak = gpu_peak.max(sampling.gpu.as_ref().map(|gpu| gpu.peak_memory_bytes));
    }
    let count = format!("{} of {}", results.count(), results.plan.jobs.len());
    let time = format!(
        "{} for {images} pictures (in the processes that finished the jobs)",
        seconds(time)
    );
    let mut memory = format!("{:.2} GB", peak as f64 / 1e9);
    if let Some(peak) = gpu_peak {
        memory += &format!(", {:.2} GB on the GPU", peak as f64 / 1e9);
    }
    vec![
        condition("Jobs finished", count),
        condition("Device", distinct(results, device)),
        condition(
            "libtorch",
            distinct(results, |scores| scores.sampling.libtorch.clone()),
        ),
        condition("CPU kernels", distinct(results, kernels)),
        condition(
            "Code",
            distinct(results, |scores| scores.sampling.code.clone()),
        ),
        condition("Network evaluations", evaluations.to_string()),
        condition("Sampling", time),
        condition("Largest memory", memory),
    ]
}

/// How the images of finished jobs were scored.
fn scoring(results: &Results) -> Condition {
    let time = results
        .finished()
        .map(|job| job.scores.scoring.seconds)
        .sum();
    let conditions = distinct(results, |scores| {
        format!("{}, {}", scores.scoring.device, scores.scoring.code)
    });
    condition("Scoring", format!("{} ({conditions})", seconds(time)))
}

/// The networks, images and published files that took part.
fn inputs(plan: &Plan) -> Vec<Condition> {
    let task = &plan.task;
    let generators = plan.generators().into_iter();
    let generators = generators.filter_map(|name| {
        let file = task.generators.get(&name)?.description();
        Some(condition("Generator", format!("{name}: {file}")))
    });
    let mut conditions = vec![
        condition("Diffusion network", task.diffusion.description()),
        condition("Extractor", task.extractor.description()),
        condition("Features", task.features.description()),
        condition("Source", task.source.description()),
        condition("Reference", task.reference.description()),
    ];
    conditions.extend(generators);
    let mut published = Vec::new();
    for input in &plan.inputs {
        let sha256 = input.sha256.as_deref().unwrap_or("not known");
        published.push(format!("{} {sha256}", input.key));
    }
    if !published.is_empty() {
        conditions.push(condition("Published inputs, SHA-256", published.join("; ")));
    }
    conditions
}

/// All conditions, in the order of a page.
pub fn conditions(results: &Results) -> Vec<Condition> {
    let mut conditions = asked_for(results.plan);
    conditions.extend(sampling(results));
    conditions.push(scoring(results));
    conditions.extend(inputs(results.plan));
    conditions
}
