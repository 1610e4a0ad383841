//! The networks and methods whose steps are timed.

use crate::project::Project;
use crate::yaml::read_yaml;
use anyhow::Result;
use egsde_models::networks::Diffusion;
use egsde_models::{Dse, Loaded, NetworkConfig, synthetic};
use egsde_sampler::method::{MethodConfig, MethodSettings};
use egsde_sampler::schedule::NUM_TRAIN_TIMESTEPS;
use egsde_sampler::settings::{DiffusionFacts, Networks, TaskFacts};
use serde_json::{Value, json};
use tch::{Device, Kind};

/// Configurations of the networks, and the size of their images.
#[derive(Debug, Clone)]
pub struct Scale {
    /// Side of the images in pixels.
    pub side: usize,
    /// The factor of EGSDE's energy and of ILVR.
    pub low_pass_factor: usize,
    diffusion: NetworkConfig,
    extractor: NetworkConfig,
}

/// A method whose steps are timed, with the settings of the paper's Table 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SteppedMethod {
    /// One evaluation of the diffusion network per step.
    Sdedit,
    /// One evaluation of the diffusion network per step, and two filters.
    Ilvr,
    /// The diffusion network, and the extractor twice, once with its gradient.
    Egsde,
}

impl SteppedMethod {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sdedit, Self::Ilvr, Self::Egsde];

    /// As tables spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sdedit => "SDEdit",
            Self::Ilvr => "ILVR",
            Self::Egsde => "EGSDE",
        }
    }

    /// The keys of a row of so many steps.
    fn keys(self, steps: usize, low_pass_factor: usize) -> Value {
        let start = steps as f64 / NUM_TRAIN_TIMESTEPS as f64;
        match self {
            Self::Sdedit => json!({"method": "sdedit", "start": start}),
            Self::Ilvr => json!({
                "method": "ilvr",
                "steps": steps,
                "low_pass_factor": low_pass_factor,
            }),
            Self::Egsde => json!({
                "method": "egsde",
                "start": start,
                "lambda_s": 500,
                "lambda_i": 2,
                "low_pass_factor": low_pass_factor,
            }),
        }
    }
}

/// Networks with weights by formula on a device.
pub struct FormulaNetworks {
    diffusion: Diffusion,
    extractor: Loaded<Dse>,
    side: usize,
    device: Device,
}

impl FormulaNetworks {
    /// What methods are built on.
    pub fn networks(&self) -> Networks<'_> {
        Networks {
            diffusion: Some(&self.diffusion),
            extractor: Some(&self.extractor),
            generator: None,
            references: None,
            source_features: None,
            image_size: self.side,
            device: self.device,
        }
    }
}

impl Scale {
    /// The published networks for dogs at 256 px, read from the project's configurations.
    ///
    /// # Errors
    /// Invalid input: a configuration that cannot be read.
    pub fn published(project: &Project) -> Result<Self> {
        let file = |name| project.resolve("configs/networks").join(name);
        Ok(Self {
            side: 256,
            low_pass_factor: 32,
            diffusion: read_yaml(&file("afhq_dog_adm_256.yaml"))?,
            extractor: read_yaml(&file("dse_2_classes_256.yaml"))?,
        })
    }

    /// Small networks of the same families at 32 px, to see that everything works.
    ///
    /// # Errors
    /// None: the configurations are fixed.
    pub fn small() -> Result<Self> {
        Ok(Self {
            side: 32,
            low_pass_factor: 4,
            diffusion: serde_json::from_value(json!({
                "kind": "adm_unet", "image_size": 32, "num_channels": 32, "channel_mult": [1, 2],
                "num_res_blocks": 1, "attention_resolutions": [16], "num_head_channels": 32,
                "learn_sigma": true, "use_scale_shift_norm": true, "resblock_updown": true
            }))?,
            extractor: serde_json::from_value(json!({
                "kind": "dse", "image_size": 32, "classifier_width": 32, "classifier_depth": 1,
                "channel_mult": [1, 2], "attention_resolutions": [16], "num_head_channels": 32,
                "num_classes": 2, "pool": "attention", "use_scale_shift_norm": true,
                "resblock_updown": true
            }))?,
        })
    }

    /// The networks with weights by formula.
    ///
    /// # Errors
    /// A configuration of another family.
    pub fn open(&self, device: Device, kind: Kind) -> Result<FormulaNetworks> {
        let mut diffusion = Diffusion::fresh(&self.diffusion, device, kind)?;
        synthetic::fill(diffusion.vs(), 1.0);
        diffusion.freeze();
        let mut extractor = Loaded::<Dse>::fresh(&self.extractor, device, kind)?;
        synthetic::fill(&extractor.vs, 1.0);
        extractor.freeze();
        Ok(FormulaNetworks {
            diffusion,
            extractor,
            side: self.side,
            device,
        })
    }

    /// The settled settings of a method of so many steps.
    ///
    /// # Errors
    /// Steps that no schedule has.
    pub fn settings(&self, method: SteppedMethod, steps: usize) -> Result<MethodConfig> {
        let keys = method.keys(steps, self.low_pass_factor);
        let config: MethodConfig = serde_json::from_value(keys)?;
        config.settle(&TaskFacts {
            name: "check-gpu",
            image_size: self.side,
            classes: &[],
            diffusion: Some(DiffusionFacts::new(&self.diffusion)),
            target: "dog",
            stargan_v2_domains: None,
        })
    }
}
