//! The local cluster: `up`, `down`, `status`, `image load`, `enter`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use super::{Outcome, small_runtime};

/// Start a cluster on this machine, or what is missing of it
#[derive(Parser)]
#[command(name = "up")]
struct Up {
    #[command(flatten)]
    options: cluster::up::Options,
}

/// The cluster that a command is about
#[derive(Parser)]
struct Named {
    /// Tells clusters of one machine apart
    #[arg(long, default_value = "keelson")]
    name: String,
}

/// A line a step, with the seconds since the start.
struct Lines;

impl cluster::up::Progress for Lines {
    fn step(&mut self, elapsed: Duration, what: &str) {
        println!("{:6.2} s  {what}", elapsed.as_secs_f64());
    }
}

pub fn up(arguments: Vec<String>) -> Outcome {
    let options = Up::parse_from(arguments).options;
    let record = small_runtime()?.block_on(cluster::up::up(options, &mut Lines))?;
    let layout = record.layout();
    match &record.kubeconfig {
        Some(file) => println!("context {} is current in {}", layout.context(), file.display()),
        None => println!("export KUBECONFIG={}", layout.admin_kubeconfig().display()),
    }
    Ok(ExitCode::SUCCESS)
}

pub fn down(arguments: Vec<String>) -> Outcome {
    let named = Named::parse_from(arguments);
    small_runtime()?.block_on(cluster::down::down(&named.name))?;
    println!("cluster {} is gone", named.name);
    Ok(ExitCode::SUCCESS)
}

pub fn status(arguments: Vec<String>) -> Outcome {
    let record = cluster::status::find(&Named::parse_from(arguments).name)?;
    print!("{}", cluster::status::table(&record));
    let dead = cluster::status::rows(&record).iter().any(|r| !r.alive);
    Ok(if dead { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Local images into the nodes
#[derive(Parser)]
#[command(name = "image")]
enum Image {
    /// Import archives (OCI or docker) into every node
    Load {
        #[arg(required = true)]
        archives: Vec<PathBuf>,
        #[command(flatten)]
        named: Named,
    },
}

pub fn image(arguments: Vec<String>) -> Outcome {
    let Image::Load { archives, named } = Image::parse_from(arguments);
    small_runtime()?.block_on(cluster::image::load(&named.name, &archives))?;
    println!("{} archives are in every node of {}", archives.len(), named.name);
    Ok(ExitCode::SUCCESS)
}

/// A shell or a command inside a node's namespaces
#[derive(Parser)]
#[command(name = "enter")]
struct Enter {
    #[command(flatten)]
    named: Named,
    node: String,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

pub fn enter(arguments: Vec<String>) -> Outcome {
    let enter = Enter::parse_from(arguments);
    let record = cluster::status::find(&enter.named.name)?;
    let node = record.nodes.get(&enter.node).and_then(|n| n.init.as_ref());
    let node = node.ok_or_else(|| {
        format!(
            "no node {:?}; there are: {}",
            enter.node,
            record.nodes.keys().cloned().collect::<Vec<_>>().join(" ")
        )
    })?;
    let (program, rest) = match enter.command.split_first() {
        Some((program, rest)) => (program.as_str(), rest),
        None => ("bash", &[][..]),
    };
    let code = cluster::namespaces::run_inside(node, program, rest)?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
