//! What a job's numbers are means of: scores and features of each picture, kept for paired comparisons.

use anyhow::{Context, Result, ensure};
use egsde_metrics::pair::PairScore;
use egsde_models::files::{read_bounded, sha256_hex, write_atomically};
use egsde_models::weights::{WeightFile, parse_safetensors, to_safetensors};
use std::collections::BTreeMap;
use std::path::Path;
use tch::{Kind, Tensor};

/// File name inside a job's folder.
pub const EVIDENCE: &str = "evidence.safetensors";

/// Largest such file: 100,000 pictures of 2,048 features.
const MAX_FILE: u64 = 1 << 30;

/// Picture by picture, in the order of the sources.
#[derive(Debug)]
pub struct Evidence {
    pub pairs: Vec<PairScore>,
    /// `[n, d]`, float32: what the Fréchet distance is taken of.
    pub features: Tensor,
}

impl Evidence {
    /// Writes it into a job's folder; returns its SHA-256.
    pub fn write(&self, folder: &Path) -> Result<String> {
        let column = |of: fn(&PairScore) -> f64| {
            Tensor::from_slice(&self.pairs.iter().map(of).collect::<Vec<f64>>())
        };
        let tensors = BTreeMap::from([
            ("l2".to_string(), column(|p| p.l2)),
            ("mse".to_string(), column(|p| p.mse)),
            ("psnr".to_string(), column(|p| p.psnr)),
            ("ssim".to_string(), column(|p| p.ssim)),
            ("features".to_string(), self.features.shallow_clone()),
        ]);
        let bytes = to_safetensors(
            &WeightFile {
                tensors,
                ..Default::default()
            },
            Kind::Float,
        )?;
        write_atomically(&folder.join(EVIDENCE), &bytes)?;
        Ok(sha256_hex(&bytes))
    }

    /// Reads it when it is the one whose hash is known.
    pub fn read(folder: &Path, sha256: &str) -> Result<Self> {
        let path = folder.join(EVIDENCE);
        let bytes = read_bounded(&path, MAX_FILE)?;
        ensure!(
            sha256_hex(&bytes) == sha256,
            "{} was changed",
            path.display()
        );
        let mut tensors = parse_safetensors(&bytes)?.tensors;
        let mut take = |name: &str| {
            tensors
                .remove(name)
                .with_context(|| format!("{}: no {name}", path.display()))
        };
        let mut numbers =
            |name: &str| anyhow::Ok(Vec::<f64>::try_from(take(name)?.to_kind(Kind::Double))?);
        let (l2, mse, psnr, ssim) = (
            numbers("l2")?,
            numbers("mse")?,
            numbers("psnr")?,
            numbers("ssim")?,
        );
        let features = take("features")?;
        let n = l2.len();
        ensure!(
            [
                mse.len(),
                psnr.len(),
                ssim.len(),
                features.size()[0] as usize
            ] == [n; 4],
            "{}: lengths differ",
            path.display()
        );
        let pairs = (0..n)
            .map(|i| PairScore {
                l2: l2[i],
                mse: mse[i],
                psnr: psnr[i],
                ssim: ssim[i],
            })
            .collect();
        Ok(Self { pairs, features })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_comes_back_and_damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let pairs = vec![
            PairScore {
                l2: 1.5,
                mse: 0.25,
                psnr: 20.0,
                ssim: 0.5
            };
            3
        ];
        let features = Tensor::arange(12, (Kind::Float, tch::Device::Cpu)).reshape([3, 4]);
        let sha256 = Evidence {
            pairs,
            features: features.shallow_clone(),
        }
        .write(folder.path())
        .unwrap();
        let back = Evidence::read(folder.path(), &sha256).unwrap();
        assert!(back.features.equal(&features) && back.pairs[2].psnr == 20.0);
        std::fs::write(folder.path().join(EVIDENCE), "other").unwrap();
        assert!(Evidence::read(folder.path(), &sha256).is_err());
    }
}
