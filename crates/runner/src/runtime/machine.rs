//! Which processor or GPU computes: what numbers rounded alike and times measured alike have in
//! common.

use std::collections::BTreeSet;
use std::path::Path;
use tch::Device;

/// Vector instructions that tell processors apart, widest first.
const INSTRUCTIONS: [&str; 3] = ["amx_bf16", "avx512f", "avx2"];

/// Where NVIDIA's driver lists its GPUs, one folder each.
const NVIDIA_GPUS: &str = "/proc/driver/nvidia/gpus";

/// The value of a key in `/proc/cpuinfo` and files of that format.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = text
        .lines()
        .filter_map(|line| line.strip_prefix(key)?.split_once(':'));
    lines.next().map(|(_, value)| value.trim())
}

/// The name of a processor and its widest vector instructions, from the text of `/proc/cpuinfo`.
fn cpu_in(cpuinfo: &str) -> String {
    let flags: Vec<&str> = value(cpuinfo, "flags")
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let widest = INSTRUCTIONS
        .into_iter()
        .find(|instructions| flags.contains(instructions));
    let widest = widest.unwrap_or("no vectors known");
    let model = value(cpuinfo, "model name").unwrap_or("processor not known");
    format!("{model} ({widest})")
}

/// The processor of this machine.
pub fn cpu() -> String {
    cpu_in(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
}

/// The different models of GPUs that a driver lists in a folder. Their order there need not be that
/// of the devices' numbers, so that two models are both named.
fn gpus_in(folder: &Path) -> String {
    let mut models = BTreeSet::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(entry.path().join("information")).unwrap_or_default();
        models.extend(value(&text, "Model").map(String::from));
    }
    match models.len() {
        0 => "GPU not known".into(),
        _ => models.into_iter().collect::<Vec<_>>().join(" or "),
    }
}

/// The processor or GPU behind a device.
pub fn processor(device: Device) -> String {
    match device {
        Device::Cuda(_) => gpus_in(Path::new(NVIDIA_GPUS)),
        _ => cpu(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_known_by_name_and_widest_instructions() {
        let text = "flags\t\t: fpu avx2 avx512f\nmodel name\t: Some CPU @ 2 GHz\n";
        assert_eq!(cpu_in(text), "Some CPU @ 2 GHz (avx512f)");
        assert_eq!(cpu_in(""), "processor not known (no vectors known)");
    }

    #[test]
    fn all_models_of_gpus_are_named_once() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(gpus_in(folder.path()), "GPU not known");
        for (bus, model) in [("1", "B 200"), ("2", "A 100"), ("3", "B 200")] {
            let gpu = folder.path().join(bus);
            std::fs::create_dir(&gpu).unwrap();
            std::fs::write(gpu.join("information"), format!("Model: \t\t {model}\n")).unwrap();
        }
        assert_eq!(gpus_in(folder.path()), "A 100 or B 200");
    }
}
