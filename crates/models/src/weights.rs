//! safetensors in and out, and filling a network from named tensors with every mismatch named.

use crate::files::write_atomically;
use anyhow::{Context, Result, bail};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use tch::nn::VarStore;
use tch::{Kind, Tensor};

/// Tensors by their state-dict key, and the file's metadata.
#[derive(Debug, Default)]
pub struct WeightFile {
    pub tensors: BTreeMap<String, Tensor>,
    pub metadata: BTreeMap<String, String>,
}

fn kind_of(dtype: Dtype) -> Result<Kind> {
    Ok(match dtype {
        Dtype::F64 => Kind::Double,
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::I64 => Kind::Int64,
        Dtype::I32 => Kind::Int,
        Dtype::U8 => Kind::Uint8,
        other => bail!("tensor type {other:?} is not supported"),
    })
}

fn dtype_of(kind: Kind) -> Result<Dtype> {
    Ok(match kind {
        Kind::Double => Dtype::F64,
        Kind::Float => Dtype::F32,
        Kind::Half => Dtype::F16,
        Kind::BFloat16 => Dtype::BF16,
        Kind::Int64 => Dtype::I64,
        Kind::Int => Dtype::I32,
        Kind::Uint8 => Dtype::U8,
        other => bail!("tensor kind {other:?} is not supported"),
    })
}

/// Reads a safetensors file whole. Errors name the file.
pub fn read_safetensors(path: &Path) -> Result<WeightFile> {
    let bytes =
        std::fs::read(path).with_context(|| format!("cannot read weights {}", path.display()))?;
    parse_safetensors(&bytes)
        .with_context(|| format!("{} is not a usable safetensors file", path.display()))
}

/// Reads safetensors from memory; sizes in the header are checked against the bytes by the crate.
pub fn parse_safetensors(bytes: &[u8]) -> Result<WeightFile> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let metadata = header
        .metadata()
        .clone()
        .unwrap_or_default()
        .into_iter()
        .collect();
    let mut tensors = BTreeMap::new();
    for (name, view) in SafeTensors::deserialize(bytes)?.tensors() {
        let shape: Vec<i64> = view.shape().iter().map(|d| *d as i64).collect();
        let kind = kind_of(view.dtype()).with_context(|| format!("tensor {name}"))?;
        let tensor = Tensor::f_from_data_size(view.data(), &shape, kind)
            .with_context(|| format!("tensor {name}"))?;
        tensors.insert(name, tensor);
    }
    Ok(WeightFile { tensors, metadata })
}

fn raw_bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    let tensor = tensor.to_device(tch::Device::Cpu).contiguous();
    let mut bytes = vec![0u8; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok(bytes)
}

/// The bytes of a safetensors file; floating-point tensors are stored as `kind`, the others as they are.
pub fn to_safetensors(file: &WeightFile, kind: Kind) -> Result<Vec<u8>> {
    let mut stored = Vec::new();
    for (name, tensor) in &file.tensors {
        let tensor = if tensor.is_floating_point() {
            tensor.to_kind(kind)
        } else {
            tensor.shallow_clone()
        };
        let shape: Vec<usize> = tensor.size().iter().map(|d| *d as usize).collect();
        stored.push((
            name.clone(),
            dtype_of(tensor.kind())?,
            shape,
            raw_bytes(&tensor)?,
        ));
    }
    let mut views = Vec::new();
    for (name, dtype, shape, bytes) in &stored {
        views.push((name.clone(), TensorView::new(*dtype, shape.clone(), bytes)?));
    }
    let metadata: HashMap<String, String> = file.metadata.clone().into_iter().collect();
    Ok(safetensors::serialize(views, Some(metadata))?)
}

/// Writes through a temporary name beside the target, fsync and rename, so that a reader never sees half a file.
pub fn write_safetensors(path: &Path, file: &WeightFile, kind: Kind) -> Result<()> {
    let bytes = to_safetensors(file, kind)?;
    write_atomically(path, &bytes)
}

fn listed(what: &str, names: &[String]) -> String {
    match names.len() {
        0 => String::new(),
        n if n > 6 => format!("; {what} {}, ... ({n} in all)", names[..6].join(", ")),
        _ => format!("; {what} {}", names.join(", ")),
    }
}

/// What keeps `tensors` from filling variables of these shapes: missing, unexpected and wrongly shaped keys.
pub fn misfits(
    variables: &BTreeMap<String, Vec<i64>>,
    tensors: &BTreeMap<String, Tensor>,
) -> Option<String> {
    let have: BTreeSet<&String> = tensors.keys().collect();
    let want: BTreeSet<&String> = variables.keys().collect();
    let missing: Vec<String> = want.difference(&have).map(|k| k.to_string()).collect();
    let ignored = |k: &&&String| k.ends_with("num_batches_tracked");
    let unexpected: Vec<String> = have
        .difference(&want)
        .filter(|k| !ignored(k))
        .map(|k| k.to_string())
        .collect();
    let shape = |k: &&String| tensors[*k].size() != variables[*k];
    let describe =
        |k: &String| format!("{k} ({:?}, expected {:?})", tensors[k].size(), variables[k]);
    let misshapen: Vec<String> = want
        .intersection(&have)
        .copied()
        .filter(shape)
        .map(describe)
        .collect();
    let problems = [
        listed("missing", &missing),
        listed("unexpected", &unexpected),
        listed("wrong shape", &misshapen),
    ]
    .concat();
    problems.strip_prefix("; ").map(String::from)
}

/// Keys of tensors that hold NaN or infinity.
pub fn not_finite(tensors: &BTreeMap<String, Tensor>) -> Vec<&str> {
    let broken = |t: &Tensor| t.is_floating_point() && t.isfinite().all().int64_value(&[]) == 0;
    tensors
        .iter()
        .filter(|(_, t)| broken(t))
        .map(|(k, _)| k.as_str())
        .collect()
}

/// Fills every variable of `vs` from `tensors`. Nothing is changed unless all keys and shapes agree;
/// the error names the missing, unexpected and wrongly shaped keys.
pub fn assign(vs: &VarStore, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let variables: BTreeMap<String, Tensor> = vs.variables().into_iter().collect();
    let shapes = variables
        .iter()
        .map(|(k, v)| (k.clone(), v.size()))
        .collect();
    if let Some(problems) = misfits(&shapes, tensors) {
        bail!("the weights do not fit the network: {problems}");
    }
    if let Some(key) = not_finite(tensors).first() {
        bail!("the weights hold NaN or infinity, first in {key}");
    }
    tch::no_grad(|| {
        for (name, mut variable) in variables {
            variable.copy_(&tensors[&name]);
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny_store() -> VarStore {
        let vs = VarStore::new(tch::Device::Cpu);
        let root = vs.root();
        let _ = root.zeros("a", &[2, 3]);
        let _ = (&root / "b").zeros("weight", &[4]);
        vs
    }

    #[test]
    fn a_mismatch_names_every_key_and_changes_nothing() {
        let vs = tiny_store();
        let tensors = BTreeMap::from([
            (
                "a".to_string(),
                Tensor::ones([3, 2], (Kind::Float, tch::Device::Cpu)),
            ),
            (
                "c".to_string(),
                Tensor::ones([1], (Kind::Float, tch::Device::Cpu)),
            ),
        ]);
        let error = assign(&vs, &tensors).unwrap_err().to_string();
        for part in [
            "missing b.weight",
            "unexpected c",
            "wrong shape a ([3, 2], expected [2, 3])",
        ] {
            assert!(error.contains(part), "{part:?} not in {error:?}");
        }
        assert_eq!(vs.variables()["a"].sum(Kind::Float).double_value(&[]), 0.0);
    }

    #[test]
    fn a_file_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let tensors = BTreeMap::from([
            ("x".to_string(), Tensor::from_slice(&[0.5f32, -2.0, 3.25])),
            ("n".to_string(), Tensor::from_slice(&[7i64])),
        ]);
        let metadata = BTreeMap::from([("steps".to_string(), "12".to_string())]);
        write_safetensors(&path, &WeightFile { tensors, metadata }, Kind::Half).unwrap();
        let back = read_safetensors(&path).unwrap();
        assert_eq!(back.metadata["steps"], "12");
        assert_eq!(back.tensors["x"].kind(), Kind::Half);
        assert_eq!(
            Vec::<f32>::try_from(back.tensors["x"].to_kind(Kind::Float)).unwrap(),
            [0.5, -2.0, 3.25]
        );
        assert_eq!(Vec::<i64>::try_from(&back.tensors["n"]).unwrap(), [7]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn weights_that_are_not_numbers_are_refused() {
        let vs = tiny_store();
        let tensors = BTreeMap::from([
            (
                "a".to_string(),
                Tensor::ones([2, 3], (Kind::Float, tch::Device::Cpu)),
            ),
            (
                "b.weight".to_string(),
                Tensor::from_slice(&[1f32, f32::NAN, 0.0, 0.0]),
            ),
        ]);
        let error = assign(&vs, &tensors).unwrap_err().to_string();
        assert!(
            error.contains("NaN") && error.contains("b.weight"),
            "{error}"
        );
    }

    #[test]
    fn a_truncated_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.safetensors");
        let tensors = BTreeMap::from([("x".to_string(), Tensor::from_slice(&[1f32; 64]))]);
        let bytes = to_safetensors(
            &WeightFile {
                tensors,
                ..Default::default()
            },
            Kind::Float,
        )
        .unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
        assert!(format!("{:#}", read_safetensors(&path).unwrap_err()).contains("cut.safetensors"));
    }
}
