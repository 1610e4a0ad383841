//! The numbers a table can have.

/// One column.
#[derive(Debug, PartialEq)]
pub struct Metric {
    /// Name in files.
    pub key: &'static str,
    /// Name for people.
    pub heading: &'static str,
    pub smaller_is_better: bool,
    pub digits: usize,
    /// Shown numbers are this times the stored ones.
    pub scale: f64,
    /// Only when the experiment asks for it.
    pub optional: bool,
}

const fn metric(
    key: &'static str,
    heading: &'static str,
    smaller_is_better: bool,
    digits: usize,
) -> Metric {
    Metric {
        key,
        heading,
        smaller_is_better,
        digits,
        scale: 1.0,
        optional: false,
    }
}

/// In table order.
pub const METRICS: [Metric; 8] = [
    metric("fid", "FID", true, 2),
    Metric {
        scale: 1000.0,
        ..metric("kid", "KID x 1000", true, 2)
    },
    metric("l2", "L2", true, 2),
    metric("psnr", "PSNR", false, 2),
    metric("ssim", "SSIM", false, 3),
    Metric {
        scale: 100.0,
        ..metric("amt", "AMT %", false, 1)
    },
    Metric {
        optional: true,
        ..metric("precision", "Precision", false, 3)
    },
    Metric {
        optional: true,
        ..metric("recall", "Recall", false, 3)
    },
];

impl Metric {
    /// By its name in files.
    pub fn of(key: &str) -> Option<&'static Self> {
        METRICS.iter().find(|m| m.key == key)
    }

    /// Heading with the direction that is better.
    pub fn arrow(&self) -> String {
        format!(
            "{} {}",
            self.heading,
            if self.smaller_is_better { "↓" } else { "↑" }
        )
    }
}
