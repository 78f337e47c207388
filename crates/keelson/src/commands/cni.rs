//! The CNI plugin: the runtime starts a link to this binary named `keelson-cni`.

use std::process::ExitCode;

use super::Outcome;

pub fn run(_: Vec<String>) -> Outcome {
    Ok(if flannel::cni::main() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
