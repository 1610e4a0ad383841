//! Experts of an EGSDE row: as YAML lists them, with every default filled in, and built on a workbench's networks.

use crate::error::Problem;
use crate::task::Task;
use anyhow::Result;
use egsde_models::{Dse, Loaded};
use egsde_sampler::energy::{
    ClassProbability, DomainIndependent, DomainSpecific, Energy, Expert, Similarity,
    SourceFeatures, Weight,
};
use egsde_sampler::low_pass::{Kernel, LowPass};
use serde::{Deserialize, Serialize};
use tch::Device;

/// A class of the extractor: its index, or its name where the task tells the names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Class {
    Index(i64),
    Name(String),
}

/// One entry of a row's `experts`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "expert", rename_all = "snake_case", deny_unknown_fields)]
pub enum ExpertSpec {
    /// Be unlike the source in the extractor's features (`lambda_s`).
    DomainSpecific {
        weight: Weight,
        #[serde(default = "cosine")]
        similarity: Similarity,
    },
    /// Stay near the low-passed source (`lambda_i`).
    DomainIndependent {
        weight: Weight,
        #[serde(default = "neg_l2")]
        similarity: Similarity,
        /// The row's when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        low_pass_factor: Option<usize>,
    },
    /// Be what the noised classifier calls a class: `-weight log p_t(class | y)`.
    ClassProbability { weight: Weight, class: Class },
}

fn cosine() -> Similarity {
    Similarity::Cosine
}
fn neg_l2() -> Similarity {
    Similarity::NegL2
}

/// Whether a factor divides the picture.
pub fn check_factor(row: &str, factor: usize, side: usize) -> Result<()> {
    if factor == 0 || !side.is_multiple_of(factor) {
        return Err(Problem::user(format!(
            "row {row:?}: low_pass_factor {factor} does not divide the picture's {side} px"
        )));
    }
    Ok(())
}

impl ExpertSpec {
    /// Its weight.
    pub fn weight(&self) -> Weight {
        match self {
            Self::DomainSpecific { weight, .. }
            | Self::DomainIndependent { weight, .. }
            | Self::ClassProbability { weight, .. } => *weight,
        }
    }

    /// Whether it looks at the source's features.
    pub fn needs_source_features(&self) -> bool {
        matches!(self, Self::DomainSpecific { .. })
    }

    /// Network evaluations a picture and step: (without gradient, with gradient).
    pub fn evaluations(&self) -> (usize, usize) {
        match self {
            Self::DomainSpecific { .. } => (1, 1),
            Self::DomainIndependent { .. } => (0, 0),
            Self::ClassProbability { .. } => (0, 1),
        }
    }

    /// Every default filled in, names resolved; errors name the row.
    pub fn settled(&self, row: &str, factor: usize, task: &Task) -> Result<Self> {
        self.weight()
            .check()
            .map_err(|e| Problem::user(format!("row {row:?}: {e}")))?;
        let mut settled = self.clone();
        match &mut settled {
            Self::DomainSpecific { .. } => {}
            Self::DomainIndependent {
                low_pass_factor, ..
            } => {
                let own = *low_pass_factor.get_or_insert(factor);
                check_factor(row, own, task.image_size)?;
            }
            Self::ClassProbability { class, .. } => *class = Class::Index(index(class, row, task)?),
        }
        Ok(settled)
    }
}

fn index(class: &Class, row: &str, task: &Task) -> Result<i64> {
    let known = task.classes.join(", ");
    match class {
        Class::Index(i)
            if *i < 0 || (!task.classes.is_empty() && *i >= task.classes.len() as i64) =>
        {
            Err(Problem::user(format!(
                "row {row:?}: no class {i}; the extractor of {} knows {known}",
                task.name
            )))
        }
        Class::Index(i) => Ok(*i),
        Class::Name(name) => match task.classes.iter().position(|c| c == name) {
            Some(i) => Ok(i as i64),
            None if task.classes.is_empty() => Err(Problem::user(format!(
                "row {row:?}: task {} names no classes: give the class {name:?} as a number",
                task.name
            ))),
            None => Err(Problem::user(format!(
                "row {row:?}: no class {name:?}; the extractor of {} knows {known}",
                task.name
            ))),
        },
    }
}

/// Low-pass filters of experts, in their order; they live as long as the energy that uses them.
pub fn filters(
    experts: &[ExpertSpec],
    side: usize,
    device: Device,
) -> Result<Vec<Option<LowPass>>> {
    let filter = |expert: &ExpertSpec| match expert {
        ExpertSpec::DomainIndependent {
            low_pass_factor: Some(factor),
            ..
        } => Ok(Some(LowPass::new(side, *factor, Kernel::Linear, device)?)),
        _ => Ok(None),
    };
    experts.iter().map(filter).collect()
}

/// The energy of settled experts; `shared` keeps the source's features for other rows.
pub fn energy<'a>(
    experts: &[ExpertSpec],
    filters: &'a [Option<LowPass>],
    extractor: &'a Loaded<Dse>,
    shared: Option<&'a SourceFeatures>,
) -> Energy<'a> {
    let build =
        |(expert, filter): (&ExpertSpec, &'a Option<LowPass>)| -> Option<Box<dyn Expert + 'a>> {
            Some(match expert {
                ExpertSpec::DomainSpecific { weight, similarity } => Box::new(DomainSpecific {
                    extractor,
                    similarity: *similarity,
                    weight: *weight,
                    shared,
                }),
                ExpertSpec::DomainIndependent {
                    weight, similarity, ..
                } => Box::new(DomainIndependent {
                    low_pass: filter.as_ref()?,
                    similarity: *similarity,
                    weight: *weight,
                }),
                ExpertSpec::ClassProbability {
                    weight,
                    class: Class::Index(class),
                } => Box::new(ClassProbability {
                    classifier: extractor,
                    class: *class,
                    weight: *weight,
                }),
                // Settled experts have indices.
                ExpertSpec::ClassProbability { .. } => return None,
            })
        };
    Energy(experts.iter().zip(filters).filter_map(build).collect())
}
