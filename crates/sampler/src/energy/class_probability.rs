//! Classifier guidance as an energy (last part of the authors' slides). The energy falls as the
//! noised classifier's probability of class c rises.

use super::{Expert, ExpertSettings, State, Weight};
use crate::cost::ExpertCost;
use crate::settings::{Networks, TaskFacts};
use anyhow::{Context, Result, bail, ensure};
use egsde_models::{Dse, Loaded};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// A class of the extractor: its index, or its name where the task tells the names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a class is a name or a number from 0")]
pub enum Class {
    /// Counts from 0.
    Index(i64),
    /// One of the task's.
    Name(String),
}

/// Keys of the expert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassProbabilityConfig {
    /// Its weight.
    pub weight: Weight,
    /// The class to be.
    pub class: Class,
}

/// Energy `-weight * log p_t(class | y)`.
pub struct ClassProbability<'a> {
    /// The extractor with its classification head.
    pub classifier: &'a Loaded<Dse>,
    /// Index of the class among the classifier's.
    pub class: i64,
    /// The expert's weight.
    pub weight: Weight,
}

impl ClassProbability<'_> {
    /// One evaluation with gradient.
    pub const COST: ExpertCost = ExpertCost {
        forward: 0,
        gradient: 1,
    };
}

impl Expert for ClassProbability<'_> {
    fn weight(&self) -> Weight {
        self.weight
    }

    fn gradient(&self, state: &State) -> Tensor {
        let Loaded { net, kind, .. } = self.classifier;
        self.classifier.gradient(state.y, state.t, |features| {
            -net.logits(features, *kind)
                .log_softmax(-1, Kind::Float)
                .select(1, self.class)
        })
    }
}

impl Class {
    /// Its index among the extractor's classes.
    fn index(&self, task: &TaskFacts) -> Result<i64> {
        let (known, task_name) = (task.classes, task.name);
        let (found, shown) = match self {
            Self::Index(index) => {
                let is_known = known.is_empty() || *index < known.len() as i64;
                let found = (*index >= 0 && is_known).then_some(*index);
                (found, index.to_string())
            }
            Self::Name(name) => {
                ensure!(
                    !known.is_empty(),
                    "task {task_name} names no classes: give the class {name:?} as a number"
                );
                let found = known.iter().position(|class| class == name);
                (found.map(|index| index as i64), format!("{name:?}"))
            }
        };
        found.with_context(|| {
            let known = known.join(", ");
            format!("no class {shown}; the extractor of {task_name} knows {known}")
        })
    }
}

impl ExpertSettings for ClassProbabilityConfig {
    fn weight(&self) -> Weight {
        self.weight
    }

    fn cost(&self) -> ExpertCost {
        ClassProbability::COST
    }

    fn settle(&self, _: usize, task: &TaskFacts) -> Result<Self> {
        Ok(Self {
            class: Class::Index(self.class.index(task)?),
            ..self.clone()
        })
    }

    fn build<'a>(&self, networks: &Networks<'a>) -> Result<Box<dyn Expert + 'a>> {
        let class = match &self.class {
            Class::Index(class) => *class,
            Class::Name(name) => bail!("class {name:?} was not resolved"),
        };
        Ok(Box::new(ClassProbability {
            classifier: networks
                .extractor
                .context("an expert needs the extractor")?,
            class,
            weight: self.weight,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egsde_models::NetworkConfig;
    use tch::Device;

    const CLASSIFIER: &str = r#"{
        "kind": "dse", "image_size": 8, "classifier_width": 32, "classifier_depth": 1,
        "channel_mult": [1, 2], "attention_resolutions": [4], "num_head_channels": 32,
        "num_classes": 2, "pool": "attention", "use_scale_shift_norm": true, "resblock_updown": true
    }"#;

    /// A classifier with random weights; a freshly built head may be zero, so noise is added to
    /// every weight.
    fn random_classifier() -> Loaded<Dse> {
        let config: NetworkConfig = serde_json::from_str(CLASSIFIER).unwrap();
        let classifier = Loaded::<Dse>::fresh(&config, Device::Cpu, Kind::Float).unwrap();
        tch::no_grad(|| {
            for weight in classifier.vs.variables().values_mut() {
                let _ = weight.f_add_(&(weight.randn_like() * 0.1)).unwrap();
            }
        });
        classifier
    }

    fn energy(classifier: &Loaded<Dse>, y: &Tensor, t: &Tensor) -> f64 {
        let logits = tch::no_grad(|| classifier.logits(y, t));
        let log_probability = logits.log_softmax(-1, Kind::Float).select(1, 1);
        -log_probability.sum(Kind::Double).double_value(&[])
    }

    #[test]
    fn the_gradient_is_that_of_the_energy_and_leads_to_the_class() {
        tch::manual_seed(3);
        let classifier = random_classifier();
        let options = (Kind::Float, Device::Cpu);
        let y = Tensor::randn([2, 3, 8, 8], options);
        let t = Tensor::from_slice(&[100f32, 400.0]);
        let weight = Weight::Constant(1.0);
        let expert = ClassProbability {
            classifier: &classifier,
            class: 1,
            weight,
        };
        let gradient = expert.gradient(&State {
            y: &y,
            xt: &y,
            t: &t,
            t_frac: 0.1,
            source_key: None,
        });
        let direction = Tensor::randn([2, 3, 8, 8], options);
        let above = energy(&classifier, &(&y + &direction * 1e-2), &t);
        let below = energy(&classifier, &(&y - &direction * 1e-2), &t);
        let slope = (above - below) / 2e-2;
        let want = (&gradient * &direction).sum(Kind::Double).double_value(&[]);
        assert!(
            (slope - want).abs() < 0.02 * want.abs().max(0.1),
            "{slope} {want}"
        );
        let lower = energy(&classifier, &(&y - &gradient), &t);
        let here = energy(&classifier, &y, &t);
        assert!(
            lower < here,
            "a step down the energy makes the class more probable"
        );
    }
}
