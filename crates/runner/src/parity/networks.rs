//! Golden cases of the networks.

use super::case::{Case, check_shape, number, parse, text};
use super::images::read_images;
use anyhow::{Context, Result, ensure};
use egsde_metrics::protocol::{Protocol, inception_features};
use egsde_models::comparison::relative_error;
use egsde_models::networks::inception::InceptionConfig;
use egsde_models::{Inception, NetworkConfig, tf32};
use egsde_sampler::energy::{Similarity, similarity};
use serde_json::Value;
use tch::{Kind, Tensor};

/// Images that go through Inception together.
const INCEPTION_BATCH: usize = 50;

/// The output of a diffusion network; `y` are the labels of one that knows classes.
pub fn forward(case: &mut Case) -> Result<()> {
    let (x, t) = (case.input("x")?, case.input("t")?);
    let network = case.diffusion("network")?;
    let out = match network.num_classes() {
        Some(_) => {
            let labels = case.input("y")?;
            tch::no_grad(|| network.class_output(&x, &t, &labels))
        }
        None => tch::no_grad(|| network.output(&x, &t)),
    };
    case.expect("out", &out)
}

/// The extractor's features and logits, similarities on them and their gradients.
pub fn domain_specific_energy(case: &mut Case) -> Result<()> {
    let dse = case.extractor("network")?;
    let (y, xt, t) = (case.input("y")?, case.input("xt")?, case.input("t")?);
    let features = tch::no_grad(|| dse.features(&y, &t));
    case.expect("features", &features)?;
    case.expect("logits", &tch::no_grad(|| dse.logits(&y, &t)))?;
    let source = tch::no_grad(|| dse.features(&xt, &t));
    for (kind, name) in [
        (Similarity::Cosine, "cosine"),
        (Similarity::NegL2, "neg_l2"),
    ] {
        case.expect(name, &similarity(kind, &features, &source))?;
        let gradient = dse.gradient(&y, &t, |features| similarity(kind, features, &source));
        case.expect(&format!("{name}_grad"), &gradient)?;
    }
    Ok(())
}

/// The inputs of Inception: the images of a folder under a protocol, or a tensor.
fn inception_inputs(case: &Case, name: &str, input: &Value) -> Result<Vec<Tensor>> {
    let Some(folder) = input["dir"].as_str() else {
        return Ok(vec![case.input(name)?]);
    };
    let protocol: Protocol = parse(input, "protocol")?;
    let images = read_images(&case.folder.join(folder))?;
    images
        .iter()
        .map(|image| protocol.inception_input(image))
        .collect()
}

/// The features of FID Inception, which are float32 whatever the precision, as scores are.
pub fn inception(case: &mut Case) -> Result<()> {
    let (value, device) = (case.value, case.options.device);
    ensure!(
        text(value, "weights")? == "synthetic",
        "only synthetic weights are known"
    );
    let config = NetworkConfig::Inception(InceptionConfig {});
    let gain = value["gain"].as_f64().unwrap_or(1.0);
    let network = case.synthetic_network::<Inception>(&config, Kind::Float, gain)?;
    for (name, input) in value["inputs"].as_object().context("no inputs")? {
        let inputs = inception_inputs(case, name, input)?;
        let got = tf32::without(|| inception_features(&network, &inputs, INCEPTION_BATCH, device))?;
        let want = case.stored(name)?;
        check_shape(name, &got, &want.size())?;
        case.note(relative_error(&got, &want), number(value, "rel_tol")?);
    }
    Ok(())
}
