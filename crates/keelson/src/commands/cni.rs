//! The CNI plugin: the runtime starts a link to this binary named `keelson-cni`.

use std::process::ExitCode;

use super::Outcome;

pub fn run(_: Vec<String>) -> Outcome {
    plugin(flannel::cni::Plugin::Network)
}

pub fn run_loopback(_: Vec<String>) -> Outcome {
    plugin(flannel::cni::Plugin::Loopback)
}

fn plugin(plugin: flannel::cni::Plugin) -> Outcome {
    Ok(if flannel::cni::main(plugin) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
