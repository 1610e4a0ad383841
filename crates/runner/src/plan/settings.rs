//! Rows with everything filled in that depends on the task, as the published code has it.

use crate::config::row::Row;
use crate::error::invalid_input;
use crate::inputs::task::Task;
use anyhow::Result;
use egsde_sampler::method::{MethodConfig, MethodSettings};
use egsde_sampler::settings::{DiffusionFacts, TaskFacts};

/// A row's method with every default filled in, names resolved, and without experts that never
/// count: what decides its images.
///
/// # Errors
/// Invalid input that names the row: settings that mean nothing on this task. `diffusion` is what
/// is known of the diffusion network.
pub fn settle(row: &Row, task: &Task, diffusion: Option<DiffusionFacts>) -> Result<MethodConfig> {
    let facts = TaskFacts {
        name: &task.name,
        image_size: task.image_size,
        classes: &task.classes,
        diffusion,
    };
    let settled = row.method.settle(&facts);
    settled.map_err(|error| invalid_input(format!("row {:?}: {error:#}", row.name)))
}
