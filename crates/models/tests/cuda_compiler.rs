//! The kernels for GPUs, compiled by CUDA's own compiler as the program does on a GPU. It needs the
//! compiler (`just setup-gpu`) and no GPU.

#[path = "../../runner/tests/common/needs.rs"]
mod needs;

use egsde_models::cuda::{Capability, compile_group_norm, find_compiler};
use needs::{run, tests};
use std::process::ExitCode;
use tch::Kind;

/// What every file of machine code begins with.
const ELF: &[u8] = b"\x7fELF";

/// The kernels that the program looks for in the machine code.
const KERNELS: [&str; 6] = [
    "moments",
    "group_lines",
    "apply",
    "gradient_sums",
    "gradient_means",
    "gradient_of_input",
];

fn main() -> ExitCode {
    let missing = find_compiler().err();
    let missing = missing.map(|reason| format!("CUDA's compiler is missing: {reason}"));
    run(
        missing,
        tests![the_kernels_compile_for_turing_ampere_and_hopper],
    )
}

fn contains(code: &[u8], text: &str) -> bool {
    code.windows(text.len()).any(|part| part == text.as_bytes())
}

fn the_kernels_compile_for_turing_ampere_and_hopper() {
    let mut compiled: Vec<Vec<u8>> = Vec::new();
    for (major, minor) in [(7, 5), (8, 0), (9, 0)] {
        for kind in [Kind::Float, Kind::BFloat16] {
            let code = compile_group_norm(Capability { major, minor }, kind).unwrap();
            assert!(code.starts_with(ELF), "{major}.{minor} {kind:?}");
            for kernel in KERNELS {
                assert!(contains(&code, kernel), "{major}.{minor}: no {kernel}");
            }
            assert!(!compiled.contains(&code), "the same code for two targets");
            compiled.push(code);
        }
    }
    let unknown = Capability { major: 1, minor: 0 };
    let error = compile_group_norm(unknown, Kind::Float).unwrap_err();
    assert!(error.contains("nvrtc gave"), "{error}");
    let error = compile_group_norm(unknown, Kind::Half).unwrap_err();
    assert!(error.contains("no kernels for Half"), "{error}");
}
