//! One golden case: its inputs, its networks with weights by formula, its expectations.

use anyhow::{Context, Result, bail, ensure};
use egsde_models::comparison::relative_error;
use egsde_models::networks::Build;
use egsde_models::networks::Diffusion;
use egsde_models::weights::read_safetensors;
use egsde_models::{Dse, Loaded, NetworkConfig, synthetic};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Where and in which precision the networks compute, and by how much tolerances are widened for
/// it.
#[derive(Debug, Clone, Copy)]
pub struct ParityOptions {
    /// Where the networks and the sampler's tensors lie.
    pub device: Device,
    /// Precision of convolutions and products; everything else stays float32.
    pub kind: Kind,
    /// Every tolerance is multiplied by this; 1 is the reference's own.
    pub widen: f64,
    /// Smaller tolerances are raised to this.
    pub least_tolerance: f64,
}

impl Default for ParityOptions {
    /// The CPU in float32 at the reference's own tolerances.
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            kind: Kind::Float,
            widen: 1.0,
            least_tolerance: 0.0,
        }
    }
}

/// The text under a key.
pub fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key]
        .as_str()
        .with_context(|| format!("no text {key:?}"))
}

/// The number under a key.
pub fn number(value: &Value, key: &str) -> Result<f64> {
    value[key]
        .as_f64()
        .with_context(|| format!("no number {key:?}"))
}

/// The whole number under a key.
pub fn whole(value: &Value, key: &str) -> Result<usize> {
    let number = value[key]
        .as_u64()
        .with_context(|| format!("no whole number {key:?}"))?;
    Ok(number as usize)
}

/// A value of any type under a key.
pub fn parse<T: DeserializeOwned>(value: &Value, key: &str) -> Result<T> {
    serde_json::from_value(value[key].clone()).with_context(|| format!("{key:?}"))
}

/// How far one result lies from the reference's.
#[derive(Debug, Clone, Copy)]
pub struct Deviation {
    /// Largest difference, as a fraction of the largest expected number.
    pub error: f64,
    /// Largest error allowed.
    pub tolerance: f64,
}

impl Deviation {
    /// The error as a fraction of its tolerance.
    fn fraction(self) -> f64 {
        if self.tolerance > 0.0 {
            self.error / self.tolerance
        } else if self.error > 0.0 {
            f64::INFINITY
        } else {
            0.0
        }
    }
}

/// A network whose weights are made by formula.
struct Synthetic {
    config: NetworkConfig,
    /// The factor of the formula's weights.
    gain: f64,
    /// Put in front of each key before the formula is applied.
    prefix: String,
}

/// One case with its tensors.
pub struct Case<'a> {
    /// Its entry in the list of cases.
    pub value: &'a Value,
    /// Where its files lie.
    pub folder: &'a Path,
    /// How it is computed.
    pub options: ParityOptions,
    tensors: BTreeMap<String, Tensor>,
    worst: Deviation,
    /// Name of the expectation that `worst` is of, where it has one.
    worst_name: String,
}

impl<'a> Case<'a> {
    /// Reads the tensors of a case, if it has a file of them.
    pub fn open(value: &'a Value, folder: &'a Path, options: ParityOptions) -> Result<Self> {
        let tensors = match value["file"].as_str() {
            Some(file) => read_safetensors(&folder.join(file))?.tensors,
            None => BTreeMap::new(),
        };
        let worst = Deviation {
            error: 0.0,
            tolerance: 0.0,
        };
        Ok(Self {
            value,
            folder,
            options,
            tensors,
            worst,
            worst_name: String::new(),
        })
    }

    /// The result that came closest to its tolerance, or furthest over it.
    pub fn worst(&self) -> Deviation {
        self.worst
    }

    /// The name of the expectation that [`Case::worst`] is of; empty where it has none.
    pub fn worst_name(&self) -> &str {
        &self.worst_name
    }

    /// A tensor of the case's file.
    pub fn stored(&self, name: &str) -> Result<Tensor> {
        let tensor = self.tensors.get(name);
        let tensor = tensor.with_context(|| format!("no tensor {name:?} in the case's file"))?;
        Ok(tensor.shallow_clone())
    }

    /// An input on the device: a tensor of the file, or one by formula.
    pub fn input(&self, name: &str) -> Result<Tensor> {
        let spec = &self.value["inputs"][name];
        if let Some(stored) = spec["tensor"].as_str() {
            return Ok(self.stored(stored)?.to_device(self.options.device));
        }
        let shape: Vec<i64> = parse(spec, "shape")?;
        let x = match text(spec, "gen")? {
            "uniform" => synthetic::uniform(text(spec, "name")?, &shape),
            "gaussian" => synthetic::gaussian(text(spec, "name")?, &shape),
            other => bail!("unknown generator {other:?}"),
        };
        let x = x * spec["scale"].as_f64().unwrap_or(1.0) + spec["shift"].as_f64().unwrap_or(0.0);
        Ok(x.to_device(self.options.device))
    }

    /// The network under a key, whose weights are made by formula.
    fn synthetic(&self, key: &str) -> Result<Synthetic> {
        let mut config = self.value[key].clone();
        let fields = config
            .as_object_mut()
            .with_context(|| format!("no {key:?}"))?;
        let weights = fields.remove("weights");
        let is_synthetic = weights.is_some_and(|weights| weights == "synthetic");
        ensure!(is_synthetic, "{key}: only synthetic weights are known");
        let gain = fields
            .remove("gain")
            .and_then(|gain| gain.as_f64())
            .unwrap_or(1.0);
        let prefix = fields.remove("prefix");
        let prefix = prefix.as_ref().and_then(Value::as_str).unwrap_or_default();
        Ok(Synthetic {
            gain,
            prefix: prefix.into(),
            config: serde_json::from_value(config).with_context(|| key.to_string())?,
        })
    }

    /// The diffusion network whose configuration stands under a key, with weights by formula.
    pub fn diffusion(&self, key: &str) -> Result<Diffusion> {
        let Synthetic { config, gain, .. } = self.synthetic(key)?;
        let mut network = Diffusion::fresh(&config, self.options.device, self.options.kind)?;
        synthetic::fill(network.vs(), gain);
        network.freeze();
        Ok(network)
    }

    /// The extractor whose configuration stands under a key, with weights by formula.
    pub fn extractor(&self, key: &str) -> Result<Loaded<Dse>> {
        self.frozen(key)
    }

    /// The frozen network of a family whose configuration stands under a key, with weights by
    /// formula.
    pub fn frozen<N: Build>(&self, key: &str) -> Result<Loaded<N>> {
        let mut network = self.trainable(key)?;
        network.freeze();
        Ok(network)
    }

    /// The network of a case, still to be trained.
    pub fn trainable<N: Build>(&self, key: &str) -> Result<Loaded<N>> {
        let Synthetic {
            config,
            gain,
            prefix,
        } = self.synthetic(key)?;
        let network = Loaded::<N>::fresh(&config, self.options.device, self.options.kind)?;
        synthetic::fill_prefixed(&network.vs, &prefix, gain);
        Ok(network)
    }

    /// A network with weights by formula.
    pub fn synthetic_network<N: Build>(
        &self,
        config: &NetworkConfig,
        kind: Kind,
        gain: f64,
    ) -> Result<Loaded<N>> {
        let mut network = Loaded::<N>::fresh(config, self.options.device, kind)?;
        synthetic::fill(&network.vs, gain);
        network.freeze();
        Ok(network)
    }

    /// Notes a deviation at the reference's own tolerance.
    pub fn note(&mut self, error: f64, tolerance: f64) {
        self.note_of("", error, tolerance);
    }

    /// [`Case::note`] of the expectation of this name.
    fn note_of(&mut self, name: &str, error: f64, tolerance: f64) {
        let new = Deviation {
            error,
            tolerance: (tolerance * self.options.widen).max(self.options.least_tolerance),
        };
        let (fraction, worst) = (new.fraction(), self.worst.fraction());
        // A NaN must win and stay.
        if fraction.is_nan() || fraction >= worst {
            self.worst = new;
            self.worst_name = name.into();
        }
    }

    /// Compares every expectation of the case with the result of its name.
    pub fn expect_all(&mut self, results: &BTreeMap<String, Tensor>) -> Result<()> {
        let expected = self.value["expected"].as_object();
        for name in expected.context("no expectations")?.keys() {
            let got = results.get(name);
            let got = got.with_context(|| format!("{name} is not computed"))?;
            self.expect(name, got)?;
        }
        Ok(())
    }

    /// Compares `got` with the expectation `name`, of which every stride-th row and column was
    /// stored.
    pub fn expect(&mut self, name: &str, got: &Tensor) -> Result<()> {
        let spec = &self.value["expected"][name];
        let tolerance = number(spec, "rel_tol")?;
        let want = self.stored(text(spec, "tensor")?)?.to_kind(Kind::Double);
        let stride = spec["stride"].as_i64().unwrap_or(1);
        let mut got = got.to_device(Device::Cpu).to_kind(Kind::Double);
        if stride > 1 {
            got = got
                .slice(2, None, None, stride)
                .slice(3, None, None, stride);
        }
        check_shape(name, &got, &want.size())?;
        self.note_of(name, relative_error(&got, &want), tolerance);
        Ok(())
    }
}

/// Refuses a result whose shape is not the expected one.
pub fn check_shape(name: &str, got: &Tensor, want: &[i64]) -> Result<()> {
    let got = got.size();
    ensure!(got == want, "{name}: shape {got:?}, expected {want:?}");
    Ok(())
}
