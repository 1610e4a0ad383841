//! How networks compute in a part of the check.

use crate::config::precision::Precision;
use anyhow::Result;
use egsde_models::cuda::{find_fused_kernels, is_plain, set_fused};
use std::fmt;
use tch::Device;

/// A precision, and which kernels normalise groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The working precision.
    pub precision: Precision,
    /// The kernels.
    pub kernels: GroupNormKernels,
}

/// What normalises groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupNormKernels {
    /// Whatever does so by default: libtorch's operations on a GPU.
    Default,
    /// This project's kernels for GPUs, with images channels last: `EGSDE_FUSED_CUDA`.
    Fused,
}

impl fmt::Display for Setting {
    /// As tables spell it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kernels {
            GroupNormKernels::Default => write!(f, "{}", self.precision),
            GroupNormKernels::Fused => write!(f, "{} fused", self.precision),
        }
    }
}

impl Setting {
    /// Every setting, in the order of tables.
    pub const ALL: [Self; 6] = [
        Self::new(Precision::F32, GroupNormKernels::Default),
        Self::new(Precision::F32, GroupNormKernels::Fused),
        Self::new(Precision::Tf32, GroupNormKernels::Default),
        Self::new(Precision::Tf32, GroupNormKernels::Fused),
        Self::new(Precision::Bf16, GroupNormKernels::Default),
        Self::new(Precision::Bf16, GroupNormKernels::Fused),
    ];

    const fn new(precision: Precision, kernels: GroupNormKernels) -> Self {
        Self { precision, kernels }
    }

    /// The settings in which a device computes: its precisions, and on a GPU the same with the
    /// fused kernels, unless `EGSDE_PLAIN_CUDA` is set.
    pub fn of_device(device: Device) -> Vec<Self> {
        let computes = |setting: &Self| {
            let has_kernels = match setting.kernels {
                GroupNormKernels::Default => true,
                GroupNormKernels::Fused => device.is_cuda() && !is_plain(),
            };
            has_kernels && setting.precision.prepare(device).is_ok()
        };
        Self::ALL.into_iter().filter(computes).collect()
    }

    /// Lets networks that are opened from now on compute so.
    ///
    /// # Errors
    /// The device does not compute in the precision.
    pub fn prepare(self, device: Device) -> Result<()> {
        self.precision.prepare(device).map_err(anyhow::Error::msg)?;
        set_fused(self.kernels == GroupNormKernels::Fused);
        Ok(())
    }

    /// Whether the device takes the setting's kernels.
    ///
    /// # Errors
    /// Why it takes libtorch's operations in their place.
    pub fn find_kernels(self, device: Device) -> Result<(), String> {
        match self.kernels {
            GroupNormKernels::Default => Ok(()),
            GroupNormKernels::Fused => find_fused_kernels(device, self.precision.kind()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_has_its_own_precisions_and_no_fused_kernels() {
        let names: Vec<String> = Setting::of_device(Device::Cpu)
            .iter()
            .map(Setting::to_string)
            .collect();
        assert_eq!(names, ["f32", "bf16"]);
        let [default, fused] = [Setting::ALL[4], Setting::ALL[5]];
        assert_eq!(fused.to_string(), "bf16 fused");
        assert!(default.find_kernels(Device::Cpu).is_ok());
        assert!(fused.find_kernels(Device::Cpu).is_err());
    }
}
