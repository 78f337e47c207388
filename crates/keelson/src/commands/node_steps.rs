//! Steps of `up` that need a process of their own (see `cluster::namespaces`).

use std::process::ExitCode;

use cluster::namespaces;

use super::Outcome;

pub fn unshare(arguments: Vec<String>) -> Outcome {
    let [_, node, pause] = arguments.as_slice() else { return Err("node-unshare NODE PAUSE".into()) };
    namespaces::unshare_command(node, pause)?;
    Ok(ExitCode::SUCCESS)
}

pub fn init(arguments: Vec<String>) -> Outcome {
    let [_, node, pause] = arguments.as_slice() else { return Err("node-init NODE PAUSE".into()) };
    if let Err(error) = namespaces::init_command(node, pause) {
        // On standard output, where `node-unshare` reads it.
        print!("{error}");
    }
    Ok(ExitCode::FAILURE)
}

pub fn enter(arguments: Vec<String>) -> Outcome {
    let [_, pid, program, rest @ ..] = arguments.as_slice() else {
        return Err("node-enter PID PROGRAM [ARGUMENTS]".into());
    };
    namespaces::enter_command(pid.parse()?, program, rest)?;
    Ok(ExitCode::SUCCESS)
}
