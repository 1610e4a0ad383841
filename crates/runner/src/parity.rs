//! Golden cases: does this build compute what the reference computes? (format: tests/golden/README.md)

use anyhow::{Context, Result, bail, ensure};
use egsde_metrics::frechet::{Statistics, frechet_distance};
use egsde_metrics::image_file;
use egsde_metrics::pair::pair_scores;
use egsde_metrics::protocol::{Protocol, inception_features, pair_input};
use egsde_metrics::resize::{Filter, resize, resize_short_side};
use egsde_models::network::{Build, Loaded};
use egsde_models::weights::read_safetensors;
use egsde_models::{AdmUnet, DdpmUnet, Dse, Inception, NetworkConfig, synthetic};
use egsde_sampler::energy::{
    DomainIndependent, DomainSpecific, Energy, Expert, Similarity, Weight, similarity,
};
use egsde_sampler::low_pass::{Kernel, LowPass};
use egsde_sampler::method::{Egsde, Ilvr, IlvrVariance, Method, Solver, SourceNoise};
use egsde_sampler::noise::{Noise, Purpose};
use egsde_sampler::schedule::{Schedule, Variance, space_timesteps};
use serde::Deserialize;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Verdict on one case.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Verdict {
    pub case: String,
    pub op: String,
    /// Largest `max|got - want| / max|want|` over its tensors.
    pub max_rel_err: f64,
    /// Tolerance of the tensor that came closest to (or furthest over) its own.
    pub tolerance: f64,
    pub ok: bool,
}

#[derive(Debug, Deserialize)]
struct Cases {
    format: String,
    cases: Vec<Value>,
}

/// The cases of a folder, raw, in order.
pub fn cases(folder: &Path) -> Result<Vec<Value>> {
    let path = folder.join("cases.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let cases: Cases = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    ensure!(
        cases.format == "egsde-parity/1",
        "{}: format {:?}, expected egsde-parity/1",
        path.display(),
        cases.format
    );
    Ok(cases.cases)
}

fn text<'a>(case: &'a Value, key: &str) -> Result<&'a str> {
    case[key]
        .as_str()
        .with_context(|| format!("no text {key:?}"))
}

fn number(case: &Value, key: &str) -> Result<f64> {
    case[key]
        .as_f64()
        .with_context(|| format!("no number {key:?}"))
}

fn whole(case: &Value, key: &str) -> Result<usize> {
    Ok(case[key]
        .as_u64()
        .with_context(|| format!("no whole number {key:?}"))? as usize)
}

fn choice<T: serde::de::DeserializeOwned>(case: &Value, key: &str) -> Result<T> {
    serde_json::from_value(case[key].clone()).with_context(|| format!("{key:?}"))
}

/// Picture files of a folder in name order.
fn pictures(folder: &Path) -> Result<Vec<image_file::Rgb>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths: Vec<_> = entries
        .map(|e| anyhow::Ok(e?.path()))
        .collect::<Result<_>>()?;
    paths.sort();
    paths.iter().map(|p| image_file::read(p)).collect()
}

/// Where and in which precision the networks compute, and by how much tolerances are widened for it.
#[derive(Debug, Clone, Copy)]
pub struct Bench {
    pub device: Device,
    /// Of convolutions and products; everything else stays float32.
    pub kind: Kind,
    /// Every tolerance is multiplied by this; 1 is the reference's own.
    pub widen: f64,
}

impl Default for Bench {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            kind: Kind::Float,
            widen: 1.0,
        }
    }
}

/// One case with its tensors.
struct Case<'a> {
    value: &'a Value,
    folder: &'a Path,
    tensors: BTreeMap<String, Tensor>,
    worst: (f64, f64),
    bench: Bench,
}

impl Case<'_> {
    fn input(&self, name: &str) -> Result<Tensor> {
        let spec = &self.value["inputs"][name];
        if let Some(stored) = spec["tensor"].as_str() {
            return Ok(self.stored(stored)?.to_device(self.bench.device));
        }
        let shape: Vec<i64> = choice(spec, "shape")?;
        let x = match text(spec, "gen")? {
            "uniform" => synthetic::uniform(text(spec, "name")?, &shape),
            "gaussian" => synthetic::gaussian(text(spec, "name")?, &shape),
            other => bail!("unknown generator {other:?}"),
        };
        let x = x * spec["scale"].as_f64().unwrap_or(1.0) + spec["shift"].as_f64().unwrap_or(0.0);
        Ok(x.to_device(self.bench.device))
    }

    fn stored(&self, name: &str) -> Result<Tensor> {
        Ok(self
            .tensors
            .get(name)
            .with_context(|| format!("no tensor {name:?} in the case's file"))?
            .shallow_clone())
    }

    fn network<N: Build>(&self, key: &str) -> Result<Loaded<N>> {
        let mut config = self.value[key].clone();
        let fields = config
            .as_object_mut()
            .with_context(|| format!("no {key:?}"))?;
        ensure!(
            fields.remove("weights").is_some_and(|w| w == "synthetic"),
            "{key}: only synthetic weights are known"
        );
        let gain = fields
            .remove("gain")
            .and_then(|g| g.as_f64())
            .unwrap_or(1.0);
        let config: NetworkConfig =
            serde_json::from_value(config).with_context(|| key.to_string())?;
        let mut loaded = Loaded::<N>::fresh(&config, self.bench.device, self.bench.kind)?;
        synthetic::fill(&loaded.vs, gain);
        loaded.freeze();
        Ok(loaded)
    }

    fn note(&mut self, error: f64, tolerance: f64) {
        let tolerance = tolerance * self.bench.widen;
        let share = |(e, t): (f64, f64)| {
            if t > 0.0 {
                e / t
            } else if e > 0.0 {
                f64::INFINITY
            } else {
                0.0
            }
        };
        let (new, old) = (share((error, tolerance)), share(self.worst));
        // A NaN must win and stay.
        if new.is_nan() || new >= old {
            self.worst = (error, tolerance);
        }
    }

    /// Compares `got` with the expectation `name`.
    fn expect(&mut self, name: &str, got: &Tensor) -> Result<()> {
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
        ensure!(
            got.size() == want.size(),
            "{name}: shape {:?}, expected {:?}",
            got.size(),
            want.size()
        );
        let error =
            (got - &want).abs().max().double_value(&[]) / want.abs().max().double_value(&[]);
        self.note(error, tolerance);
        Ok(())
    }

    fn run(&mut self) -> Result<()> {
        match text(self.value, "op")? {
            "network_forward" => self.network_forward(),
            "domain_specific_energy" => self.domain_specific_energy(),
            "low_pass" => self.low_pass(),
            "schedule" => self.schedule(),
            "egsde" => self.egsde(),
            "ilvr" => self.ilvr(),
            "frechet_distance" => self.frechet(),
            "pair_metrics" => self.pair_metrics(),
            "pillow" => self.pillow(),
            "inception_features" => self.inception_features(),
            other => bail!("operation {other:?} is not supported by this version"),
        }
    }

    fn network_forward(&mut self) -> Result<()> {
        let (x, t) = (self.input("x")?, self.input("t")?);
        let out = match text(&self.value["network"], "kind")? {
            "ddpm_unet" => {
                let network = self.network::<DdpmUnet>("network")?;
                tch::no_grad(|| network.output(&x, &t))
            }
            _ => {
                let network = self.network::<AdmUnet>("network")?;
                tch::no_grad(|| network.output(&x, &t))
            }
        };
        self.expect("out", &out)
    }

    fn domain_specific_energy(&mut self) -> Result<()> {
        let dse = self.network::<Dse>("network")?;
        let (y, xt, t) = (self.input("y")?, self.input("xt")?, self.input("t")?);
        let features = tch::no_grad(|| dse.features(&y, &t));
        self.expect("features", &features)?;
        self.expect("logits", &tch::no_grad(|| dse.logits(&y, &t)))?;
        let source = tch::no_grad(|| dse.features(&xt, &t));
        for (kind, name) in [
            (Similarity::Cosine, "cosine"),
            (Similarity::NegL2, "neg_l2"),
        ] {
            self.expect(name, &similarity(kind, &features, &source))?;
            let gradient = dse.gradient(&y, &t, |features| similarity(kind, features, &source));
            self.expect(&format!("{name}_grad"), &gradient)?;
        }
        Ok(())
    }

    fn low_pass(&mut self) -> Result<()> {
        let x = self.input("x")?;
        let low_pass = LowPass::new(
            x.size()[3] as usize,
            whole(self.value, "factor")?,
            Kernel::Linear,
            self.bench.device,
        )?;
        let down = low_pass.down(&x);
        self.expect("down", &down)?;
        self.expect("up", &low_pass.up(&down))
    }

    fn schedule(&mut self) -> Result<()> {
        let schedule = Schedule::linear(
            number(self.value, "beta_start")?,
            number(self.value, "beta_end")?,
            whole(self.value, "steps")?,
        )
        .in_float32();
        self.expect("betas", &Tensor::from_slice(&schedule.betas))?;
        self.expect(
            "alphas_cumprod",
            &Tensor::from_slice(&schedule.alphas_cumprod),
        )?;
        for (variance, name) in [
            (Variance::FixedSmall, "logvar_fixedsmall"),
            (Variance::FixedLarge, "logvar_fixedlarge"),
        ] {
            let values: Vec<f64> = (0..schedule.len())
                .map(|i| schedule.log_variance(variance, i))
                .collect();
            self.expect(name, &Tensor::from_slice(&values))?;
        }
        Ok(())
    }

    fn egsde(&mut self) -> Result<()> {
        let case = self.value;
        let diffusion = self.network::<AdmUnet>("diffusion")?;
        let dse = self.network::<Dse>("dse")?;
        let x0 = self.input("x0")?;
        let low_pass = LowPass::new(
            x0.size()[3] as usize,
            whole(case, "low_pass_factor")?,
            Kernel::Linear,
            self.bench.device,
        )?;
        let (lambda_s, lambda_i) = (number(case, "lambda_s")?, number(case, "lambda_i")?);
        let mut experts: Vec<Box<dyn Expert>> = Vec::new();
        if lambda_s != 0.0 {
            experts.push(Box::new(DomainSpecific {
                extractor: &dse,
                similarity: choice(case, "similarity_s")?,
                weight: Weight::Constant(lambda_s),
                shared: None,
            }));
        }
        if lambda_i != 0.0 {
            experts.push(Box::new(DomainIndependent {
                low_pass: &low_pass,
                similarity: choice(case, "similarity_i")?,
                weight: Weight::Constant(lambda_i),
            }));
        }
        let start_steps = whole(case, "start_steps")?;
        let method = Egsde {
            diffusion: &diffusion,
            energy: Energy(experts),
            schedule: Schedule::ddpm().in_float32(),
            start_steps,
            solver: Solver::Ancestral,
            eta: 0.0,
            variance: choice(case, "variance")?,
            source_noise: SourceNoise::Shared,
            repeats: whole(case, "repeats")?,
        };
        let seen: RefCell<BTreeMap<String, Tensor>> = RefCell::default();
        let image = method.translate(
            &x0,
            &NamedNoise {
                case,
                device: self.bench.device,
            },
            &mut |repeat, i, y| {
                if i + 1 == start_steps {
                    seen.borrow_mut()
                        .insert(format!("after_first_step.{repeat}"), y.copy());
                }
                if i == 0 {
                    seen.borrow_mut().insert(format!("y.{repeat}"), y.copy());
                }
            },
        )?;
        for (name, y) in seen.into_inner() {
            self.expect(&name, &y)?;
        }
        self.expect("image", &image)
    }

    fn ilvr(&mut self) -> Result<()> {
        let case = self.value;
        let diffusion = self.network::<AdmUnet>("diffusion")?;
        let x0 = self.input("x0")?;
        let low_pass = LowPass::new(
            x0.size()[3] as usize,
            whole(case, "low_pass_factor")?,
            Kernel::Cubic,
            self.bench.device,
        )?;
        let count = text(case, "timestep_respacing")?
            .parse()
            .context("timestep_respacing is not one number")?;
        let timesteps = space_timesteps(1000, count)?;
        let indices: Vec<i64> = timesteps.iter().map(|i| *i as i64).collect();
        self.expect("timesteps", &Tensor::from_slice(&indices))?;
        let method = Ilvr {
            diffusion: &diffusion,
            low_pass: &low_pass,
            schedule: Schedule::ddpm().respaced(&timesteps),
            range_t: whole(case, "range_t")?,
            variance: choice::<IlvrVariance>(case, "variance")?,
            clip_denoised: choice(case, "clip_denoised")?,
        };
        let (mut first, mut last) = (None, None);
        let _ = method.translate(
            &x0,
            &NamedNoise {
                case,
                device: self.bench.device,
            },
            &mut |_, i, y| {
                first.get_or_insert_with(|| y.copy());
                if i == 0 {
                    last = Some(y.copy());
                }
            },
        )?;
        self.expect("after_first_step", &first.context("no step was taken")?)?;
        self.expect("out", &last.context("no step was taken")?)
    }

    fn pair_metrics(&mut self) -> Result<()> {
        let tolerance = number(self.value, "rel_tol")?;
        let inputs = |key: &str| -> Result<Vec<Tensor>> {
            pictures(&self.folder.join(text(self.value, key)?))?
                .iter()
                .map(pair_input)
                .collect()
        };
        let (sources, translated) = (inputs("source")?, inputs("translated")?);
        let rows: Vec<BTreeMap<String, f64>> = choice(self.value, "expected_rows")?;
        ensure!(
            sources.len() == rows.len() && translated.len() == rows.len(),
            "{} rows, {} pictures",
            rows.len(),
            sources.len()
        );
        let mut sums = [0.0; 4];
        for ((source, translation), want) in sources.iter().zip(&translated).zip(&rows) {
            let got = pair_scores(source, translation)?[0];
            for (i, (key, got)) in [
                ("l2", got.l2),
                ("mse", got.mse),
                ("psnr", got.psnr),
                ("ssim", got.ssim),
            ]
            .into_iter()
            .enumerate()
            {
                self.note((got - want[key]).abs() / want[key].abs(), tolerance);
                sums[i] += got / rows.len() as f64;
            }
        }
        for (key, mean) in ["l2", "mse", "psnr", "ssim"].into_iter().zip(sums) {
            let want = number(&self.value["expected_mean"], key)?;
            self.note((mean - want).abs() / want.abs(), tolerance);
        }
        Ok(())
    }

    /// Largest difference in 8-bit levels; 0 is allowed, so the "relative error" of this case is a level.
    fn same_pixels(&mut self, name: &str, got: &image_file::Rgb) -> Result<()> {
        let want = self.stored(name)?;
        ensure!(
            want.size() == [got.height as i64, got.width as i64, 3],
            "{name}: shape {:?}",
            want.size()
        );
        let want = Vec::<u8>::try_from(want.contiguous().flatten(0, -1))?;
        let levels = got
            .pixels
            .iter()
            .zip(&want)
            .map(|(a, b)| a.abs_diff(*b))
            .max()
            .unwrap_or(0);
        self.note(f64::from(levels), number(&self.value["expected"], name)?);
        Ok(())
    }

    fn pillow(&mut self) -> Result<()> {
        let source = image_file::read(&self.folder.join(text(self.value, "image")?))?;
        self.same_pixels("decoded_jpeg", &source)?;
        self.same_pixels(
            "bicubic_256",
            &resize_short_side(&source, 256, Filter::Bicubic)?,
        )?;
        self.same_pixels(
            "bicubic_64",
            &resize_short_side(&source, 64, Filter::Bicubic)?,
        )?;
        self.same_pixels(
            "bilinear_256x256",
            &resize(&source, 256, 256, Filter::Bilinear)?,
        )?;
        self.same_pixels(
            "bilinear_299x299",
            &resize(&source, 299, 299, Filter::Bilinear)?,
        )?;
        // How saved_128 was made is not in the case: it is the input of the JPEG step.
        let saved = self.stored("saved_128")?;
        let (height, width, _) = saved.size3()?;
        let pixels = Vec::<u8>::try_from(saved.contiguous().flatten(0, -1))?;
        let saved = image_file::Rgb {
            width: width as usize,
            height: height as usize,
            pixels,
        };
        self.same_pixels(
            "saved_128_jpeg75",
            &image_file::decode(&image_file::encode_jpeg75(&saved)?)?,
        )
    }

    fn inception_features(&mut self) -> Result<()> {
        let case = self.value;
        ensure!(
            text(case, "weights")? == "synthetic",
            "only synthetic weights are known"
        );
        let config = NetworkConfig::Inception(egsde_models::inception::InceptionConfig {});
        let mut network = Loaded::<Inception>::fresh(&config, self.bench.device, self.bench.kind)?;
        synthetic::fill(&network.vs, case["gain"].as_f64().unwrap_or(1.0));
        network.freeze();
        for (name, input) in case["inputs"].as_object().context("no inputs")? {
            let inputs = match input["dir"].as_str() {
                Some(folder) => {
                    let protocol: Protocol = choice(input, "protocol")?;
                    pictures(&self.folder.join(folder))?
                        .iter()
                        .map(|p| protocol.inception_input(p))
                        .collect::<Result<Vec<_>>>()?
                }
                None => vec![self.input(name)?],
            };
            let (got, want) = (
                inception_features(&network, &inputs, 50, self.bench.device)?,
                self.stored(name)?,
            );
            ensure!(
                got.size() == want.size(),
                "{name}: shape {:?}, expected {:?}",
                got.size(),
                want.size()
            );
            let error =
                (&got - &want).abs().max().double_value(&[]) / want.abs().max().double_value(&[]);
            self.note(error, number(case, "rel_tol")?);
        }
        Ok(())
    }

    fn frechet(&mut self) -> Result<()> {
        let (x, y) = (
            self.stored(text(self.value, "x")?)?,
            self.stored(text(self.value, "y")?)?,
        );
        let got = frechet_distance(&Statistics::of(&x)?, &Statistics::of(&y)?)?;
        let want = number(self.value, "expected")?;
        self.note(
            (got - want).abs() / want.abs(),
            number(self.value, "rel_tol")?,
        );
        Ok(())
    }
}

/// The noise a case names: `<repeat>` and `<i>` are put into its patterns.
struct NamedNoise<'a> {
    case: &'a Value,
    device: Device,
}

impl Noise for NamedNoise<'_> {
    fn draw(&self, purpose: Purpose) -> Tensor {
        let noise = &self.case["noise"];
        let (key, repeat, step) = match purpose {
            Purpose::Start { repeat } => ("start", repeat, 0),
            Purpose::Step { repeat, step } => ("step", repeat, step),
            Purpose::Source { repeat, step } => ("reference", repeat, step),
        };
        let shape: Vec<i64> = noise["shape"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_i64)
            .collect();
        let pattern = noise[key].as_str().unwrap_or_default();
        let name = pattern
            .replace("<repeat>", &repeat.to_string())
            .replace("<i>", &step.to_string());
        synthetic::gaussian(&name, &shape).to_device(self.device)
    }
}

/// Runs one case. An error means that it could not be run at all.
pub fn check(case: &Value, folder: &Path, bench: Bench) -> Result<Verdict> {
    let name = text(case, "case")?;
    let tensors = match case["file"].as_str() {
        Some(file) => read_safetensors(&folder.join(file))?.tensors,
        None => BTreeMap::new(),
    };
    let mut running = Case {
        value: case,
        folder,
        tensors,
        worst: (0.0, 0.0),
        bench,
    };
    running.run().with_context(|| format!("case {name}"))?;
    let (max_rel_err, tolerance) = running.worst;
    Ok(Verdict {
        case: name.into(),
        op: text(case, "op")?.into(),
        max_rel_err,
        tolerance,
        ok: max_rel_err <= tolerance,
    })
}
