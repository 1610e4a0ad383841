//! What an expert's settings answer, and what follows from that for any expert.

use super::{Energy, Expert, ExpertConfig, Weight};
use crate::cost::ExpertCost;
use crate::settings::{Networks, TaskFacts};
use anyhow::Result;

/// Settings of one expert: a serde struct of the expert's own keys with `deny_unknown_fields`. No
/// function has a default, so that the compiler asks for each.
pub trait ExpertSettings: Sized {
    /// The expert's weight.
    fn weight(&self) -> Weight;

    /// Network evaluations per image and step where its weight is not 0.
    fn cost(&self) -> ExpertCost;

    /// The settings with every default filled in and names resolved: what decides the images.
    /// `low_pass_factor` is that of the row.
    ///
    /// # Errors
    /// Settings that mean nothing on this task.
    fn settle(&self, low_pass_factor: usize, task: &TaskFacts) -> Result<Self>;

    /// The expert of settled settings.
    ///
    /// # Errors
    /// Settings that were not settled, or a network that is missing.
    fn build<'a>(&self, networks: &Networks<'a>) -> Result<Box<dyn Expert + 'a>>;
}

impl ExpertConfig {
    /// Whether it evaluates the extractor.
    pub fn uses_extractor(&self) -> bool {
        self.cost() != ExpertCost::default()
    }

    /// Whether it looks at the source's features.
    pub fn needs_source_features(&self) -> bool {
        self.cost().forward > 0
    }
}

/// Settles experts and leaves out those that never count. `low_pass_factor` is that of the row.
///
/// # Errors
/// Settings that mean nothing on this task.
pub fn settle_experts(
    experts: Vec<ExpertConfig>,
    low_pass_factor: usize,
    task: &TaskFacts,
) -> Result<Vec<ExpertConfig>> {
    let mut settled = Vec::new();
    for expert in experts {
        if !expert.weight().is_zero() {
            expert.weight().check()?;
            settled.push(expert.settle(low_pass_factor, task)?);
        }
    }
    Ok(settled)
}

/// The energy of settled experts.
///
/// # Errors
/// As [`ExpertSettings::build`].
pub fn build_energy<'a>(experts: &[ExpertConfig], networks: &Networks<'a>) -> Result<Energy<'a>> {
    let built = experts.iter().map(|expert| expert.build(networks));
    Ok(Energy(built.collect::<Result<_>>()?))
}
