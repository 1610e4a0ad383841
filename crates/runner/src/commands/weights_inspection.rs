//! `egsde weights inspect`: what a weight file holds.

use crate::error::{OrInvalidInput, without_controls};
use crate::runtime::console::stdout;
use anyhow::Result;
use egsde_models::NetworkConfig;
use egsde_models::checkpoints::{CheckpointPart, Entry, Inspection, inspect};
use egsde_models::networks::{LikelyNetwork, NETWORK_KEY, Shapes, likely_network};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The document that `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    file: String,
    #[serde(flatten)]
    inspection: &'a Inspection,
    /// Numbers in all tensors.
    numbers: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<NetworkDocument>,
}

/// The network that a file's weights likely are.
#[derive(Serialize)]
struct NetworkDocument {
    config: NetworkConfig,
    /// Whether the file carries the configuration itself.
    carried: bool,
    /// What the weights do not tell, by key.
    assumed: BTreeMap<&'static str, String>,
    /// What does not fit the configuration.
    misfits: Option<String>,
}

/// The network of a file: the one that it names, or the one that its weights speak for.
fn find_network(inspection: &Inspection) -> Option<NetworkDocument> {
    let carried = inspection.metadata.get(NETWORK_KEY);
    if let Some(config) = carried.and_then(|text| serde_json::from_str(text).ok()) {
        return Some(NetworkDocument {
            config,
            carried: true,
            assumed: BTreeMap::new(),
            misfits: None,
        });
    }
    let shapes = inspection.tensors.iter();
    let shapes: Shapes = shapes
        .map(|(name, info)| (name.clone(), info.shape.clone()))
        .collect();
    let LikelyNetwork {
        config,
        assumed,
        misfits,
    } = likely_network(&shapes)?;
    Some(NetworkDocument {
        config,
        carried: false,
        assumed: assumed.into_iter().collect(),
        misfits,
    })
}

/// The network that all sets of a file speak for together; none where a set was named.
fn find_network_of_parts(file: &Path, part: CheckpointPart) -> Option<NetworkDocument> {
    if part != CheckpointPart::Model {
        return None;
    }
    find_network(&inspect(file, CheckpointPart::All).ok()?)
}

/// Looks into a file and prints what it holds.
///
/// # Errors
/// Invalid input: the file is none of weights, or has no such part.
pub fn print(file: &Path, part: CheckpointPart, json: bool) -> Result<()> {
    let inspection = inspect(file, part).or_invalid_input("weights")?;
    let network = find_network(&inspection).or_else(|| find_network_of_parts(file, part));
    if json {
        let document = Document {
            file: file.display().to_string(),
            inspection: &inspection,
            numbers: count_numbers(&inspection),
            network,
        };
        return writeln!(stdout(), "{}", serde_json::to_string(&document)?);
    }
    write!(stdout(), "{}", text(file, &inspection))?;
    if inspection.problem.is_none() {
        write!(stdout(), "{}", network_text(network.as_ref())?)?;
    }
    Ok(())
}

fn count_numbers(inspection: &Inspection) -> i64 {
    inspection.tensors.values().map(|info| info.count()).sum()
}

/// A number with its digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Lines of two columns.
fn columns(rows: &[[String; 2]]) -> String {
    let width = rows.iter().map(|[left, _]| left.chars().count()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for [left, right] in rows {
        text += &format!("  {left:width$}  {right}\n");
    }
    text
}

/// Everything in words.
fn text(file: &Path, inspection: &Inspection) -> String {
    let (at, bytes) = (file.display(), grouped(inspection.bytes));
    let mut text = format!("{at}: {}, {bytes} bytes\n", inspection.format);
    let outline: Vec<[String; 2]> = inspection.outline.iter().map(outline_row).collect();
    text += &columns(&outline);
    // The network stands below.
    let others = inspection
        .metadata
        .iter()
        .filter(|(key, _)| *key != NETWORK_KEY);
    for (key, value) in others {
        text += &format!(
            "  metadata {}\n",
            without_controls(&format!("{key}: {value}"))
        );
    }
    if let Some(problem) = &inspection.problem {
        return text + problem + "\n";
    }
    text += &summary(inspection);
    let mut rows = Vec::new();
    for (name, info) in &inspection.tensors {
        let name = without_controls(name);
        rows.push([name, format!("{} {:?}", info.kind, info.shape)]);
    }
    text + &columns(&rows)
}

fn outline_row(entry: &Entry) -> [String; 2] {
    [without_controls(&entry.key), without_controls(&entry.what)]
}

/// Which tensors are read, how many, and of which kinds.
fn summary(inspection: &Inspection) -> String {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for info in inspection.tensors.values() {
        *kinds.entry(&info.kind).or_default() += 1;
    }
    let kinds: Vec<String> = kinds
        .iter()
        .map(|(kind, count)| format!("{count} of {kind}"))
        .collect();
    let from = match inspection.key.as_str() {
        "" => "weights".to_string(),
        key => format!("weights in {key}"),
    };
    format!(
        "{from}: {} tensors ({}), {} numbers\n",
        inspection.tensors.len(),
        kinds.join(", "),
        grouped(count_numbers(inspection) as u64)
    )
}

/// The network as a file for `--network`, what was assumed behind the key.
fn network_text(network: Option<&NetworkDocument>) -> Result<String> {
    let Some(network) = network else {
        return Ok("network: none that this program knows\n".into());
    };
    let mut text = match (network.carried, &network.misfits) {
        (true, _) => "network, which the file carries:\n".to_string(),
        (false, None) => "network, from keys and shapes, which all fit:\n".into(),
        (false, Some(misfits)) => format!("network, the closest known; it differs: {misfits}\n"),
    };
    let serde_json::Value::Object(keys) = serde_json::to_value(&network.config)? else {
        return Ok(text);
    };
    for (key, value) in keys {
        text += &format!("  {key}: {}", yaml_value(&value));
        if let Some(how) = network.assumed.get(key.as_str()) {
            text += &format!("  # {how}");
        }
        text.push('\n');
    }
    Ok(text)
}

/// A value on one line: JSON is YAML, but texts need no quotes.
fn yaml_value(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => {
            let items: Vec<String> = items.iter().map(yaml_value).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}
