//! The table of commands: a name, what it is, and what runs it.

mod cni;
mod control_plane;
mod controller_manager;
mod daemon;
mod kube_apiserver;
mod kube_proxy;
mod kubectl;
mod kubelet;
mod local;
mod node;
mod node_steps;
mod scheduler;
mod supervise;

use std::error::Error;
use std::process::ExitCode;

/// What a command returns: the exit code, or an error for the terminal.
pub type Outcome = Result<ExitCode, Box<dyn Error + Send + Sync>>;

/// One first word. `run` gets the arguments with that word in front.
pub struct Command {
    name: &'static str,
    about: &'static str,
    run: fn(Vec<String>) -> Outcome,
}

/// Commands without a description are steps of others and not shown.
const COMMANDS: &[Command] = &[
    Command {
        name: "up",
        about: "start a cluster on this machine, or what is missing of it",
        run: local::up,
    },
    Command { name: "down", about: "end it and remove all that `up` made", run: local::down },
    Command { name: "status", about: "processes with memory and processor time", run: local::status },
    Command {
        name: "image",
        about: "`image load FILE...`: image archives into the nodes",
        run: local::image,
    },
    Command {
        name: "enter",
        about: "`enter NODE [COMMAND...]`: a shell or a command inside a node",
        run: local::enter,
    },
    Command {
        name: "kube-apiserver",
        about: "the one entry point: validates, records, tells",
        run: kube_apiserver::run,
    },
    Command {
        name: "kube-controller-manager",
        about: "brings objects into the state that they describe",
        run: controller_manager::run,
    },
    Command { name: "kube-scheduler", about: "chooses nodes for pods", run: scheduler::run },
    Command { name: "kube-proxy", about: "Services as nftables rules on a node", run: kube_proxy::run },
    Command { name: "kubelet", about: "runs the pods of a node", run: kubelet::run },
    Command { name: "kubectl", about: "the command line of a cluster", run: kubectl::run },
    Command {
        name: "keelson-cni",
        about: "the pods' network, called by the container runtime",
        run: cni::run,
    },
    Command { name: "loopback", about: "", run: cni::run_loopback },
    Command { name: "version", about: "print the version", run: version },
    Command { name: "control-plane", about: "", run: control_plane::run },
    Command { name: "node", about: "", run: node::run },
    Command { name: "node-unshare", about: "", run: node_steps::unshare },
    Command { name: "node-init", about: "", run: node_steps::init },
    Command { name: "node-enter", about: "", run: node_steps::enter },
];

/// Names under which a link to this binary is the component itself.
const PROGRAMS: &[&str] = &[
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
    "keelson-cni",
    "loopback",
];

pub fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|c| c.name == name)
}

/// The component whose name this program was started by.
pub fn by_program_name(arguments: &[String]) -> Option<&'static Command> {
    let name = arguments.first()?.rsplit('/').next()?;
    find(name).filter(|c| PROGRAMS.contains(&c.name))
}

pub fn run(command: &Command, arguments: Vec<String>) -> ExitCode {
    match (command.run)(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("keelson {}: {error}", command.name);
            ExitCode::FAILURE
        }
    }
}

pub fn usage() -> ExitCode {
    println!(
        "keelson: Kubernetes {} in one binary\n\nusage: keelson COMMAND [FLAGS]\n",
        component_base::KUBERNETES_VERSION
    );
    for command in COMMANDS.iter().filter(|c| !c.about.is_empty()) {
        println!("  {:<26}{}", command.name, command.about);
    }
    ExitCode::SUCCESS
}

pub fn unknown(name: &str) -> ExitCode {
    eprintln!("keelson: unknown command {name:?}; `keelson help` lists them");
    ExitCode::FAILURE
}

fn version(_: Vec<String>) -> Outcome {
    println!("keelson {} (Kubernetes {})", env!("CARGO_PKG_VERSION"), component_base::KUBERNETES_VERSION);
    Ok(ExitCode::SUCCESS)
}

/// The runtime of commands that wait more than they compute.
fn small_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
