//! Rows with everything filled in that depends on the task, as the published code has it.

use crate::config::row::Row;
use crate::error::invalid_input;
use crate::inputs::references::References;
use crate::inputs::task::Task;
use crate::project::Project;
use anyhow::{Context, Result};
use egsde_sampler::method::{MethodConfig, MethodSettings};
use egsde_sampler::settings::{DiffusionFacts, TaskFacts};
use std::path::PathBuf;

/// What is known of a task's networks before any is opened.
#[derive(Debug)]
pub struct NetworkFacts {
    /// The task's file, for errors.
    task_file: PathBuf,
    diffusion: Option<DiffusionFacts>,
    stargan_v2_domains: Option<Vec<String>>,
}

impl NetworkFacts {
    /// Those of a task, which `name` names in experiment files.
    pub fn new(task: &Task, name: &str, project: &Project) -> Self {
        Self {
            task_file: project.task_file(name),
            diffusion: task.diffusion_facts(project),
            stargan_v2_domains: task.stargan_v2_domains(project),
        }
    }
}

/// Refuses a row for whose method the task has no generator, or one that is known not to fit, or no
/// images to draw.
fn check_generator(row: &Row, task: &Task, facts: &NetworkFacts, project: &Project) -> Result<()> {
    let Some(name) = row.method.generator() else {
        return Ok(());
    };
    let file = facts.task_file.display();
    let generator = task.generators.get(&name).with_context(|| {
        format!(
            "{file} names no generator of {name}: add `generators: {{{name}: {{file: ..., sha256: \
             ...}}}}` (docs/own-task.md)"
        )
    })?;
    if row.method.uses_references() {
        References::check(&task.reference, project)?;
    }
    match generator.known_config(project) {
        Some(config) => (name.check(&config, task.image_size))
            .with_context(|| format!("{file}: generators.{name}")),
        None => Ok(()),
    }
}

/// A row's method with every default filled in, names resolved, and without experts that never
/// count: what decides its images.
///
/// # Errors
/// Invalid input that names the row: settings that mean nothing on this task.
pub fn settle(
    row: &Row,
    task: &Task,
    facts: &NetworkFacts,
    project: &Project,
) -> Result<MethodConfig> {
    let task_facts = TaskFacts {
        name: &task.name,
        image_size: task.image_size,
        classes: &task.classes,
        diffusion: facts.diffusion,
        target: &task.reference.domain,
        stargan_v2_domains: facts.stargan_v2_domains.as_deref(),
    };
    let settled =
        check_generator(row, task, facts, project).and_then(|()| row.method.settle(&task_facts));
    settled.map_err(|error| invalid_input(format!("row {:?}: {error:#}", row.name)))
}
