//! The files of CUT, CycleGAN and StarGAN v2 in the forms in which their authors released them,
//! small ones of the golden cases, and the configurations of the whole ones.

use crate::common::project::TestProject;
use crate::common::{AssertText, assert_has, checkout, edited, egsde};
use egsde_models::NetworkConfig;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A small file of the golden cases.
fn released(name: &str) -> String {
    let folder = checkout().join("crates/runner/tests/golden/rivals/checkpoints");
    folder.join(name).display().to_string()
}

/// The configuration of a whole generator with two channels at full resolution.
fn small(folder: &Path, name: &str) -> String {
    let text = std::fs::read_to_string(checkout().join("configs/networks").join(name)).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, edited(&text, "ngf: 64", "ngf: 2")).unwrap();
    path.display().to_string()
}

const CUT: &str = "cat2dog_cut_latest_net_G.pth";
const CYCLEGAN: &str = "horse2zebra.pth";

#[test]
fn released_generators_are_checked_converted_and_recognised() {
    let folder = tempfile::tempdir().unwrap();
    for (file, network) in [(CUT, "cut_256.yaml"), (CYCLEGAN, "cyclegan_256.yaml")] {
        let (path, network) = (released(file), small(folder.path(), network));
        let fits = egsde(&["weights", "check", &path, "--network", &network]).printed();
        assert_has(&fits, &[file, " fits "]);
        let whole = folder.path().join(format!("{file}.safetensors"));
        let whole = whole.display().to_string();
        egsde(&["weights", "convert", &path, &whole, "--network", &network]).success();
        egsde(&["weights", "check", &whole, "--network", &network]).success();
        let json = egsde(&["weights", "inspect", &path, "--json"]).printed_json();
        let likely: NetworkConfig =
            serde_json::from_value(json["network"]["config"].clone()).unwrap();
        let text = std::fs::read_to_string(&network).unwrap();
        assert_eq!(likely, serde_yaml::from_str(&text).unwrap(), "{file}");
        assert_eq!(json["network"]["misfits"], Value::Null, "{file}: {json}");
    }
}

/// The file must not fit the network, which is told in one line.
#[track_caller]
fn assert_misfit(file: &str, network: &str, parts: &[&str]) {
    let text = egsde(&["weights", "check", file, "--network", network])
        .code(1)
        .error_text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_has(&text, &["does not fit"]);
    assert_has(&text, parts);
}

#[test]
fn another_generators_file_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let [cut, cyclegan] =
        ["cut_256.yaml", "cyclegan_256.yaml"].map(|network| small(folder.path(), network));
    assert_misfit(
        &released(CUT),
        &cyclegan,
        &["missing model.10.conv_block.1.bias"],
    );
    assert_misfit(&released(CYCLEGAN), &cut, &["missing"]);
    let whole = checkout().join("configs/networks/cut_256.yaml");
    let whole = whole.display().to_string();
    assert_misfit(&released(CUT), &whole, &["model.1.bias"]);
    // A file that was cut short.
    let bytes = std::fs::read(released(CUT)).unwrap();
    let short = folder.path().join("short.pth");
    std::fs::write(&short, &bytes[..bytes.len() / 2]).unwrap();
    let short = short.display().to_string();
    egsde(&["weights", "check", &short, "--network", &cut]).refused(&["short.pth"]);
}

#[test]
fn the_parts_of_stargan_v2_are_read_together_and_one_by_one() {
    for (file, parts) in [
        ("100000_nets_ema.ckpt", 3),
        ("celeba_hq_100000_nets_ema.ckpt", 4),
    ] {
        let path = released(file);
        let shown = egsde(&["weights", "inspect", &path]).printed();
        let names = ["generator", "mapping_network", "style_encoder", "fan"];
        assert_has(&shown, &names[..parts]);
        // So few of its layers are in the small file that it fits no network.
        assert_has(
            &shown,
            &["kind: stargan_v2", "latent_dim: 4", "style_dim: 5"],
        );
        let network = "configs/networks/stargan_v2_afhq_256.yaml";
        let parts = [
            "missing generator.decode",
            "wrong shape",
            "generator.encode.0",
        ];
        assert_misfit(&path, network, &parts);
    }
}

/// StarGAN v2 of so few channels that its files are small, with other keys.
fn stargan(w_hpf: f64, domains: &str) -> String {
    format!(
        "{{kind: stargan_v2, img_size: 64, style_dim: 4, latent_dim: 4, max_conv_dim: 8, \
         w_hpf: {w_hpf}, domains: [{domains}]}}"
    )
}

#[test]
fn another_w_hpf_and_another_number_of_domains_are_told_in_one_line() {
    let project = TestProject::embedded("");
    for (name, text) in [
        ("animals", stargan(0.0, "cat, dog, wild")),
        ("filtered", stargan(1.0, "cat, dog, wild")),
        ("two", stargan(0.0, "cat, dog")),
    ] {
        project.write(&format!("{name}.yaml"), text);
    }
    for name in ["animals", "filtered"] {
        let (network, file) = (format!("{name}.yaml"), format!("{name}.safetensors"));
        project
            .egsde(&["weights", "synthesize", "--network", &network, &file])
            .success();
    }
    let path = |name: &str| project.path(name).display().to_string();
    let [animals, filtered] = ["animals", "filtered"].map(|n| path(&format!("{n}.safetensors")));
    let [animals_yaml, filtered_yaml, two_yaml] =
        ["animals", "filtered", "two"].map(|name| path(&format!("{name}.yaml")));
    // The file lacks the high-pass filter's kernel, as the released one does.
    let fits = egsde(&["weights", "check", &filtered, "--network", &filtered_yaml]).printed();
    assert_has(&fits, &[" fits "]);
    let shown = egsde(&["weights", "inspect", &filtered]).printed();
    assert!(!shown.contains("hpf.filter"), "{shown}");
    assert_misfit(&animals, &filtered_yaml, &["missing", "fan."]);
    assert_misfit(&filtered, &animals_yaml, &["unexpected", "fan."]);
    assert_misfit(&animals, &two_yaml, &["mapping_network.unshared.2"]);
}

/// The number of parameters of a configuration's weights whose names begin so.
fn parameters(network: &str, begins: &str) -> i64 {
    let path: PathBuf = checkout().join("configs/networks").join(network);
    let config: NetworkConfig =
        serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut shapes = config.weight_shapes().unwrap();
    shapes.retain(|key, _| key.starts_with(begins) && !key.contains("running_"));
    shapes
        .values()
        .map(|shape| shape.iter().product::<i64>())
        .sum()
}

#[test]
fn whole_networks_have_their_authors_numbers_of_parameters() {
    for (network, part, count) in [
        ("cut_256.yaml", "", 11_378_179),
        ("cyclegan_256.yaml", "", 11_378_179),
        ("stargan_v2_afhq_256.yaml", "generator.", 33_892_995),
        ("stargan_v2_afhq_256.yaml", "mapping_network.", 3_259_072),
        ("stargan_v2_afhq_256.yaml", "style_encoder.", 20_949_760),
        ("stargan_v2_celebahq_256.yaml", "generator.", 43_467_395),
        ("stargan_v2_celebahq_256.yaml", "fan.", 6_333_603),
    ] {
        assert_eq!(parameters(network, part), count, "{network} {part}");
    }
}
