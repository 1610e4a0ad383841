//! Under which conditions an experiment's numbers were made.

use crate::plan::Plan;
use crate::progress::seconds;
use crate::store::{JobFolder, Scores};
use crate::task::{NetworkFile, PictureSource};
use anyhow::Result;
use std::collections::BTreeSet;

fn distinct(all: &[Scores], of: impl Fn(&Scores) -> String) -> String {
    let values: BTreeSet<String> = all.iter().map(of).collect();
    values.into_iter().collect::<Vec<_>>().join("; ")
}

fn network(file: &NetworkFile) -> String {
    match (&file.file, &file.sha256, &file.published) {
        (Some(file), Some(sha256), _) => format!("{} (SHA-256 {sha256})", file.display()),
        (_, _, Some(entry)) => format!("{} of {}", entry.entry, entry.manifest.display()),
        _ => "not given".into(),
    }
}

fn pictures(source: &PictureSource) -> String {
    match (&source.sheet, &source.archive, &source.published) {
        (Some(sheet), _, _) => format!(
            "{}: {} (SHA-256 {})",
            source.domain,
            sheet.file.display(),
            sheet.sha256
        ),
        (_, Some(part), _) => format!(
            "{}: {} {} of {}",
            source.domain,
            part.split,
            part.class,
            part.manifest.display()
        ),
        (_, _, Some(entry)) => format!(
            "{}: {} of {}",
            source.domain,
            entry.entry,
            entry.manifest.display()
        ),
        _ => source.domain.clone(),
    }
}

/// Name and value of each, for people.
pub fn of(plan: &Plan) -> Result<Vec<(String, String)>> {
    let finished = plan
        .jobs
        .iter()
        .filter_map(|j| Some((j, JobFolder::of(&plan.folder, j).scores()?)));
    let (jobs, all): (Vec<_>, Vec<Scores>) = finished.unzip();
    let evaluations: usize = jobs
        .iter()
        .map(|j| j.identity.settings.evaluations().diffusion * plan.spec.pictures)
        .sum();
    let sampling: f64 = all.iter().map(|s| s.conditions.sampling_seconds).sum();
    let made: usize = all.iter().map(|s| s.conditions.sampled_pictures).sum();
    let peak = all
        .iter()
        .map(|s| s.conditions.peak_memory_bytes)
        .max()
        .unwrap_or(0);
    let (spec, task) = (&plan.spec, &plan.task);
    let mut rows = vec![
        ("Task", task.title.clone()),
        (
            "Pictures, seeds",
            format!(
                "{}; {}",
                spec.pictures,
                spec.seeds
                    .iter()
                    .map(u64::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        ),
        (
            "Jobs finished",
            format!("{} of {}", all.len(), plan.jobs.len()),
        ),
        (
            "Precision, stored as",
            format!("{:?}, {:?}", spec.precision, spec.format).to_lowercase(),
        ),
        (
            "Device, threads",
            distinct(&all, |s| {
                format!("{}, {}", s.conditions.device, s.conditions.threads)
            }),
        ),
        (
            "libtorch",
            distinct(&all, |s| s.conditions.libtorch.clone()),
        ),
        (
            "CPU kernels",
            distinct(&all, |s| {
                if s.conditions.own_kernels {
                    "own and libtorch's"
                } else {
                    "libtorch's"
                }
                .into()
            }),
        ),
        ("Code", distinct(&all, |s| s.conditions.code.clone())),
        ("Diffusion evaluations", evaluations.to_string()),
        (
            "Sampling",
            format!(
                "{} for {made} pictures (in the processes that finished the jobs)",
                seconds(sampling)
            ),
        ),
        ("Largest memory", format!("{:.2} GB", peak as f64 / 1e9)),
        ("Diffusion network", network(&task.diffusion)),
        ("Extractor", network(&task.extractor)),
        ("Features", network(&task.features)),
        ("Source", pictures(&task.source)),
        ("Reference", pictures(&task.reference)),
    ];
    let inputs = plan
        .inputs
        .iter()
        .map(|i| format!("{} {}", i.key, i.sha256.as_deref().unwrap_or("not known")))
        .collect::<Vec<_>>();
    if !inputs.is_empty() {
        rows.push(("Published inputs, SHA-256", inputs.join("; ")));
    }
    Ok(rows
        .into_iter()
        .map(|(name, value)| (name.to_string(), value))
        .collect())
}
