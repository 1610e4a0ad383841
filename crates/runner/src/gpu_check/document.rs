//! What was found, as Markdown: how far, how fast, and the verdicts.

use super::{
    CaseErrors, GroupNormKernels, PytorchStep, Scale, Setting, StepTimes, SteppedMethod, WholeJobs,
};
use crate::parity::Verdict;
use crate::report::markdown::grid;
use crate::runtime::device::{card, device_name};
use comfy_table::Table;
use egsde_models::cuda::{cudnn_version, is_plain};
use tch::Device;

/// Everything that was looked at; what was not is `None`.
#[derive(Debug)]
pub struct Findings {
    /// The device.
    pub device: Device,
    /// How networks computed.
    pub settings: Vec<Setting>,
    /// Images per batch.
    pub batch: usize,
    /// The networks' scale.
    pub scale: Scale,
    /// Errors of the golden cases.
    pub errors: Option<Vec<CaseErrors>>,
    /// Times of steps.
    pub steps: Option<Vec<StepTimes>>,
    /// Whole jobs.
    pub jobs: Option<WholeJobs>,
    /// Times of PyTorch.
    pub pytorch: Option<Vec<(String, PytorchStep)>>,
}

/// A check with its verdict.
struct Check {
    name: String,
    result: String,
    allowed: String,
    ok: bool,
}

/// The first line of every document, by which `egsde check-gpu` knows its own.
pub const HEADING: &str = "# Performance on a GPU";

/// Text where there is no number.
const NONE: &str = "-";

fn gib(bytes: Option<u64>) -> String {
    bytes.map_or(NONE.into(), |b| {
        format!("{:.2}", b as f64 / f64::from(1 << 30))
    })
}

/// The error with the allowed one, and a mark where it is larger.
fn error_cell(verdict: Option<&Verdict>) -> String {
    match verdict {
        Some(Verdict {
            max_rel_err,
            tolerance,
            ok,
            ..
        }) => {
            let mark = if *ok { "" } else { " !" };
            format!("{max_rel_err:.1e} of {tolerance:.0e}{mark}")
        }
        None => NONE.into(),
    }
}

impl Findings {
    /// Whether every check came out well.
    pub fn ok(&self) -> bool {
        self.checks().iter().all(|check| check.ok)
    }

    /// Which device, driver and libraries.
    fn conditions(&self) -> String {
        let mut text = format!("{}, libtorch {}", crate::CODE, env!("EGSDE_LIBTORCH"));
        match card(self.device) {
            Some(card) => {
                text += &format!(
                    ", {} ({}, compute capability {}, {:.0} GiB), driver {}",
                    device_name(self.device),
                    card.name,
                    card.capability,
                    card.memory_bytes as f64 / f64::from(1 << 30),
                    card.driver
                );
            }
            None => text += &format!(", {}", device_name(self.device)),
        }
        if let Some(cudnn) = cudnn_version() {
            text += &format!(", cuDNN {cudnn}");
        }
        if is_plain() {
            text += ", EGSDE_PLAIN_CUDA set";
        }
        text
    }

    fn error_table(errors: &[CaseErrors]) -> String {
        let mut settings: Vec<String> = Setting::ALL.iter().map(Setting::to_string).collect();
        settings.retain(|name| errors.iter().any(|case| case.verdicts.contains_key(name)));
        let mut header = vec!["case"];
        header.extend(settings.iter().map(String::as_str));
        let mut table = grid(&header);
        for CaseErrors { case, verdicts } in errors {
            let mut row = vec![case.clone()];
            for setting in &settings {
                row.push(error_cell(verdicts.get(setting)));
            }
            table.add_row(row);
        }
        table.to_string()
    }

    fn step_table(&self, steps: &[StepTimes]) -> String {
        let mut table = grid([
            "method",
            "precision",
            "ms per step",
            "in networks",
            "ms per picture and step",
            "peak GiB on the device",
        ]);
        for step in steps {
            let mut row = vec![step.method.name().to_string(), step.setting.to_string()];
            match &step.measured {
                Some(measured) => row.extend([
                    format!("{:.1}", measured.milliseconds),
                    format!("{:.1}", measured.network_milliseconds),
                    format!("{:.2}", measured.milliseconds / self.batch as f64),
                    gib(measured.peak_bytes),
                ]),
                None => row.push("no memory".into()),
            }
            table.add_row(row);
        }
        for (name, step) in self.pytorch.iter().flatten() {
            self.add_pytorch_rows(&mut table, name, step);
        }
        table.to_string()
    }

    fn add_pytorch_rows(&self, table: &mut Table, name: &str, step: &PytorchStep) {
        let times = [
            (SteppedMethod::Sdedit, step.sdedit_ms),
            (SteppedMethod::Egsde, step.egsde_ms),
        ];
        for (method, milliseconds) in times {
            let method = format!("{}, PyTorch", method.name());
            let mut row = vec![method, name.to_string()];
            match milliseconds {
                Some(ms) => row.extend([
                    format!("{ms:.1}"),
                    NONE.into(),
                    format!("{:.2}", ms / self.batch as f64),
                    step.peak_gib.map_or(NONE.into(), |gib| format!("{gib:.2}")),
                ]),
                None if step.error.is_some() => row.push("failed".into()),
                None => row.push(NONE.into()),
            }
            table.add_row(row);
        }
    }

    /// What PyTorch said where it failed, a line each.
    fn pytorch_failures(&self) -> impl Iterator<Item = String> {
        let steps = self.pytorch.iter().flatten();
        steps.filter_map(|(name, step)| Some(format!("PyTorch, {name}: {}", step.error.as_ref()?)))
    }

    /// The worst case of each setting, by its error as a part of what is allowed.
    fn error_checks(errors: &[CaseErrors]) -> Vec<Check> {
        let mut checks = Vec::new();
        for setting in Setting::ALL {
            let name = setting.to_string();
            let verdicts: Vec<&Verdict> = errors
                .iter()
                .filter_map(|case| case.verdicts.get(&name))
                .collect();
            let part = |verdict: &Verdict| verdict.max_rel_err / verdict.tolerance;
            let worst = verdicts
                .iter()
                .max_by(|a, b| part(a).total_cmp(&part(b)))
                .copied();
            let Some(worst) = worst else {
                continue;
            };
            let failed = verdicts.iter().filter(|verdict| !verdict.ok).count();
            checks.push(Check {
                name: format!("parity in {name}, {} cases", verdicts.len()),
                result: match failed {
                    0 => format!("{:.1e} ({})", worst.max_rel_err, worst.case),
                    _ => format!(
                        "{failed} failed, {:.1e} ({})",
                        worst.max_rel_err, worst.case
                    ),
                },
                allowed: format!("{:.0e}", worst.tolerance),
                ok: failed == 0,
            });
        }
        checks
    }

    fn repeat_checks(steps: &[StepTimes]) -> Vec<Check> {
        let measured = steps.iter().filter_map(|step| {
            let measured = step.measured?;
            Some(Check {
                name: format!("{} in {} twice", step.method.name(), step.setting),
                result: same_or_other(measured.repeats),
                allowed: "the same".into(),
                ok: measured.repeats,
            })
        });
        measured.collect()
    }

    /// Whether the kernels were taken where they were asked for; libtorch's operations would have
    /// taken their place.
    fn kernel_checks(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        let computed = self.errors.is_some() || self.steps.is_some();
        for setting in self.settings.iter().filter(|_| computed) {
            if setting.kernels == GroupNormKernels::Fused {
                let found = setting.find_kernels(self.device);
                checks.push(Check {
                    name: format!("kernels of {setting}"),
                    ok: found.is_ok(),
                    result: found.map_or_else(|reason| reason, |()| "taken".into()),
                    allowed: "taken".into(),
                });
            }
        }
        checks
    }

    fn checks(&self) -> Vec<Check> {
        let mut checks = self.kernel_checks();
        if let Some(errors) = &self.errors {
            checks.extend(Self::error_checks(errors));
        }
        if let Some(steps) = &self.steps {
            checks.extend(Self::repeat_checks(steps));
        }
        if let Some(jobs) = &self.jobs {
            checks.push(Check {
                name: format!("{} whole paper-scale jobs of 2 pictures twice", jobs.jobs),
                result: match jobs.different.as_slice() {
                    [] => same_or_other(true),
                    names => format!("other pictures in {}", names.join(", ")),
                },
                allowed: "the same".into(),
                ok: jobs.different.is_empty(),
            });
        }
        checks
    }

    /// The document.
    pub fn markdown(&self) -> String {
        let mut parts = vec![
            HEADING.to_string(),
            format!("Printed by `just check-gpu`: {}.", self.conditions()),
        ];
        if let Some(errors) = &self.errors {
            parts.push("## Errors against the reference's golden cases".into());
            parts.push(
                "Largest error and what is allowed; what stays float32 in every precision has the \
                 same bound in all."
                    .into(),
            );
            parts.push(Self::error_table(errors));
        }
        if let Some(steps) = &self.steps {
            parts.push("## Steps".into());
            parts.push(format!(
                "{} px, batches of {}, weights by formula; the difference of two lengths, median \
                 of three.",
                self.scale.side, self.batch
            ));
            parts.push(self.step_table(steps));
            parts.extend(self.pytorch_failures());
        }
        if let Some(jobs) = &self.jobs {
            let peak = gib(jobs.peak_bytes);
            let count = jobs.jobs;
            parts.push("## Whole jobs".into());
            parts.push(format!(
                "{count} jobs of 2 pictures and 3 steps, from their sources to their scores; peak \
                 of device memory: {peak} GiB."
            ));
        }
        let mut verdicts = grid(["check", "result", "allowed", "verdict"]);
        for check in self.checks() {
            let verdict = if check.ok { "ok" } else { "FAILED" };
            verdicts.add_row([check.name, check.result, check.allowed, verdict.into()]);
        }
        parts.push("## Verdicts".into());
        parts.push(verdicts.to_string());
        parts.join("\n\n") + "\n"
    }
}

fn same_or_other(same: bool) -> String {
    if same {
        "the same pictures"
    } else {
        "other pictures"
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::super::steps::Measured;
    use super::*;
    use std::collections::BTreeMap;

    fn verdict(max_rel_err: f64) -> Verdict {
        Verdict {
            case: "adm_unet_32".into(),
            op: "network_forward".into(),
            max_rel_err,
            tensor: "out".into(),
            tolerance: 3e-2,
            ok: max_rel_err <= 3e-2,
        }
    }

    fn findings(max_rel_err: f64, repeats: bool, different: &[&str]) -> Findings {
        let verdicts = BTreeMap::from([("bf16".to_string(), verdict(max_rel_err))]);
        Findings {
            device: Device::Cpu,
            settings: vec![Setting::ALL[4]],
            batch: 4,
            scale: Scale::small().unwrap(),
            errors: Some(vec![CaseErrors {
                case: "adm_unet_32".into(),
                verdicts,
            }]),
            steps: Some(vec![StepTimes {
                method: SteppedMethod::Egsde,
                setting: Setting::ALL[4],
                measured: Some(Measured {
                    milliseconds: 57.0,
                    network_milliseconds: 50.0,
                    peak_bytes: Some(3 << 30),
                    repeats,
                }),
            }]),
            jobs: Some(WholeJobs {
                jobs: 9,
                different: different.iter().map(|name| name.to_string()).collect(),
                peak_bytes: None,
            }),
            pytorch: Some(vec![(
                "eager".into(),
                PytorchStep {
                    egsde_ms: Some(220.0),
                    peak_gib: Some(5.0),
                    error: Some("no memory for it".into()),
                    ..PytorchStep::default()
                },
            )]),
        }
    }

    #[test]
    fn the_document_has_every_number_and_ends_with_the_verdicts() {
        let good = findings(1e-2, true, &[]);
        assert!(good.ok());
        let text = good.markdown();
        for part in [
            "1.0e-2 of 3e-2",
            "57.0",
            "14.25",
            "3.00",
            "220.0",
            "| SDEdit, PyTorch | eager     | failed",
            "\n\nPyTorch, eager: no memory for it\n\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        let (_, verdicts) = text.split_once("## Verdicts").unwrap();
        assert_eq!(verdicts.matches("| ok").count(), 3, "{verdicts}");
        assert!(!text.contains("FAILED"));
    }

    #[test]
    fn kernels_that_are_asked_for_and_not_taken_fail() {
        let fused = Setting::ALL[5];
        let mut findings = findings(1e-2, true, &[]);
        findings.settings.push(fused);
        for case in findings.errors.iter_mut().flatten() {
            case.verdicts.insert(fused.to_string(), verdict(2e-2));
        }
        let text = findings.markdown();
        for part in [
            "2.0e-2 of 3e-2",
            "parity in bf16 fused, 1 cases",
            "not a GPU",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        assert!(!findings.ok() && text.matches("FAILED").count() == 1);
    }

    #[test]
    fn a_broken_tolerance_and_other_images_fail() {
        for bad in [
            findings(4e-2, true, &[]),
            findings(f64::NAN, true, &[]),
            findings(1e-2, false, &[]),
            findings(1e-2, true, &["egsde-s1-0123456789ab"]),
        ] {
            assert!(!bad.ok());
            assert!(bad.markdown().contains("FAILED"));
        }
    }
}
